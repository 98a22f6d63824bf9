"""The numbers fitted to photos with known masks (38 of them, MIT and CC BY-SA licensed).

Weights are in units of the feature itself, so a score is a plain weighted sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cutout_local.remover.result import Floats


@dataclass(frozen=True)
class LinearModel:
    """A weighted sum of named features."""

    weights: Mapping[str, float]
    bias: float

    def score(self, features: Mapping[str, float | Floats]) -> Floats:
        """Return the sum: 0-d for numbers, (n,) for vectors of n.

        Raises ValueError unless exactly the known features are given.
        """
        if features.keys() != self.weights.keys():
            raise ValueError(f"expected {sorted(self.weights)}, got {sorted(features)}")
        values = np.stack([np.asarray(features[name]) for name in self.weights], axis=-1)
        return np.asarray(values @ list(self.weights.values()) + self.bias)


@dataclass(frozen=True)
class Params:
    """Every fitted number: two models and the limits of the confidence levels."""

    foreground: LinearModel
    confidence: LinearModel
    high: float
    medium: float


PARAMS = Params(
    foreground=LinearModel(
        weights={
            "contrast_to_background": 1.56875,
            "sharpness": 1.01524,
            "boundary_connectivity": 0.0235413,
            "centre_colour": 0.417188,
            "off_centre_x_squared": 0.753274,
            "off_centre_x": -0.938082,
            "below_centre": 0.326728,
            "off_centre_y_squared": -0.128509,
            "body": 0.854671,
            "body_colour": 0.374138,
            "distance_to_border": -0.86043,
            "touches_bottom": 0.474341,
            "in_rectangle_cut": 1.79554,
            "rectangle_likelihood": 0.585519,
        },
        bias=-0.606631,
    ),
    confidence=LinearModel(
        weights={
            "area": 0.203593,
            "edge_contrast": -0.0274312,
            "weak_edge": -0.397802,
            "colour_overlap": -0.0492556,
            "local_colour_overlap": -0.220234,
            "touches_top": -0.410434,
            "touches_sides": -0.0384301,
            "largest_part": 1.42626,
            "probability_inside": 0.183481,
            "probability_outside": 0.00593215,
            "undecided": -0.0740409,
            "agrees_with_rectangle_cut": 0.0497532,
            "agrees_with_probability": 0.162559,
            "off_centre": 0.412025,
        },
        bias=-0.80776,
    ),
    high=0.85,
    medium=0.70,
)
