"""Fourteen cues for each superpixel, and the foreground probability they add up to."""

from dataclasses import dataclass

import cv2
import numpy as np

from cutout_local.remover.background import boundary_connectivity, graph, saliency
from cutout_local.remover.colour_cues import border_distance, histogram_likelihood, sharpness
from cutout_local.remover.image import to_lab
from cutout_local.remover.params import LinearModel
from cutout_local.remover.priors import body_prior, centre_prior, faces
from cutout_local.remover.result import Floats, Image, Mask
from cutout_local.remover.segmentation import centre_rectangle, grabcut
from cutout_local.remover.superpixels import Superpixels, superpixels

SHARPNESS_WEIGHT = 12.0  # brings log sharpness to the scale of Lab


@dataclass(frozen=True)
class Evidence:
    """Foreground probability (H, W), and the mask GrabCut finds from a rectangle alone."""

    probability: Floats
    rectangle_cut: Mask


def evidence(rgb: Image, model: LinearModel) -> Evidence:
    parts = superpixels(rgb)
    cut, likelihood = grabcut(rgb, centre_rectangle(*rgb.shape[:2]))
    cues = {
        **_contrast_cues(rgb, parts),
        **_position_cues(parts),
        **_prior_cues(rgb, parts),
        "in_rectangle_cut": parts.mean(cut),
        "rectangle_likelihood": parts.mean(likelihood) / 4,
    }
    probability = 1 / (1 + np.exp(-model.score(cues)))
    smooth = cv2.GaussianBlur(probability[parts.labels].astype(np.float32), (0, 0), 2)
    return Evidence(np.asarray(smooth, np.float32), cut)


def _contrast_cues(rgb: Image, parts: Superpixels) -> dict[str, Floats]:
    lab, sharp = to_lab(rgb), parts.mean(sharpness(rgb))
    colours = [parts.mean(lab[..., channel]) for channel in range(3)]
    net = graph(parts, np.stack([*colours, SHARPNESS_WEIGHT * sharp], axis=1))
    connectivity = boundary_connectivity(net)
    return {
        "contrast_to_background": saliency(net, connectivity, _centres(parts)),
        "boundary_connectivity": np.minimum(connectivity, 4),
        "sharpness": sharp - np.percentile(sharp, 95),
        "distance_to_border": np.minimum(parts.mean(border_distance(lab)), 12) / 6,
    }


def _centres(parts: Superpixels) -> Floats:
    """Centres of gravity (n, 2) as x and y in 0..1."""
    height, width = parts.labels.shape
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([parts.mean(x / width), parts.mean(y / height)], axis=1)


def _position_cues(parts: Superpixels) -> dict[str, Floats]:
    x, y = 2 * (_centres(parts) - 0.5).T
    bottom = np.zeros(parts.count)
    bottom[parts.labels[-1]] = 1
    return {
        "off_centre_x": np.abs(x),
        "off_centre_x_squared": x**2,
        "below_centre": y,
        "off_centre_y_squared": y**2,
        "touches_bottom": bottom,
    }


def _prior_cues(rgb: Image, parts: Superpixels) -> dict[str, Floats]:
    found = faces(rgb)
    height, width = rgb.shape[:2]
    body = body_prior(height, width, found)
    body_colour = histogram_likelihood(rgb, 0.95 * body) if found else np.zeros(body.shape)
    return {
        "centre_colour": parts.mean(histogram_likelihood(rgb, centre_prior(height, width))),
        "body": parts.mean(body),
        "body_colour": parts.mean(body_colour),
    }
