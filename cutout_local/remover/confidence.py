"""How far a mask can be trusted: a weighted sum of fourteen of its statistics."""

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_local.remover.colour_cues import lab_bins
from cutout_local.remover.cues import Evidence
from cutout_local.remover.image import to_lab
from cutout_local.remover.params import Params
from cutout_local.remover.result import Image, Level, Mask

WEAK_EDGE = 3.0  # Lab units
FULL_ROW = 0.95
RING = 0.04  # of the longest side: how near the outline "local" is
COLOUR_BINS = (8, 16, 16)


def confidence(rgb: Image, mask: Mask, found: Evidence, params: Params) -> float:
    """Return 0..1 for a mask (H, W) that is not empty; 0 if it leaves bars at most."""
    if _is_slab(mask) or _is_slab(mask.T):
        return 0.0
    statistics = {
        **_edge_statistics(rgb, mask),
        **_colour_statistics(rgb, mask),
        **_shape_statistics(mask),
        **_agreement_statistics(mask, found),
    }
    return float(np.clip(params.confidence.score(statistics), 0, 1))


def _is_slab(mask: Mask) -> bool:
    """Whether nearly every row that belongs to the mask does so from one side to the other."""
    covered = mask[mask.any(axis=1)].mean(axis=1)
    return bool((covered > FULL_ROW).mean() > FULL_ROW)


def level(score: float, params: Params) -> Level:
    if score >= params.high:
        return "high"
    return "medium" if score >= params.medium else "low"


def _edge_statistics(rgb: Image, mask: Mask) -> dict[str, float]:
    """Colour steps on the outline against those of the whole image."""
    lab = np.asarray(cv2.GaussianBlur(to_lab(rgb), (0, 0), 1.0), np.float32)
    steps = [np.abs(np.diff(lab, axis=axis)).sum(axis=2) for axis in (0, 1)]
    outline = [np.diff(mask, axis=axis) for axis in (0, 1)]
    on_outline = np.concatenate([step[line] for step, line in zip(steps, outline, strict=True)])
    everywhere = np.concatenate([step.ravel() for step in steps])
    return {
        "edge_contrast": float(np.log1p(on_outline.mean()) - np.log1p(everywhere.mean())),
        "weak_edge": float((on_outline < WEAK_EDGE).mean()),
    }


def _colour_statistics(rgb: Image, mask: Mask) -> dict[str, float]:
    side = max(3, int(RING * max(mask.shape))) | 1
    square, solid = np.ones((side, side), np.uint8), mask.astype(np.uint8)
    inner_ring = mask & (cv2.erode(solid, square) == 0)
    outer_ring = (cv2.dilate(solid, square) > 0) & ~mask
    bins = lab_bins(rgb, COLOUR_BINS)
    return {
        "colour_overlap": _overlap(bins[mask], bins[~mask]),
        "local_colour_overlap": _overlap(bins[inner_ring], bins[outer_ring]),
    }


def _overlap(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """Bhattacharyya coefficient of two sets of histogram bins."""
    size = int(np.prod(COLOUR_BINS))
    shares = [np.bincount(bins, minlength=size) / max(len(bins), 1) for bins in (first, second)]
    return float(np.sqrt(shares[0] * shares[1]).sum())


def _shape_statistics(mask: Mask) -> dict[str, float]:
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2]
    areas = stats[1:, cv2.CC_STAT_AREA]
    centre = np.nonzero(mask)[1].mean() / mask.shape[1]
    return {
        "area": float(mask.mean()),
        "touches_top": float(mask[0].mean()),
        "touches_sides": float(mask[:, 0].mean() + mask[:, -1].mean()),
        "largest_part": float(areas.max() / areas.sum()),
        "off_centre": float(abs(centre - 0.5)),
    }


def _agreement_statistics(mask: Mask, found: Evidence) -> dict[str, float]:
    probability = found.probability
    return {
        "probability_inside": float(probability[mask].mean()),
        "probability_outside": float(probability[~mask].mean()),
        "undecided": float(((probability > 0.2) & (probability < 0.8)).mean()),
        "agrees_with_rectangle_cut": _iou(mask, found.rectangle_cut),
        "agrees_with_probability": _iou(mask, probability > 0.5),
    }


def _iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks that are not both empty."""
    return float((first & second).sum() / (first | second).sum())
