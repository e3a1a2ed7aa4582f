"""Fixed points of a map of several unknowns: Newton with a line search, plain iteration where Newton fails.

A map x -> F(x) is given in coordinates in which it is well scaled, with its Jacobian; a solution has F(x) =
x.  More digits come from a chord iteration at high precision with the inverse Jacobian of the doubles: each
step gains about ten digits and needs one evaluation of F.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Map = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""x -> F(x), dF/dx; nan where x is outside the domain."""


class FixedPoint(NamedTuple):
    """Where the search ended: ``residual`` is the largest |F(x) - x|, ``jacobian`` that of F there, ``ahead``
    the length of the next Newton step: a small residual alone may be far from the solution.
    """

    x: np.ndarray
    residual: float
    jacobian: np.ndarray
    evaluations: int
    converged: bool
    ahead: float


MAX_STEP = 2.0
"""Largest change of one coordinate in one step."""
FAR = 10.0
"""Residual from which a whole pass is tried first."""
HALVINGS, LEAST = 4, 1e-3
"""How often a step is halved, and the part of the residual by which a whole one must lower it."""


def solve_map(
    function: Map, start: Sequence[float], tolerance: float = 1e-13, steps: int = 200
) -> FixedPoint:
    """A fixed point from a start.

    A Newton step is halved until the residual falls; where no part of it helps, one damped pass of the map is
    taken instead.  Ends when residual and next step are at the tolerance, or the residual is small and falls
    no longer.
    """
    x = np.asarray(start, dtype=float)
    value, jacobian = function(x)
    residual, count, passes = _size(value - x), 1, 0
    for _ in range(steps):
        if residual <= tolerance and _ahead(x, value, jacobian) <= 10 * tolerance:
            break
        better, tried = _jump(function, value, residual) if FAR < residual < np.inf else (None, 0)
        count += tried
        if better is None:
            better, tried = _newton_step(function, x, value, jacobian, residual)
            count += tried
        if better is None:
            if residual < 1e3 * tolerance:
                break  # at rounding
            passes += 1
            better = _damped_pass(function, x, value, 0.5 if passes % 2 else 1.0)
            count += 1
            if better is None:
                break
        x, value, jacobian = better
        residual = _size(value - x)
    converged = bool(residual <= 1e3 * tolerance)
    return FixedPoint(x, residual, jacobian, count, converged, _ahead(x, value, jacobian))


def _size(r: np.ndarray) -> float:
    return float(np.max(np.abs(r))) if np.all(np.isfinite(r)) else float("inf")


def _ahead(x: np.ndarray, value: np.ndarray, jacobian: np.ndarray) -> float:
    """The size of the Newton step from here: the distance from the fixed point."""
    if not np.all(np.isfinite(jacobian)):
        return float("inf")
    try:
        return _size(np.linalg.solve(np.eye(x.size) - jacobian, value - x))
    except np.linalg.LinAlgError:
        return float("inf")


def _jump(function: Map, value: np.ndarray, residual: float) -> tuple[Any, int]:
    """One whole pass, however far, where it lands much nearer: the map there hardly depends on x."""
    found, slope = function(value)
    good = _size(found - value) < residual / 2 and np.all(np.isfinite(slope))
    return ((value, found, slope) if good else None), 1


def _newton_step(
    function: Map, x: np.ndarray, value: np.ndarray, jacobian: np.ndarray, residual: float
) -> tuple[Any, int]:
    try:
        step = np.linalg.solve(np.eye(x.size) - jacobian, value - x)
    except np.linalg.LinAlgError:
        return None, 0
    if not np.all(np.isfinite(step)):
        return None, 0
    step *= min(1.0, MAX_STEP / max(np.max(np.abs(step)), 1e-300))
    for halvings in range(HALVINGS):
        trial = x + step * 0.5**halvings
        found, slope = function(trial)
        if _size(found - trial) < (1 - LEAST * 0.5**halvings) * residual and np.all(np.isfinite(slope)):
            return (trial, found, slope), halvings + 1
    return None, HALVINGS


def _damped_pass(function: Map, x: np.ndarray, value: np.ndarray, weight: float) -> Any:
    if not np.all(np.isfinite(value)):
        return None
    step = weight * (value - x)
    trial = x + step * min(1.0, MAX_STEP / max(np.max(np.abs(step)), 1e-300))
    found, slope = function(trial)
    return (trial, found, slope) if np.all(np.isfinite(found)) and np.all(np.isfinite(slope)) else None


class Chord(NamedTuple):
    """Numbers of the backend; ``moved``: the last step, relative to the unknowns or absolute."""

    x: tuple[Any, ...]
    moved: float
    quadrature: float
    steps: int
    converged: bool


def refine_map(
    backend: Any,
    function: Callable[[tuple[Any, ...]], tuple[tuple[Any, ...], float]],
    start: Sequence[Any],
    jacobian: np.ndarray,
    tolerance: float,
    steps: int = 60,
    *,
    absolute: bool = False,
) -> Chord:
    """Polish a fixed point on a precise backend: x -> x + (1 - dF/dx)^-1 (F(x) - x) with the matrix of the
    doubles.

    ``function`` gives F(x) in the backend's numbers and the relative error of its quadrature.  ``absolute``:
    the tolerance is that of the unknowns, logarithms for instance, not relative to them.
    """
    size = len(start)
    inverse = np.linalg.inv(np.eye(size) - jacobian)
    with backend.context():
        matrix = [[backend.number(float(v)) for v in row] for row in inverse]
        x = tuple(start)
        moved, quadrature, taken = float("inf"), float("inf"), 0
        for _ in range(steps):
            taken += 1
            value, quadrature = function(x)
            gap = [f - a for f, a in zip(value, x, strict=True)]
            step = [sum(c * g for c, g in zip(row, gap, strict=True)) for row in matrix]
            before, moved = (
                moved,
                max(
                    abs(float(s)) / (1.0 if absolute else max(abs(float(a)), 1e-300))
                    for s, a in zip(step, x, strict=True)
                ),
            )
            x = tuple(backend.midpoint(a + s) for a, s in zip(x, step, strict=True))
            if moved <= tolerance or not moved < 0.5 * before:
                break
    return Chord(x, moved, quadrature, taken, bool(moved <= tolerance))
