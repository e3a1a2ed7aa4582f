"""The minimum of a function of ordered overlaps and sizes of blocks, then Newton on its stationarity.

0 <= q_0 <= ... <= q_k <= 1 and 0 <= m_1 <= ... <= m_k <= 1: a step function on [0, 1].  For spins with
Gaussian energies the free entropy is its infimum over all of them (M. Talagrand, Ann. Math. 163 (2006) 221),
and strictly convex in the law that they describe (A. Auffinger, W.-K. Chen, Commun. Math. Phys. 335 (2015)
1429).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from solvers.fixed_point.vector import FixedPoint, solve_map

Value = Callable[[np.ndarray], tuple[float, np.ndarray]]
"""x -> Phi(x), its gradient."""
Residual = Callable[[np.ndarray], np.ndarray]
"""x -> what vanishes at a solution."""


class Ordered(NamedTuple):
    """Coordinates in [0, 1] for overlaps and sizes of blocks: each is a fraction of the next.

    ``unbounded``: the last size of a block is t/(1 - t), as at zero temperature.  ``responses``: how many
    positive unknowns follow that are in no order, t/(1 - t) too.
    """

    overlaps: int
    unbounded: bool = False
    responses: int = 0

    def unknowns(self, box: np.ndarray) -> np.ndarray:
        """Overlaps, then sizes of blocks, then responses."""
        q, m, v = self._parts(box)
        if self.unbounded and m.size:
            m = np.append(m[:-1], m[-1] / (1 - m[-1]))
        return np.concatenate([np.cumprod(q[::-1])[::-1], np.cumprod(m[::-1])[::-1], v / (1 - v)])

    def _parts(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        end = x.size - self.responses
        return x[: self.overlaps], x[self.overlaps : end], x[end:]

    def box(self, unknowns: np.ndarray) -> np.ndarray:
        """The inverse of ``unknowns``."""
        q, m, v = self._parts(unknowns)
        parts = [np.append(x[:-1] / np.maximum(x[1:], 1e-300), x[-1:]) for x in (q, m) if x.size]
        if self.unbounded and m.size:
            parts[-1][-1] = m[-1] / (1 + m[-1])
        return np.clip(np.concatenate([*parts, v / (1 + v)]), 0, 1)

    def admits(self, unknowns: np.ndarray) -> bool:
        """Whether the unknowns are in order, up to rounding."""
        q, m, _ = self._parts(unknowns)
        bounded = np.all(q <= 1) and (self.unbounded or np.all(m <= 1))
        return bool(bounded and np.all(unknowns >= -1e-12) and np.all(np.diff(q) >= -1e-9))

    def pulled(self, box: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The gradient in the coordinates."""
        terms = self._parts(self.unknowns(box) * gradient)
        places = self._parts(box)
        # coordinate j scales every unknown up to j
        pairs = zip(terms[:2], places, strict=False)
        parts = [np.cumsum(t) / np.maximum(x, 1e-300) for t, x in pairs]
        if self.unbounded and parts[-1].size:
            parts[-1][-1] /= 1 - places[1][-1]
        return np.concatenate([*parts, self._parts(gradient)[2] / (1 - places[2]) ** 2])


EDGE = 1e-9


def minimise(value: Value, order: Ordered, start: np.ndarray, ceiling: float = np.inf) -> np.ndarray:
    """A local minimum from a start, to about six digits.

    With a finite ceiling, a value near that of the minimum, the search goes on in units of the difference
    from it: near a transition it is far below the value itself.
    """
    x, unit = start, 1.0
    for _ in range(SCALES):
        x = _search(value, order, x, ceiling if np.isfinite(ceiling) else 0.0, unit)
        gap = abs(value(x)[0] - ceiling)
        if not 1e-13 < gap < 0.1 * unit:
            break
        unit = gap
    return x


SCALES = 8


def _search(value: Value, order: Ordered, start: np.ndarray, origin: float, unit: float) -> np.ndarray:
    def function(box: np.ndarray) -> tuple[float, np.ndarray]:
        phi, gradient = value(order.unknowns(box))
        if not (np.isfinite(phi) and np.all(np.isfinite(gradient))):
            return 1e10, np.zeros_like(box)
        return (phi - origin) / unit, order.pulled(box, gradient) / unit

    lowest = 1e-3 if unit == 1.0 else EDGE
    found = minimize(
        function,
        np.clip(order.box(start), lowest, 1 - lowest),
        jac=True,
        method="L-BFGS-B",
        bounds=[(EDGE, 1 - EDGE)] * start.size,
        options={"ftol": 1e-13, "gtol": 1e-7, "maxiter": 150},
    )
    return order.unknowns(found.x)


def polish(residual: Residual, coarse: Residual, start: np.ndarray) -> FixedPoint:
    """Newton on residual = 0; the Jacobian is that of a coarser residual, by central differences."""

    def function(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = []
        for i in range(x.size):
            step = np.zeros_like(x)
            # small unknowns, near a transition, need steps that are not lost in rounding
            step[i] = min(1e-3 * abs(x[i]), 1e-5 * max(abs(x[i]), 1)) + 1e-8
            columns.append((coarse(x + step) - coarse(x - step)) / (2 * step[i]))
        return x + residual(x), np.eye(x.size) + np.array(columns).T

    return solve_map(function, list(start), tolerance=1e-13, steps=30)


PASSES, ALIKE = 8, 1e-3
"""Passes of the map before Newton where there is one unknown; starts that meet are one."""


def _iterated(residual: Residual, start: np.ndarray) -> np.ndarray:
    """A few passes x -> x + residual(x), as long as they stay between 0 and 1."""
    x = start
    for _ in range(PASSES):
        moved = x + residual(x)
        if not (np.all(np.isfinite(moved)) and np.all((moved >= 0) & (moved <= 1))):
            break
        x = moved
    return x


class Stationary(NamedTuple):
    """A stationary point and what it is worth."""

    x: np.ndarray
    phi: float
    point: FixedPoint


def stationary_points(
    value: Value,
    residual: Residual,
    coarse: Residual,
    order: Ordered,
    starts: Sequence[np.ndarray],
    ceiling: float = np.inf,
) -> list[Stationary]:
    """Distinct solutions from several starts, the smallest value first.

    With a finite ceiling, the value of the symmetric solution, searches that end above it are not polished
    and the first solution below it is taken: the function is convex in the law, so others are the same.
    """
    found: list[Any] = []
    tried: list[np.ndarray] = []
    for start in starts:
        if found and np.isfinite(ceiling):
            break
        rough = minimise(value, order, start, ceiling) if start.size > 1 else _iterated(coarse, start)
        if rough.size > 1 and value(rough)[0] >= ceiling:
            continue
        if any(np.max(np.abs(rough - other)) < (ALIKE if rough.size == 1 else 1e-4) for other in tried):
            continue
        tried.append(rough)
        point = polish(residual, coarse, rough)
        if not (point.converged and order.admits(point.x)):
            continue
        if all(np.max(np.abs(point.x - other.x)) > 1e-7 for other in found):
            found.append(Stationary(point.x, float(value(point.x)[0]), point))
    return sorted(found, key=lambda s: s.phi)
