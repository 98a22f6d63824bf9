import numpy as np

from cutout_local.remover.cues import evidence
from cutout_local.remover.params import PARAMS, LinearModel
from tests.unit.remover.conftest import Scene


def test_the_subject_is_more_probable_than_its_surroundings(disc: Scene) -> None:
    found = evidence(disc.rgb, PARAMS.foreground)

    assert found.probability.shape == disc.alpha.shape
    assert found.probability[disc.alpha == 1].mean() > 0.9
    assert found.probability[disc.alpha == 0].mean() < 0.1
    assert found.rectangle_cut[120, 160]


def test_without_weights_everything_is_undecided(disc: Scene) -> None:
    indifferent = LinearModel(dict.fromkeys(PARAMS.foreground.weights, 0.0), bias=0.0)

    assert np.allclose(evidence(disc.rgb, indifferent).probability, 0.5)
