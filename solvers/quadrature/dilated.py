"""Gaussian averages of even functions from one uniform grid to another, each grid in units of its own scale.

A function phi(w) that varies on the scale S is tabulated at w = S h i, i = 0, 1, ..., N - 1.  Its average
over a Gaussian of variance S^2 - s^2 around the nodes of the scale S is a sum over the nodes of the scale s <
S: the trapezoid, whose error is below 1e-14 where the spacing resolves the Gaussian (``PER_WIDTH``), so
nothing is interpolated.  Beyond the last node phi is |w| plus a constant: those nodes count as one, number N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 8.2
"""Standard deviations beyond which a Gaussian weight is below 3e-15 of its maximum."""
PER_WIDTH = 1.3
"""Nodes in a standard deviation: the trapezoid's error is 2 exp(-2 (pi PER_WIDTH)^2) = 6e-15."""


@dataclass(frozen=True)
class Dilation:
    """Averages over Gaussians of one variance around some points, from the values at ``nodes`` nodes.

    Attributes
    ----------
    places:
        Point i -> the signed numbers of the nodes around it, shape (points, width).
    weights:
        Of these nodes; they sum to 1.
    """

    spacing: float
    nodes: int
    places: np.ndarray
    weights: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """The node that each place is, by symmetry; number ``nodes`` beyond the last."""
        return np.minimum(np.abs(self.places), self.nodes)

    def onto(self, values: np.ndarray, scale: float, far: float) -> np.ndarray:
        """An even function at the places: ``values`` at the nodes, w + ``far`` beyond."""
        beyond = scale * self.spacing * np.abs(self.places) + far
        return np.where(np.abs(self.places) < self.nodes, np.append(values, 0.0)[self.known], beyond)

    def spread(self, masses: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Masses on the points carried to the nodes and beyond."""
        carried = (masses[:, None] * weights).ravel()
        return np.bincount(self.known.ravel(), carried, self.nodes + 1)


def dilation(points: np.ndarray, width: float, spacing: float, nodes: int, tilt: float = 0.0) -> Dilation:
    """The weights for points and a standard deviation in units of the scale of the nodes.

    ``tilt``: how far, in standard deviations, a function that is to be averaged may move the maximum of the
    weight.
    """
    reach = int(np.ceil((REACH + tilt) * width / spacing))
    centre = points / spacing
    places = np.rint(centre).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = (places - centre[:, None]) * spacing / width
    weights = np.exp(-(distance**2) / 2)
    return Dilation(spacing, nodes, places, weights / weights.sum(axis=1, keepdims=True))
