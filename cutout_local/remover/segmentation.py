"""From a probability to a mask: seeded GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_local.remover.result import Floats, Image, Mask

ITERATIONS = 3
COMPONENTS = 5  # of each of GrabCut's two Gaussian mixtures; each takes 13 numbers
MIN_SEEDS = 30
BACKGROUND_BELOW, LIKELY_FROM, FOREGROUND_ABOVE = 0.05, 0.4, 0.95


def seeds(probability: Floats) -> Image:
    """GrabCut's four labels from a foreground probability (H, W)."""
    labels = np.full(probability.shape, cv2.GC_PR_BGD, np.uint8)
    labels[probability >= LIKELY_FROM] = cv2.GC_PR_FGD
    labels[probability < BACKGROUND_BELOW] = cv2.GC_BGD
    labels[probability > FOREGROUND_ABOVE] = cv2.GC_FGD
    return labels


def grabcut(rgb: Image, labels: Image) -> Mask:
    """The foreground's mask (H, W); the seeds' own if one side's are too few to teach anything."""
    seeded: Mask = labels % 2 == 1  # GC_FGD and GC_PR_FGD
    if min(seeded.sum(), (~seeded).sum()) < MIN_SEEDS:
        return seeded
    background, foreground = np.zeros((1, 13 * COMPONENTS)), np.zeros((1, 13 * COMPONENTS))
    cut = labels.copy()
    cv2.setRNGSeed(1)  # GrabCut starts with k-means and must give the same answer every time
    cv2.grabCut(rgb, cut, (0, 0, 0, 0), background, foreground, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.asarray(cut % 2 == 1)


def clean(mask: Mask) -> Mask:
    """Drop specks and parts far smaller than the largest, and fill pinholes."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0
    labels, areas = _components(opened, connectivity=8)
    parts: Mask = np.isin(labels, np.flatnonzero(areas >= max(0.06 * areas.max(initial=0), 12)) + 1)
    labels, areas = _components(~parts, connectivity=4)
    return parts | np.isin(labels, np.flatnonzero(areas < 0.0015 * mask.size) + 1)


def _components(mask: Mask, connectivity: int) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Label image (0 outside the mask) and the areas of labels 1, 2, ..."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=connectivity
    )
    return np.asarray(labels), np.asarray(stats[1:, cv2.CC_STAT_AREA])
