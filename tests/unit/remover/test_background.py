"""A 5 x 5 chessboard of superpixels whose middle 3 x 3 differ in colour from the rest."""

import numpy as np
import pytest

from cutout_local.remover.background import Graph, boundary_connectivity, graph, saliency
from cutout_local.remover.result import Floats
from cutout_local.remover.superpixels import Superpixels

NUMBERS = np.arange(25).reshape(5, 5)
PARTS = Superpixels(NUMBERS.repeat(4, axis=0).repeat(4, axis=1), 25)
MIDDLE = np.zeros((5, 5), bool)
MIDDLE[1:4, 1:4] = True


@pytest.fixture(name="net")
def net_with_subject() -> Graph:
    colours = np.where(MIDDLE.ravel()[:, None], [60.0, 50, 40], [40.0, 0, 0])
    return graph(PARTS, colours + np.arange(25)[:, None] * 0.01)


def centres() -> Floats:
    y, x = np.mgrid[:5, :5].reshape(2, -1)
    return np.stack([x + 0.5, y + 0.5], axis=1) / 5


def test_the_bottom_counts_less_than_the_other_sides(net: Graph) -> None:
    assert net.border[2] == net.border[10] == net.border[14] == 1
    assert net.border[22] == pytest.approx(0.15)
    assert net.border[12] == 0


def test_the_background_is_connected_to_the_border(net: Graph) -> None:
    connectivity = boundary_connectivity(net)

    assert connectivity[~MIDDLE.ravel()].min() > 1
    assert connectivity[MIDDLE.ravel()].max() < 0.1


def test_links_of_no_length_still_connect() -> None:
    one_colour = graph(PARTS, np.zeros((25, 3)))

    assert np.ptp(boundary_connectivity(one_colour)) == pytest.approx(0)


def test_the_subject_is_salient(net: Graph) -> None:
    values = saliency(net, boundary_connectivity(net), centres())

    assert values.min() == 0
    assert values.max() == 1
    assert values[MIDDLE.ravel()].min() > values[~MIDDLE.ravel()].max() + 0.3
