"""A background remover of classical vision: no model file, nothing to download."""

import numpy as np

from cutout_local.remover.colour import estimate_foreground
from cutout_local.remover.confidence import confidence, level
from cutout_local.remover.cues import evidence
from cutout_local.remover.errors import NoSubject
from cutout_local.remover.matting import matte
from cutout_local.remover.params import PARAMS
from cutout_local.remover.picture import fit, frame_width, is_blank
from cutout_local.remover.result import Cutout, Image, Mask
from cutout_local.remover.segmentation import clean, grabcut, seeds

WORK_SIDE = 400


def remove(rgb: Image) -> Cutout:
    """Cut the subject out of an (H, W, 3) picture; raise `NoSubject` if there is none."""
    small = fit(rgb, WORK_SIDE)
    frame = frame_width(small)
    inner = small[frame : len(small) - frame, frame : small.shape[1] - frame]
    mask, score = _segment(np.ascontiguousarray(inner))
    alpha = matte(rgb, np.pad(mask, frame))
    opacity = (alpha * 255 + 0.5).astype(np.uint8)
    rgba = np.dstack([estimate_foreground(rgb, alpha), opacity])
    return Cutout(rgba, score, level(score, PARAMS))


def _segment(rgb: Image) -> tuple[Mask, float]:
    """The subject's mask at working size and the confidence in it."""
    if is_blank(rgb):
        raise NoSubject("no subject was found: the picture is one plain colour")
    found = evidence(rgb, PARAMS.foreground)
    cut, _ = grabcut(rgb, seeds(found.probability))
    mask = clean(cut)
    if not mask.any():
        raise NoSubject("no subject was found in the picture")
    return mask, confidence(rgb, mask, found, PARAMS)
