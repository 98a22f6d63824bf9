import numpy as np

from cutout_local.remover.superpixels import Superpixels, superpixels
from tests.unit.remover.conftest import Scene

STRIPES = Superpixels(np.repeat([[0, 0, 1, 2]], 3, axis=0), 3)


def test_every_label_is_in_use(disc: Scene) -> None:
    parts = superpixels(disc.rgb)

    assert parts.labels.shape == disc.rgb.shape[:2]
    assert np.unique(parts.labels).tolist() == list(range(parts.count))
    assert 150 < parts.count < 500


def test_superpixels_keep_to_the_outline(disc: Scene) -> None:
    parts = superpixels(disc.rgb)

    inside = parts.mean(disc.alpha)

    assert np.mean((inside < 0.1) | (inside > 0.9)) > 0.95


def test_a_mean_is_taken_over_each_superpixel() -> None:
    values = np.tile([1.0, 3.0, 5.0, 7.0], (3, 1))

    assert STRIPES.mean(values).tolist() == [2.0, 5.0, 7.0]


def test_superpixels_are_adjacent_if_they_share_an_edge() -> None:
    expected = [[False, True, False], [True, False, True], [False, True, False]]

    assert STRIPES.adjacent.tolist() == expected
