import numpy as np
import pytest

from cutout_local.remover.confidence import HIGH, MEDIUM, confidence, level
from cutout_local.remover.result import Floats, Mask
from tests.unit.remover.conftest import Scene


def sure_of(mask: Mask) -> Floats:
    return np.where(mask, 0.95, 0.05)


def test_a_mask_that_the_network_is_sure_of_is_trusted(disc: Scene) -> None:
    mask = disc.alpha > 0.5

    assert confidence(mask, sure_of(mask)) == 1


def test_a_mask_beside_what_the_network_found_is_not_trusted(disc: Scene) -> None:
    right = disc.alpha > 0.5

    assert confidence(np.roll(right, 70, axis=1), sure_of(right)) < MEDIUM


def test_what_the_network_is_unsure_of_lowers_the_trust_inside_and_outside(disc: Scene) -> None:
    mask = disc.alpha > 0.5
    left, right = mask.copy(), mask.copy()
    left[:, mask.shape[1] // 2 :] = False
    right[:, : mask.shape[1] // 2] = False
    half = np.where(left, 0.95, np.where(right, 0.5, 0.05))

    assert confidence(mask, half) == pytest.approx(0.5, abs=0.02)
    assert confidence(left, half) == pytest.approx(0.5, abs=0.02)


def test_a_hole_that_the_mask_keeps_is_never_sure() -> None:
    y, x = np.mgrid[:150, :200]
    distance = np.hypot(x - 100, y - 75)
    ring = (distance < 60) & (distance > 25)

    assert confidence(ring, sure_of(ring)) > HIGH
    assert confidence(distance < 60, sure_of(ring)) < HIGH


def test_a_mask_without_background_is_not_trusted_at_all(disc: Scene) -> None:
    everything = np.ones(disc.alpha.shape, bool)

    assert confidence(everything, sure_of(everything)) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_that_leaves_only_bars_is_not_trusted_at_all(disc: Scene, axis: int) -> None:
    between = np.moveaxis(np.zeros(disc.alpha.shape, bool), axis, 0)
    between[30:-30] = True
    mask = np.moveaxis(between, 0, axis)

    assert confidence(mask, sure_of(mask)) == 0


@pytest.mark.parametrize(
    ("score", "name"),
    [(1.0, "high"), (0.85, "high"), (0.84, "medium"), (0.70, "medium"), (0.69, "low"), (0, "low")],
)
def test_levels_start_at_their_limits(score: float, name: str) -> None:
    assert level(score) == name
