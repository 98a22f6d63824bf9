from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from cutout_local.remover import RemoverUnavailable, saliency
from tests.unit.remover.conftest import Scene


def test_the_subject_is_likely_and_its_surroundings_are_not(disc: Scene) -> None:
    probability = saliency.saliency(disc.rgb)

    assert probability.shape == disc.alpha.shape
    assert probability[disc.alpha == 1].mean() > 0.9
    assert probability[disc.alpha == 0].mean() < 0.1


def test_a_black_image_is_no_subject() -> None:
    assert saliency.saliency(np.zeros((20, 30, 3), np.uint8)).max() < 0.5


def test_a_model_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> object:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(saliency, "distribution", missing)
    saliency.load_network.cache_clear()

    with pytest.raises(RemoverUnavailable, match="make setup"):
        saliency.load_network()
