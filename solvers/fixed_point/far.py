"""The solution just below a threshold of perfect recovery, where doubles see only rounding.

On the way to q_hat = infinity the residual f(s) = log output(signal(e^s)) - s, s = log q_hat, tends to
a small
negative constant like f = -d + w e^(-a s).  In z = e^(-a s) that is a straight line: the exponent a is
read off
three values, and the secant method in z ends in a few evaluations, however far away the root is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import log
from typing import Any

from solvers.fixed_point.refine import GUARD, run_cycle
from solvers.problem import PairProblem

START_DIGITS, MOST_DIGITS = 30, 60  # where resolving the residual starts, and ends unless more are asked for
LARGEST = 640.0  # log q_hat, below the overflow of doubles
SETTLED = 1e-6
STEPS = 30


def far_root(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    start: float,
    digits: int,
    make_backend: Callable[[int], Any],
) -> Fraction | None:
    """q_hat of the root beyond q_hat = ``start``, where f > 0, to a few digits; None when ``digits``
    (or 60) do
    not resolve f.
    """
    most = max(MOST_DIGITS, digits)
    precision = START_DIGITS
    while True:
        found = _search(problem, parameters, start, make_backend(precision))
        if found is not None or precision >= most:
            return found
        precision = min(2 * precision, most)


def _search(
    problem: PairProblem, parameters: Mapping[str, Fraction], start: float, backend: Any
) -> Fraction | None:
    noise = 10.0 ** -(backend.digits - 4)

    def residual(s: float) -> float:
        cycle = run_cycle(problem, backend, parameters, _power(s), 10.0 ** -(backend.digits - GUARD // 2))
        with backend.context():
            return float(backend.log(1 + cycle.gap / cycle.q_hat))

    s = log(start)
    first, second, third = (residual(s + k) for k in (0, 1, 2))
    if not (first > noise and third < second < first):
        return None
    falls = (first - second) / (second - third)
    exponent = min(max(log(falls), 0.05), 4.0) if falls > 1 else 1.0
    (s0, f0), (s1, f1) = (s + 1, second), (s + 2, third)
    for _ in range(STEPS):
        if abs(f1) <= noise or f0 == f1:
            return None
        # z relative to that of s1: the secant's root
        ratio = _exp(-exponent * (s0 - s1))
        z = 1 - f1 * (ratio - 1) / (f0 - f1)
        target = s1 - log(z) / exponent if z > 0 else s1 + max(10.0, s1)
        target = min(target, s1 + max(10.0, s1))  # at most twice the digits at a time
        if target > LARGEST:
            return None
        if abs(target - s1) < SETTLED:
            return _power(target)
        (s0, f0), (s1, f1) = (s1, f1), (target, residual(target))
    return None


def _exp(x: float) -> float:
    from math import exp

    return exp(min(x, 700.0))


def _power(s: float) -> Fraction:
    """e^s as an exact number near it; s below the overflow of doubles."""
    return Fraction(_exp(s))
