"""Where subjects tend to be: in the centre, and around and below faces."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from skimage import data
from skimage.feature import Cascade

from cutout_local.remover.result import Floats, Image

DETECTION_SIDE = 480


class Face(NamedTuple):
    """A box in pixels; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def centre_prior(height: int, width: int) -> Floats:
    """A Gaussian bump of height 1 a little below the middle."""
    y, x = np.mgrid[0:height, 0:width]
    return np.asarray(
        np.exp(-(((x / width - 0.5) / 0.33) ** 2 + ((y / height - 0.52) / 0.36) ** 2) / 2)
    )


@cache
def _cascade() -> Cascade:
    """The LBP cascade for frontal faces that scikit-image carries in its wheel."""
    file = data.lbp_frontal_face_cascade_filename()  # type: ignore[no-untyped-call]
    return Cascade(file)


def faces(rgb: Image) -> list[Face]:
    """Frontal faces whose colour may be that of skin."""
    scale = DETECTION_SIDE / max(rgb.shape[:2])
    enlarged = cv2.resize(rgb, None, fx=scale, fy=scale)
    found = _cascade().detect_multi_scale(
        img=enlarged,
        scale_factor=1.2,
        step_ratio=1,
        min_size=(28, 28),
        max_size=(300, 300),
        min_neighbor_number=4,
    )
    boxes = [Face(*(f[k] / scale for k in ("c", "r", "width", "height"))) for f in found]
    chroma = _chroma(rgb)
    return [face for face in boxes if _may_be_skin(chroma, face)]


def _chroma(rgb: Image) -> Floats:
    """Red and blue difference around 0, (H, W, 2)."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 1:], np.float32) - 128


def _may_be_skin(chroma: Floats, face: Face) -> bool:
    """Tell whether the inner face has a skin's hue; everything has in a grey image."""
    rows = slice(int(face.y + 0.2 * face.height), int(face.y + 0.85 * face.height))
    columns = slice(int(face.x + 0.2 * face.width), int(face.x + 0.8 * face.width))
    inner = chroma[rows, columns].reshape(-1, 2)
    if len(inner) < 9:
        return False
    if np.abs(chroma[..., 0]).mean() < 4:
        return True
    red, blue = inner.mean(axis=0)
    return bool(4 < red < 50 and blue < 4)


def body_prior(height: int, width: int, found: list[Face]) -> Floats:
    """Heads, necks and shoulders below the faces, with soft edges, 0..1."""
    prior = np.zeros((height, width), np.float32)
    for face in found:
        shape = np.zeros_like(prior)
        cv2.ellipse(shape, *_head(face), 0, 0, 360, 1, -1)
        cv2.fillPoly(shape, [_torso(face, height)], 1)
        prior = np.maximum(prior, cv2.GaussianBlur(shape, (0, 0), max(1, face.width * 0.12)))
    return np.clip(prior, 0, 1)


def _head(face: Face) -> tuple[tuple[int, int], tuple[int, int]]:
    """Centre and half axes of the head's ellipse."""
    centre = (int(face.x + face.width / 2), int(face.y + face.height * 0.45))
    return centre, (int(face.width * 0.62), int(face.height * 0.85))


def _torso(face: Face, bottom: int) -> cv2.typing.MatLike:
    """Corners of neck, shoulders and trunk, the right half mirrored from the left."""
    neck = face.y + face.height * 1.15
    shoulder = face.y + face.height * 1.75
    half = [
        (0.35, neck - face.height * 0.3),
        (0.55, neck + face.height * 0.1),
        (1.25, shoulder),
        (1.35, min(bottom, shoulder + 4.5 * face.height)),
    ]
    middle = face.x + face.width / 2
    right = [(middle + face.width * reach, y) for reach, y in half]
    left = [(middle - face.width * reach, y) for reach, y in reversed(half)]
    return np.array(right + left, np.int32)
