r"""The functional of spherical spins in Gaussian fields, on step functions: value, gradient, Hessian.

    Phi(x) = int_{q_min}^1 x(q) W'(q) dq + (1/2) [q_min/chi(q_min) + log(1 - q_min)
             + int_{q_min}^1 (1/chi(q) - 1/(1 - q)) dq],    chi(q) = int_q^1 x(r) dr,

for nondecreasing x with values in [0, 1], 1 above the last edge.  It is convex (M. Talagrand, Probab. Theory
Relat. Fields 134 (2006) 339); its names are those of ``solvers.fixed_point.parisi``.  A. Crisanti, H.-J.
Sommers, Z. Phys. B 87 (1992) 341.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

from solvers.fixed_point.parisi import Moments

NODES = 8
"""Of Gauss's rule on a step."""
CLOSE = 1e-3
"""Part of [q_max, 1] next to 1 where steps are not tried: there the functional diverges."""


@dataclass(frozen=True)
class SphericalFunctional:
    """The functional by its numbers: ``coupling`` has the coefficients of W(q) from the constant up.

    At zero temperature there is a closed form or none: ``frozen`` is always False.
    """

    coupling: tuple[float, ...]
    frozen: bool = False

    @property
    def unbiased(self) -> bool:
        """Whether the field vanishes at q = 0."""
        return len(self.coupling) < 2 or self.coupling[1] == 0

    def edges(self, low: float, high: float, steps: int) -> np.ndarray:
        """Overlaps between which x is constant."""
        return np.linspace(low, min(high, 1 - CLOSE), steps + 1)

    def split(self, low: float, high: float, parts: int | None) -> np.ndarray:
        """All edges of a division of [low, high] but the last; 1 itself is not approached."""
        if high == 1.0:
            return 1 - np.geomspace(1 - low, CLOSE * (1 - low), 40)[:-1]
        return np.linspace(low, high, (parts or 16) + 1)[:-1] if high > low else np.zeros(0)

    def rate(self, q: float) -> float:
        """Variance of the field per overlap."""
        return float(2 * polynomial.polyval(q, polynomial.polyder(self.coupling, 2)))

    def closing(self, high: float) -> float:
        """The last edge of a division of all of [0, 1]."""
        return 1 - CLOSE * (1 - high)

    def outside(self, low: float, high: float) -> float:
        """How much a function stationary between ``low`` and ``high`` could gain by changing outside.

        There the gradient is W'(q) - W'(high) - (1/(1 - q) - 1/(1 - high))/2 above and W'(q) - (q/low)
        W'(low) below: a jump moved to q gains its integral from the end.
        """
        slope = polynomial.polyder(self.coupling)
        above = np.linspace(high, 1, 2001)[1:-1]
        rise = polynomial.polyval(above, self.coupling) - polynomial.polyval(high, self.coupling)
        rise -= polynomial.polyval(high, slope) * (above - high)
        rise += (np.log((1 - above) / (1 - high)) + (above - high) / (1 - high)) / 2
        below = np.linspace(0, low, 2001)[:-1] if low > 0 else np.zeros(0)
        fall = polynomial.polyval(below, self.coupling) - polynomial.polyval(low, self.coupling)
        fall += polynomial.polyval(low, slope) * (low**2 - below**2) / (2 * low or 1.0)
        return float(max(0.0, *rise, *fall))

    def levels(self, edges: np.ndarray) -> SphericalLevels:
        """Step functions on these edges."""
        return SphericalLevels(self, edges)


class SphericalState(NamedTuple):
    """The functional at one step function."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    chi: np.ndarray


class SphericalLevels:
    """Step functions on given edges."""

    def __init__(self, functional: SphericalFunctional, edges: np.ndarray) -> None:
        self.functional = functional
        self.edges = edges
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        widths = np.diff(edges)
        self.places = (edges[:-1, None] + widths[:, None] * (1 + nodes) / 2).ravel()
        self.weights = (widths[:, None] * weights / 2).ravel()
        at_nodes = np.clip(edges[None, 1:] - self.places[:, None], 0, widths)
        self.shares = np.vstack([widths, at_nodes])  # dchi/dx, at the first edge and at the nodes
        self.masses = np.append(edges[0], self.weights)

    @property
    def steps(self) -> int:
        """Steps between the edges."""
        return len(self.edges) - 1

    def at(self, x: np.ndarray) -> SphericalState:
        """Value and gradient."""
        chi = self.shares @ x + 1 - self.edges[-1]
        coupling = polynomial.polyval(np.append(self.edges, 1.0), self.functional.coupling)
        energies = np.diff(coupling)
        entropy = (self.masses / chi).sum() + np.log(1 - self.edges[-1])
        value = float(energies @ np.append(x, 1.0) + entropy / 2)
        return SphericalState(x, value, energies[:-1] - self.shares.T @ (self.masses / chi**2) / 2, chi)

    def hessian(self, state: SphericalState) -> np.ndarray:
        """Second derivatives in x."""
        return (self.shares.T * (self.masses / state.chi**3)) @ self.shares

    def moments(self, state: SphericalState) -> Moments:
        """The edges where the functional is stationary in them, else edges plus twice the slope dPhi/dx(q)
        in units of 1/(1 - q_max)^2; chi^2; no magnetisation.
        """
        inverse = np.append(
            0.0, np.cumsum((self.weights / state.chi[1:] ** 2).reshape(-1, NODES).sum(axis=1))
        )
        slope = polynomial.polyval(self.edges, polynomial.polyder(self.functional.coupling))
        chi = np.append(np.cumsum((np.diff(self.edges) * state.x)[::-1])[::-1], 0.0) + 1 - self.edges[-1]
        excess = 2 * slope - self.edges[0] / chi[0] ** 2 - inverse
        return Moments(self.edges + excess * chi[-1] ** 2, chi**2, 0.0)
