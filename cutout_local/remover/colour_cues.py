"""What colour and sharpness say about each pixel."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_local.remover.result import Floats, Image

CLUSTERS = 5
BINS = 16


def sharpness(rgb: Image) -> Floats:
    """Log of the local high frequencies: what is in focus is likely the subject."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.2))
    spread = cv2.dilate(cv2.GaussianBlur(detail, (0, 0), 1.0), np.ones((9, 9)))
    return np.log1p(np.asarray(cv2.GaussianBlur(spread, (0, 0), 3), np.float32))


def histogram_likelihood(rgb: Image, prior: Floats) -> Floats:
    """Log ratio of each pixel's colour among likely and unlikely pixels, within ±4.

    `prior` is (H, W) in 0..1. The histogram is smoothed with (1, 2, 1) in Lab.
    """
    bins = lab_bins(rgb, (BINS, BINS, BINS))
    inside, outside = (_histogram(bins, weight) for weight in (prior, (1 - prior) ** 2))
    ratio = np.log((inside + 2e-5) / (outside + 2e-5))
    return np.asarray(np.clip(ratio, -4, 4)[bins], np.float64)


def lab_bins(rgb: Image, levels: tuple[int, int, int]) -> NDArray[np.intp]:
    """Number (H, W) of the bin that each pixel's colour has in a Lab histogram of that shape."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.intp) * np.array(levels) // 256
    return np.asarray(lab @ (levels[1] * levels[2], levels[2], 1), np.intp)


def _histogram(bins: NDArray[np.intp], weight: Floats) -> Floats:
    sums = np.asarray(np.bincount(bins.ravel(), weight.ravel(), BINS**3), np.float64)
    counts: Floats = sums.reshape((BINS,) * 3)
    for axis in range(3):
        counts = (np.roll(counts, 1, axis) + 2 * counts + np.roll(counts, -1, axis)) / 4
    return np.asarray(counts.ravel() / max(counts.sum(), 1e-9))


def border_distance(lab: Floats) -> Floats:
    """Mahalanobis distance of each pixel to the nearest cluster of border colours, (H, W)."""
    samples = _border_samples(lab)
    cv2.setRNGSeed(1)  # k-means must give the same answer every time
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 30, 0.5)
    _, labels, _ = cv2.kmeans(samples, CLUSTERS, np.empty(0), criteria, 2, cv2.KMEANS_PP_CENTERS)
    labels = labels.ravel()
    clusters = [samples[labels == k] for k in range(CLUSTERS)]
    large = [c for c in clusters if len(c) >= 0.04 * len(samples)]
    return np.asarray(np.min([_mahalanobis(lab, cluster) for cluster in large], axis=0))


def _border_samples(lab: Floats) -> Floats:
    """Colours within 3 % of the border; a third of the bottom, where subjects stand."""
    width = max(3, round(0.03 * max(lab.shape[:2])))
    bottom = lab[-width:].reshape(-1, 3)
    chosen = np.random.default_rng(0).permutation(len(bottom))[: int(0.35 * len(bottom))]
    sides = (lab[:width], lab[width:, :width], lab[width:, -width:], bottom[chosen])
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def _mahalanobis(lab: Floats, cluster: Floats) -> Floats:
    covariance = np.cov(cluster.T) + 9 * np.eye(3)  # no cluster is narrower than 3 Lab units
    offset = lab - cluster.mean(axis=0)
    squared = np.einsum("yxi,ij,yxj->yx", offset, np.linalg.inv(covariance), offset)
    return np.asarray(np.sqrt(squared))
