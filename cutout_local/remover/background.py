"""Robust background detection on superpixels.

Zhu, Liang, Wei, Sun: "Saliency Optimization from Robust Background Detection", CVPR 2014;
equation numbers below are theirs. Differences: sharpness joins the Lab colour, and the
bottom border counts little, since subjects often stand on it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import csgraph_from_dense, dijkstra
from scipy.spatial.distance import cdist

from cutout_local.remover.result import Floats, Mask
from cutout_local.remover.superpixels import Superpixels

BOTTOM_WEIGHT = 0.15
GEODESIC_SIGMA = 10.0
POSITION_SIGMA = 0.4
BACKGROUND_WEIGHT = 5.0


@dataclass(frozen=True)
class Graph:
    """Superpixels as nodes: colour distances (n, n), who touches whom, border weight (n,)."""

    distance: Floats
    adjacent: Mask
    border: Floats

    @property
    def noise(self) -> float:
        """Distance that tells nothing: the mean over nodes to their most similar neighbour."""
        nearest = np.where(self.adjacent, self.distance, np.inf).min(axis=1)
        return float(np.mean(nearest[np.isfinite(nearest)]))

    @property
    def border_pairs(self) -> Mask:
        on_border = self.border > 0
        return np.outer(on_border, on_border)


def graph(parts: Superpixels, features: Floats) -> Graph:
    """Build the graph from (n, k) features."""
    border = np.zeros(parts.count)
    border[parts.labels[-1]] = BOTTOM_WEIGHT
    for side in (parts.labels[0], parts.labels[:, 0], parts.labels[:, -1]):
        border[side] = 1
    return Graph(cdist(features, features), parts.adjacent, border)


def boundary_connectivity(net: Graph) -> Floats:
    """How much of each node's homogeneous region lies on the image's border (eq. 3 to 6)."""
    affinity = np.exp(-(_geodesic(net) ** 2) / (2 * GEODESIC_SIGMA**2))
    return np.asarray((affinity @ net.border) / np.sqrt(affinity.sum(axis=1)))


def _geodesic(net: Graph) -> Floats:
    """All-pairs shortest colour distance; border nodes are linked with each other."""
    linked = net.adjacent | net.border_pairs
    np.fill_diagonal(linked, False)
    steps = np.where(linked, np.maximum(net.distance - net.noise, 0), np.inf)
    # null_value keeps the links of length zero, which a plain dense matrix would lose.
    return np.asarray(dijkstra(csgraph_from_dense(steps, null_value=np.inf), directed=False))


def saliency(net: Graph, connectivity: Floats, centres: Floats) -> Floats:
    """Foreground value 0..1 of each node by least squares (eq. 9); `centres` is (n, 2) in 0..1."""
    background = 1 - np.exp(-(connectivity**2) / 2)
    contrast = _weighted_contrast(net, background, centres)
    smoothness = _smoothness(net)
    system = np.diag(BACKGROUND_WEIGHT * background + contrast + smoothness.sum(axis=1))
    values = np.linalg.solve(system - smoothness, contrast)
    return np.asarray((values - values.min()) / max(np.ptp(values), 1e-9))


def _weighted_contrast(net: Graph, background: Floats, centres: Floats) -> Floats:
    """Contrast of each node to the likely background near it (eq. 8), largest 1."""
    closeness = np.exp(-cdist(centres, centres, "sqeuclidean") / (2 * POSITION_SIGMA**2))
    contrast = (net.distance * closeness) @ background
    return np.asarray(contrast / max(contrast.max(), 1e-9))


def _smoothness(net: Graph) -> Floats:
    """Similarity of nodes that are linked, next but one, or both on the border (eq. 9)."""
    # float32, since an integer product would not use BLAS.
    two_steps = net.adjacent.astype(np.float32) @ net.adjacent.astype(np.float32) > 0
    linked = net.adjacent | two_steps | net.border_pairs
    np.fill_diagonal(linked, False)
    sigma = np.clip(3 * net.noise, 5, 10)
    return np.where(linked, np.exp(-(net.distance**2) / (2 * sigma**2)) + 0.1, 0)
