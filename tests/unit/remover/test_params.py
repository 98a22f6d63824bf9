import numpy as np
import pytest

from cutout_local.remover.params import PARAMS, LinearModel

MODEL = LinearModel(weights={"near": 2.0, "bright": -1.0}, bias=0.5)


def test_the_score_is_the_weighted_sum_whatever_the_order() -> None:
    assert MODEL.score({"bright": 3.0, "near": 1.0}) == pytest.approx(-0.5)


def test_vectors_are_scored_element_by_element() -> None:
    scores = MODEL.score({"near": np.array([0.0, 1.0]), "bright": np.array([1.0, 0.0])})

    assert scores.tolist() == [-0.5, 2.5]


@pytest.mark.parametrize("features", [{"near": 1.0}, {"near": 1.0, "bright": 1.0, "red": 1.0}])
def test_missing_and_unknown_features_are_refused(features: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MODEL.score(features)


def test_both_models_weigh_fourteen_features() -> None:
    assert len(PARAMS.foreground.weights) == len(PARAMS.confidence.weights) == 14


def test_the_levels_are_in_order() -> None:
    assert 0 < PARAMS.medium < PARAMS.high < 1
