"""A zero of a function of one variable inside a bracket.

T. R. Chandrupatla, Adv. Eng. Softw. 28 (1997) 145: inverse quadratic interpolation where it is safe,
bisection where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar


class Crossing(NamedTuple):
    """Where the function vanishes, the width of the bracket that is left, and the slope there."""

    lam: float
    width: float
    slope: float


def crossing(
    function: Callable[[float], float],
    low: tuple[float, float],
    high: tuple[float, float],
    tolerance: float = 1e-14,
    steps: int = 100,
) -> Crossing | None:
    """From two pairs (argument, value) of opposite signs; None where a value is not finite.

    The bracket shrinks to ``tolerance`` relative to its ends, or until the function is 0.
    """
    (a, fa), (b, fb) = high, low
    c, fc, t = a, fa, 0.5
    rise = (fb - fa) / (b - a) if b != a else np.inf
    for _ in range(steps):
        best, value = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        reach = 2 * tolerance * abs(best) + 1e-300
        limit = reach / abs(b - a) if b != a else 1.0
        if limit > 0.5 or value == 0:
            return Crossing(best, 0.0 if value == 0 else abs(b - a), rise)
        x = a + min(max(t, limit), 1 - limit) * (b - a)
        fx = function(x)
        if not np.isfinite(fx):
            return None
        if (fx > 0) == (fa > 0):
            c, fc = a, fa
        else:
            c, fc, b, fb = b, fb, a, fa
        a, fa = x, fx
        if abs(fb - fa) > 1e-7 * abs(rise * (b - a)) and abs(b - a) > 1e-7 * abs(a):
            rise = (fb - fa) / (b - a)  # closer by, a difference is rounding
        t = _next(a, b, c, fa, fb, fc)
    return None


def _next(a: float, b: float, c: float, fa: float, fb: float, fc: float) -> float:
    """The next point as a fraction of the way from a to b."""
    if c in (a, b) or fc in (fa, fb) or fa == fb:
        return 0.5
    xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
    if not (1 - np.sqrt(1 - xi) < phi < np.sqrt(xi)):
        return 0.5
    return fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)


def zeros(function: Callable[[float], float], grid: np.ndarray) -> list[float]:
    """Every zero between the ends of a rising grid: of each change of sign, and of pairs that lie between two
    neighbours, where the function comes near 0 and turns.
    """
    values = [function(float(x)) for x in grid]
    points = list(zip(map(float, grid), values, strict=True))
    added = []
    for (a, fa), (b, fb), (c, fc) in zip(points, points[1:], points[2:], strict=False):
        same = np.sign(fa) == np.sign(fb) == np.sign(fc)
        if same and abs(fb) <= min(abs(fa), abs(fc)):
            sign = float(np.sign(fb))
            nearest = minimize_scalar(
                lambda x, sign=sign: sign * function(float(x)),
                bounds=(a, c),
                method="bounded",
                options={"xatol": 1e-10 * max(abs(b), 1e-3)},
            )
            x = float(nearest.x)  # pyright: ignore[reportAttributeAccessIssue]
            if (value := function(x)) * fb <= 0:
                added.append((x, value))
    points = sorted([*points, *added])
    found = []
    for low, high in pairwise(points):
        if np.isfinite(low[1]) and np.isfinite(high[1]) and np.sign(low[1]) != np.sign(high[1]):
            met = crossing(function, low, high, 1e-12)
            found += [] if met is None else [met.lam]
    return list(dict.fromkeys(found))
