"""SLIC superpixels (Achanta et al., "SLIC Superpixels", PAMI 2012) and their neighbourhood."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

from cutout_local.remover.result import Floats, Image, Mask

SEGMENTS = 350


@dataclass(frozen=True)
class Superpixels:
    """`labels` is (H, W) with every number of 0..count-1 in use."""

    labels: NDArray[np.intp]
    count: int

    def mean(self, values: NDArray[Any]) -> Floats:
        """Average an (H, W) map over each superpixel."""
        sums = np.bincount(self.labels.ravel(), values.ravel(), self.count)
        return np.asarray(sums / self.sizes, np.float64)

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        return np.bincount(self.labels.ravel(), minlength=self.count)

    @cached_property
    def adjacent(self) -> Mask:
        """(n, n): which superpixels share an edge."""
        touching = np.zeros((self.count, self.count), bool)
        touching[self.labels[:, :-1], self.labels[:, 1:]] = True
        touching[self.labels[:-1], self.labels[1:]] = True
        touching |= touching.T
        np.fill_diagonal(touching, False)
        return touching


def superpixels(rgb: Image) -> Superpixels:
    labels = slic(rgb, n_segments=SEGMENTS, compactness=12, sigma=0.8, max_num_iter=6)
    used, compact = np.unique(labels, return_inverse=True)
    return Superpixels(compact.reshape(labels.shape), len(used))
