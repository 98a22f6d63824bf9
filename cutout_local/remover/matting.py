"""Soft edges: closed-form matting in a band around the mask's outline.

Levin, Lischinski, Weiss: "A Closed-Form Solution to Natural Image Matting", PAMI 2008.
"""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg

from cutout_local.remover.image import fit
from cutout_local.remover.result import Floats, Image, Mask

MATTING_SIDE = 1400
BAND = 0.012  # of the longest side, to either side of the outline
EPSILON = 1e-6
CHUNK = 20_000  # windows at a time, so that memory stays bounded

Indices: TypeAlias = NDArray[np.int32]


def matte(rgb: Image, mask: Mask) -> Floats:
    """Alpha (H, W) in 0..1 at the image's size from a mask of any size."""
    scaled = fit(rgb, MATTING_SIDE)
    soft = _soften(mask, scaled.shape[1], scaled.shape[0])
    alpha = closed_form_alpha(scaled, trimap(soft > 0.5), soft)
    stretched: Floats = np.clip((alpha - 0.02) / 0.96, 0, 1)  # faint veils are noise
    height, width = rgb.shape[:2]
    if stretched.shape == (height, width):
        return stretched
    enlarged = cv2.resize(stretched, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(enlarged, 0, 1), np.float32)


def _soften(mask: Mask, width: int, height: int) -> Floats:
    """Enlarge a mask without its stair steps."""
    large = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    sigma = max(0.8, 0.5 * width / mask.shape[1])
    return np.clip(np.asarray(cv2.GaussianBlur(large, (0, 0), sigma), np.float32), 0, 1)


def trimap(mask: Mask) -> Floats:
    """1 inside, 0 outside, 0.5 in the band along the outline; the image's edge is none."""
    radius = _band_radius(mask)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(mask, radius, mode="edge").astype(np.uint8)
    result = np.full(padded.shape, 0.5, np.float32)
    result[cv2.erode(padded, disc) > 0] = 1
    result[cv2.dilate(padded, disc) == 0] = 0
    return result[radius:-radius, radius:-radius]


def _band_radius(mask: Mask) -> int:
    """At most half the mask's thickness: without a known core the matte would be empty."""
    core = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3).max()
    return max(1, int(min(max(2, round(BAND * max(mask.shape))), core / 2)))


def closed_form_alpha(rgb: Image, known: Floats, guess: Floats) -> Floats:
    """Solve for alpha where the trimap `known` is neither 0 nor 1, starting from `guess`.

    All are (H, W). Only windows that touch an unknown pixel are looked at; pixels that no
    3x3 window covers (images narrower than that) keep the guess.
    """
    unknown = (known > 0) & (known < 1)
    alpha = np.where(unknown, guess, known).ravel()
    pixels, windows, surroundings = _windows(unknown)
    if not len(windows):
        return alpha.reshape(known.shape)
    colours = rgb.reshape(-1, 3)[pixels] / 255
    laplacian = matting_laplacian(colours, windows, surroundings)
    free = unknown.ravel()[pixels]
    alpha[pixels[free]] = _solve(laplacian, free, alpha[pixels].astype(np.float64))
    return alpha.reshape(known.shape)


def _windows(unknown: Mask) -> tuple[Indices, Indices, Indices]:
    """Flat indices (n,) of the pixels involved, and indices into those: the 3x3 windows (m, 9)
    and each pixel's 5x5 surroundings (n, 25), which hold -1 for pixels not involved.
    """
    centres = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3))) > 0
    centres[[0, -1]] = centres[:, [0, -1]] = False
    involved = cv2.dilate(centres.astype(np.uint8), np.ones((3, 3))) > 0
    pixels = np.flatnonzero(involved).astype(np.int32)
    number = np.full(unknown.shape, -1, np.int32)
    number[involved] = np.arange(len(pixels))
    return pixels, _around(number, centres, reach=1), _around(number, involved, reach=2)


def _around(number: Indices, places: Mask, reach: int) -> Indices:
    """The values of `number` in the square around each place, row by row, -1 outside."""
    padded = np.pad(number, reach, constant_values=-1)
    y, x = np.nonzero(places)
    dy, dx = np.mgrid[: 2 * reach + 1, : 2 * reach + 1].reshape(2, -1)
    return np.asarray(padded[y[:, None] + dy, x[:, None] + dx], np.int32)


def matting_laplacian(
    colours: Floats, windows: Indices, surroundings: Indices
) -> csr_array[np.float64]:
    """The matting Laplacian (n, n), eq. 12, of pixels with `colours` (n, 3) in 0..1.

    Two pixels share a window only if one lies in the other's 5x5 surroundings, so a row has
    25 places at most; summing into those takes a fraction of the memory of a COO matrix.
    """
    entries = np.zeros(surroundings.shape)
    for start in range(0, len(windows), CHUNK):
        chunk = windows[start : start + CHUNK]
        values = _affinities(colours[chunk])
        for member, places in enumerate(_places_in_surroundings()):
            entries[chunk[:, member, None], places] += values[:, member]
    used = surroundings >= 0
    row_ends = np.concatenate([[0], used.sum(axis=1).cumsum()])
    size = len(colours)
    return csr_array((entries[used], surroundings[used], row_ends), shape=(size, size))


def _places_in_surroundings() -> NDArray[np.intp]:
    """(9, 9): where in the 5x5 surroundings of one member of a window another one lies."""
    y, x = np.mgrid[:3, :3].reshape(2, -1)
    return np.asarray((y - y[:, None] + 2) * 5 + (x - x[:, None] + 2), np.intp)


def _affinities(colours: Floats) -> Floats:
    """The (m, 9, 9) summands of the Laplacian from the (m, 9, 3) colours of the windows."""
    offset = colours - colours.mean(axis=1, keepdims=True)
    covariance = offset.transpose(0, 2, 1) @ offset / 9 + EPSILON / 9 * np.eye(3)
    spread = offset @ np.linalg.inv(covariance) @ offset.transpose(0, 2, 1)
    return np.asarray(np.eye(9) - (1 + spread) / 9)


def _solve(laplacian: csr_array[np.float64], free: Mask, alpha: Floats) -> Floats:
    """Conjugate gradient for the free entries of `alpha`, the others held."""
    rows = laplacian[np.flatnonzero(free)]
    fixed = rows[:, np.flatnonzero(~free)] @ alpha[~free]
    system = rows[:, np.flatnonzero(free)]
    # Pixels that no known one reaches would make it singular.
    system.setdiag(system.diagonal() + 1e-7)
    solution, _ = cg(
        system,
        -fixed,
        x0=alpha[free],
        rtol=1e-4,
        maxiter=300,
        M=diags_array(1 / system.diagonal()),
    )
    return np.asarray(np.clip(solution, 0, 1))
