"""Full replica symmetry breaking: the minimum of the Parisi functional, with the interval where x changes.

x(q) is 0 below q_min, rises on [q_min, q_max], and is 1 above.  On a grid of that interval Newton finds the
step function of smallest value; the ends are where E (dphi/dw)^2 = q, as at every jump of x.  Errors fall as
the fourth power of the number of steps, so two numbers of steps give an estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from solvers.fixed_point.monotone import Minimum, minimise_monotone
from solvers.fixed_point.parisi import AnyFunctional, Moments
from solvers.fixed_point.vector import solve_map

COARSE = 24
"""Steps over all of [0, 1] that find the interval roughly."""
FLAT = 1e-4
"""Distance from 0 and from 1 within which a coarse x is the limit."""
PROBE = 1e-5
"""Change of an end, over its distance from 1, for the derivative of its equation."""
ENDS = 1e-11
"""Residual |E (dphi/dw)^2 - q| at an end at which it is found."""


class Broken(NamedTuple):
    """A minimum over step functions: x on [edges_j, edges_j+1], at zero temperature also above the last edge.

    ``residual`` is the largest |E (dphi/dw)^2 - q| at the ends that are unknown.
    """

    edges: np.ndarray
    x: np.ndarray
    value: float
    moments: Moments
    residual: float
    decrease: float
    converged: bool
    evaluations: int


class _Search:
    """Minima on a number of steps between ends, each started from the one before."""

    def __init__(self, functional: AnyFunctional, steps: int, x: Callable[[np.ndarray], np.ndarray]) -> None:
        self.functional = functional
        self.steps = steps
        self.guess = x
        self.last: np.ndarray | None = None
        self.evaluations = 0

    def minimum(self, low: float, high: float) -> tuple[Any, Minimum]:
        """The step function of smallest value between these ends."""
        levels = self.functional.levels(self.functional.edges(low, high, self.steps))
        start = self.last if self.last is not None else _guessed(levels, self.guess)
        found = minimise_monotone(_function(levels), start)
        self.last = found.x
        self.evaluations += found.evaluations
        return levels, found


def _function(levels: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray, Callable[[], np.ndarray]]]:
    def function(x: np.ndarray) -> tuple[float, np.ndarray, Callable[[], np.ndarray]]:
        state = levels.at(x)
        return state.value, state.gradient, lambda: levels.hessian(state)

    return function


def _guessed(levels: Any, guess: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    middles = (levels.edges[1:] + levels.edges[:-1]) / 2
    own = [(1 + levels.edges[-1]) / 2] if levels.functional.frozen else []
    return np.maximum.accumulate(guess(np.append(middles, own)))


def coarse_interval(functional: AnyFunctional) -> tuple[float, float, Callable[[np.ndarray], np.ndarray]]:
    """Roughly q_min, q_max and x(q), from steps over all of [0, 1] with x <= 1."""
    top = 1.0
    for _ in range(6):
        levels = functional.levels(functional.edges(0.0, top, COARSE))
        found = minimise_monotone(_function(levels), np.linspace(0.1, 0.9, COARSE), ceiling=1.0)
        edges, x = levels.edges, found.x
        below = np.flatnonzero(x < 1 - FLAT)
        rising = np.flatnonzero(x > FLAT)
        last, first = int(below[-1]) if below.size else 0, int(rising[0]) if rising.size else 0
        before = x[last - 1] if last else 0.0
        high = edges[last] + (edges[last + 1] - edges[last]) * (1 - x[last]) / (1 - before)
        high = min(high, (edges[-2] + 1) / 2)
        if high > 0.3 * top:
            break
        top = min(1.0, 2.5 * max(high, edges[1]))
    low = 0.0 if functional.unbiased else (edges[first] + edges[first + 1]) / 2
    middles = (edges[1:] + edges[:-1]) / 2
    usual = x < 1 - FLAT
    return float(min(low, 0.9 * high)), float(high), _interpolated(middles[usual], x[usual])


def _interpolated(points: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    if points.size == 0:
        return lambda q: 0.1 + 0.5 * q
    return lambda q: np.interp(q, points, values)


def fully_broken(functional: AnyFunctional, steps: int, start: Broken | None = None) -> Broken:
    """The minimum over this many steps; ``start`` is one with fewer."""
    frozen, pinned = functional.frozen, functional.unbiased
    if start is not None:
        ends = [float(start.edges[0]), float(start.edges[-1])]
        guess = _interpolated((start.edges[1:] + start.edges[:-1]) / 2, start.x[: len(start.edges) - 1])
        if frozen:
            guess = _cold(functional, guess, float(start.edges[-1]))
    elif frozen:
        ends, guess = [0.0 if pinned else 0.3, 1.0], _cold(functional, None, 0.0)
    else:
        *ends, guess = coarse_interval(functional)
    free = [i for i in range(2) if not ((i == 0 and pinned) or (i == 1 and frozen))]
    search = _Search(functional, steps, guess)

    def placed(unknown: np.ndarray) -> list[float]:
        full = [ends[0], 1.0 if frozen else ends[1]]
        for i, value in zip(free, unknown, strict=True):
            full[i] = float(value)
        return full

    def excess(unknown: np.ndarray) -> np.ndarray:
        low, high = placed(unknown)
        if not (0 <= low < high <= 1):
            return np.full(len(free), np.nan)
        levels, found = search.minimum(low, high)
        overlap = levels.moments(levels.at(found.x)).overlap - levels.edges
        return overlap[[0, -1]][free]

    def equations(unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        here = excess(unknown)
        steps_down = PROBE * (1 - unknown)
        columns = [(here - excess(unknown - d)) / d.sum() for d in np.diag(steps_down)]
        return unknown + here, np.eye(len(free)) + np.array(columns).T

    point = None
    unknown = np.array([ends[i] for i in free])
    if free:
        point = solve_map(equations, list(unknown), tolerance=ENDS, steps=12)
        unknown = point.x
    levels, found = search.minimum(*placed(unknown))
    state = levels.at(found.x)
    return Broken(
        levels.edges,
        found.x,
        found.value,
        levels.moments(state),
        point.residual if point else 0.0,
        found.decrease,
        found.converged and (point is None or point.converged),
        search.evaluations,
    )


def _cold(
    functional: Any, inside: Callable[[np.ndarray], np.ndarray] | None, edge: float
) -> Callable[[np.ndarray], np.ndarray]:
    """x/T at zero temperature grows as one over the scale of the fields that are left."""

    def guess(q: np.ndarray) -> np.ndarray:
        growing = 0.6 * q / np.maximum(functional.scale(q), 1e-6) + 1e-3
        return growing if inside is None else np.where(q < edge, inside(q), np.maximum(growing, inside(q)))

    return guess
