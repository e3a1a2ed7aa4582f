"""Gaussian averages of even functions from one uniform grid to another, each grid in units of its own scale.

A function phi(w) that varies on the scale S is tabulated at w = S h i, i = 0, 1, ..., N - 1.  Its average
over a Gaussian of variance S^2 - s^2 around the nodes of the scale S is a sum over the nodes of the scale s <
S: the trapezoid, whose error is below 1e-14 where the spacing resolves the Gaussian (``PER_WIDTH``), so
nothing is interpolated.  Beyond the last node phi is |w| plus a constant: those nodes count as one, number N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

REACH = 8.2
"""Standard deviations beyond which a Gaussian weight is below 3e-15 of its maximum."""
PER_WIDTH = 1.3
"""Nodes in a standard deviation: the trapezoid's error is 2 exp(-2 (pi PER_WIDTH)^2) = 6e-15."""


@dataclass(frozen=True)
class Dilation:
    """Averages from the scale ``ratio`` S to the scale S; ``ratio`` < 1.

    Attributes
    ----------
    places:
        Node i of the outer grid -> the signed numbers of the inner nodes around it, shape (N, width).
    weights:
        Of these nodes; they sum to 1.
    """

    spacing: float
    places: np.ndarray
    weights: np.ndarray

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.places)

    @property
    def known(self) -> np.ndarray:
        """The node of the inner grid that each place is, by symmetry; N beyond the last."""
        return np.minimum(np.abs(self.places), self.nodes)

    def onto(self, values: np.ndarray, scale: float, far: float) -> np.ndarray:
        """An even function at the places: ``values`` at the nodes of the inner grid, w + ``far`` beyond."""
        beyond = scale * self.spacing * np.abs(self.places) + far
        return np.where(np.abs(self.places) < self.nodes, np.append(values, 0.0)[self.known], beyond)

    def spread(self, masses: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Masses on the N outer nodes carried to the N + 1 inner ones."""
        carried = (masses[:, None] * weights).ravel()
        return np.bincount(self.known.ravel(), carried, self.nodes + 1)


def dilation(ratio: float, spacing: float, nodes: int, tilt: float = 0.0) -> Dilation:
    """The weights for one ratio of scales; ``tilt``: how far, in standard deviations, a function that is to
    be averaged may move the maximum of the weight.
    """
    width = np.sqrt(1 / ratio**2 - 1)
    reach = int(np.ceil((REACH + tilt) * width / spacing))
    centre = np.arange(nodes) / ratio
    places = np.rint(centre).astype(int)[:, None] + np.arange(-reach, reach + 1)
    distance = (places - centre[:, None]) * spacing / width
    weights = np.exp(-(distance**2) / 2)
    return Dilation(spacing, places, weights / weights.sum(axis=1, keepdims=True))


ORDER = 32
_SIGNS = np.array([(-1.0) ** i for i in range(ORDER)])
_BINOMIAL = np.cumprod(np.append(1.0, [(ORDER - i) / i for i in range(1, ORDER)]))
"""Barycentric weights of equidistant nodes, up to their sign."""


def interpolation(points: Any, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Signed numbers of the ``ORDER`` nodes around each point and their Lagrange weights."""
    position = np.asarray(points, dtype=float) / spacing
    places = (np.floor(position).astype(int) - ORDER // 2 + 1)[:, None] + np.arange(ORDER)
    gap = position[:, None] - places
    exact = gap == 0
    factors = _SIGNS * _BINOMIAL / np.where(exact, 1.0, gap)
    factors = np.where(exact.any(axis=1, keepdims=True), exact, factors)
    return places, factors / factors.sum(axis=1, keepdims=True)
