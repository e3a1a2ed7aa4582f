"""Equations F(x, lam) = 0 that depend on one parameter, and Newton's method on them.

All that continuation asks for is the function; derivatives are differences of fourth order, so an unknown is
known to about 1e-11 of its size and a simple zero of F as well as F itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Residual = Callable[[np.ndarray, float], np.ndarray]
"""(x, lam) -> F, as many numbers as unknowns; nan outside the domain."""
Observed = Callable[[np.ndarray, float], Mapping[str, float]]
"""(x, lam) -> name -> number, "free_entropy" among them."""

STEP = 1e-4
"""Of a difference, relative to the size of the unknown."""
SMALLEST = 1e-2
"""Size below which an unknown, or the parameter, counts as being this large."""


@dataclass(frozen=True)
class Family:
    """Equations along one parameter.

    Attributes
    ----------
    names:
        Of the unknowns, in the order of x; each is a value of a solution.
    residual:
        F(x, lam), which vanishes at a solution.
    observed:
        The observables at (x, lam) that are not unknowns, and "free_entropy".
    finer:
        The same equations with a finer quadrature, whose difference is taken for the error; None where the
        equations are exact.
    """

    names: tuple[str, ...]
    residual: Residual
    observed: Observed
    finer: Family | None = None


class Point(NamedTuple):
    """A solution x at lam; ``moved`` is the last step of Newton, relative to the unknowns."""

    x: np.ndarray
    lam: float
    moved: float


def sizes(x: np.ndarray) -> np.ndarray:
    """The scale of each unknown."""
    return np.maximum(np.abs(x), SMALLEST)


def slope(function: Callable[[float], np.ndarray], step: float) -> np.ndarray:
    """df/dt at t = 0, by differences of fourth order."""
    near, far = ((function(k * step) - function(-k * step)) / (2 * k * step) for k in (1, 2))
    return (4 * near - far) / 3


def along(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The derivative of a function at x in the direction v."""
    length = float(np.max(np.abs(v) / sizes(x)))
    return slope(lambda t: function(x + t * v), STEP / max(length, 1e-300))


def jacobian(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """dF/dx, by columns."""
    return np.array([along(function, x, e) for e in np.eye(x.size)]).T


STEPS = 40


def newton(
    function: Callable[[np.ndarray], np.ndarray], start: np.ndarray, scale: np.ndarray | None = None
) -> tuple[np.ndarray, float] | None:
    """A zero near the start and the last step relative to the unknowns; None where Newton does not converge.

    Steps are taken whole: a start that is too far away fails rather than ends on another branch.
    """
    x, before = np.asarray(start, dtype=float), np.inf
    unit = sizes(x) if scale is None else scale
    for _ in range(STEPS):
        with np.errstate(all="ignore"):
            value, matrix = function(x), jacobian(function, x)
        if not (np.all(np.isfinite(value)) and np.all(np.isfinite(matrix))):
            return None
        step = np.linalg.lstsq(matrix, -value, rcond=1e-14)[0]
        x = x + step
        moved = float(np.max(np.abs(step) / unit, initial=0.0))
        if moved < 1e-14 or (moved < 1e-8 and moved > 0.3 * before):
            return x, moved
        if moved > 10 or (moved > 2 * before and moved > 1):
            return None
        before = moved
    return (x, before) if before < 1e-8 else None


def solution(family: Family, start: np.ndarray, lam: float) -> Point | None:
    """The solution at lam near a start."""
    found = newton(lambda x: family.residual(x, lam), start)
    return None if found is None else Point(found[0], lam, found[1])
