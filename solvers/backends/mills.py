"""The inverse Mills ratio far in the tail, where the exponentials cancel."""

from __future__ import annotations

from typing import Any


def mills_fraction(x: Any, digits: int) -> Any:
    """npdf(x)/ndtr(-x) = x + 1/(x + 2/(x + 3/(x + ...))) for x > digits (Laplace; A&S 26.2.14)."""
    result = x
    for k in range(2 * digits + 20, 0, -1):
        result = x + k / result
    return result
