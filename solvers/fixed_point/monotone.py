"""The minimum of a smooth convex function over nondecreasing sequences of numbers >= 0, by Newton.

Increments are the coordinates: they are >= 0, and each Newton step is a quadratic problem in them, solved
exactly as non-negative least squares (C. L. Lawson, R. J. Hanson, Solving Least Squares Problems (1974),
chapter 23).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

Function = Callable[[np.ndarray], tuple[float, np.ndarray, Callable[[], np.ndarray]]]
"""x -> value, gradient, and the Hessian on request."""
ROUNDING = 1e-15
"""Relative size of eigenvalues of the scaled Hessian below which they are rounding."""


class Minimum(NamedTuple):
    """Where a search ended.

    ``decrease`` is what the last quadratic model still promised: an estimate of the error of the value.
    """

    x: np.ndarray
    value: float
    decrease: float
    converged: bool
    evaluations: int


def minimise_monotone(
    function: Function,
    start: np.ndarray,
    ceiling: float | None = None,
    tolerance: float = 1e-18,
    steps: int = 60,
) -> Minimum:
    """From a start; ``ceiling`` bounds the last number.

    Ends where the decrease is below the tolerance, absolute, or below 1000 times it and no longer falling: at
    rounding.
    """
    x = np.array(start, dtype=float)
    value, gradient, hessian = function(x)
    evaluations, decrease, matrix = 1, np.inf, None
    for _ in range(steps):
        fresh = matrix is None
        matrix = hessian() if matrix is None else matrix
        target = _newton(gradient, matrix, x, ceiling)
        if target is None:
            break
        step = target - x
        slope = float(gradient @ step)
        before, decrease = decrease, max(-slope / 2, 0.0)
        if decrease < tolerance or before / 4 < decrease < 1e3 * tolerance:
            return Minimum(x, value, decrease, True, evaluations)
        if not fresh and decrease > before / 100:
            matrix = None  # the Hessian of the step before serves as long as it gains two digits
            continue
        length, found = 1.0, None
        while length > 1e-3:
            found = function(x + length * step)
            evaluations += 1
            # where the decrease is below the rounding of the value, the step is taken as it is
            if found[0] <= value + 1e-4 * length * slope + 1e-14 * max(abs(value), 1.0):
                break
            length, found = length / 2, None
        if found is None:
            break
        x = x + length * step
        value, gradient, hessian = found
    return Minimum(x, value, decrease, bool(decrease < 1e3 * tolerance), evaluations)


def _newton(gradient: np.ndarray, hessian: np.ndarray, x: np.ndarray, ceiling: float | None) -> Any:
    """The minimum of the quadratic model; None where it fails."""
    summed = np.cumsum(np.cumsum(hessian[::-1, ::-1], axis=0), axis=1)[::-1, ::-1]
    slope = np.cumsum(gradient[::-1])[::-1]
    increments = np.diff(x, prepend=0.0)
    size = np.sqrt(np.maximum(np.diag(summed), 1e-300))
    if not np.all(np.isfinite(summed)):
        return None
    values, vectors = np.linalg.eigh(summed / np.outer(size, size))
    roots = np.sqrt(np.maximum(values, ROUNDING * values[-1]))
    matrix = roots[:, None] * vectors.T
    right = vectors.T @ (summed @ increments / size - slope / size) / roots
    if ceiling is not None:
        # the last number and a slack sum to the ceiling: an equation of large weight
        weight = 1e4
        matrix = np.block([[matrix, np.zeros((len(x), 1))], [weight / size, weight * np.ones((1, 1))]])
        right = np.append(right, weight * ceiling)
    try:
        found, _ = nnls(matrix, right, maxiter=100 * len(x))
    except RuntimeError:
        return None
    with np.errstate(over="ignore"):
        steps = found[: len(x)] / size  # infinite along a direction that is flat
    return np.cumsum(steps) if np.all(np.isfinite(steps)) else None
