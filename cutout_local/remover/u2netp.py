"""The remover: a small network finds the subject, GrabCut its outline, matting its soft edge."""

import numpy as np

from cutout_local.remover.colour import estimate_foreground
from cutout_local.remover.confidence import confidence, level
from cutout_local.remover.errors import NoSubject
from cutout_local.remover.image import fit, frame_width, is_blank, letterbox
from cutout_local.remover.matting import matte
from cutout_local.remover.result import Cutout, Image, Mask
from cutout_local.remover.saliency import saliency
from cutout_local.remover.segmentation import clean, grabcut, seeds

WORK_SIDE = 400
BETWEEN_BARS = 0.8  # confidence at most: less than `high`, since the photo is not whole


def remove(rgb: Image) -> Cutout:
    """Cut the subject out of (H, W, 3) uint8 sRGB; raise `NoSubject` if there is none."""
    mask, score = _find_subject(fit(rgb, WORK_SIDE))
    alpha = matte(rgb, mask)
    opacity = (alpha * 255 + 0.5).astype(np.uint8)
    rgba = np.dstack([estimate_foreground(rgb, alpha), opacity])
    return Cutout(rgba, score, level(score))


def _find_subject(small: Image) -> tuple[Mask, float]:
    """The subject's mask, and the confidence in it, in the photo without bars and frame."""
    rows, columns = letterbox(small)
    photo = small[rows, columns]
    frame = frame_width(photo)
    inner = photo[frame : len(photo) - frame, frame : photo.shape[1] - frame]
    found, score = _segment(np.ascontiguousarray(inner))
    mask = np.zeros(small.shape[:2], bool)
    mask[rows, columns] = np.pad(found, frame)
    return mask, score if photo.shape == small.shape else min(score, BETWEEN_BARS)


def _segment(rgb: Image) -> tuple[Mask, float]:
    """The subject's mask at working size and the confidence in it."""
    if is_blank(rgb):
        raise NoSubject("no subject was found: the image is one plain colour")
    probability = saliency(rgb)
    mask = clean(grabcut(rgb, seeds(probability)))
    if not mask.any():
        raise NoSubject("no subject was found in the image")
    return mask, confidence(mask, probability)
