"""The solution just below a threshold of perfect recovery, where a table in doubles sees only rounding.

On the way to q_hat = infinity the residual f(s) = log output(signal(e^s)) - s, s = log q_hat, tends to a
small negative constant like f = -d + w e^(-a s).  In z = e^(-a s) that is a straight line: the exponent a is
read off three values, and the secant method in z ends in a few evaluations, however far away the root is.
Doubles go first: they resolve f to their rounding when their quadratures are asked for all of it.  What they
find is then moved by a few evaluations in more digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import exp, isfinite, log
from typing import Any

from solvers.fixed_point.halves import BACKEND, EPS
from solvers.fixed_point.refine import run_cycle
from solvers.problem import PairProblem

START_DIGITS, MOST_DIGITS = 30, 60  # where resolving the residual starts, and ends unless more are asked for
LARGEST = 640.0  # log q_hat, below the overflow of doubles
SETTLED = 1e-7  # step of log q_hat after which a search ends
WANTED = 1e-5  # error of log q_hat with which it is content
SPARE = 4  # digits that the residual has less than the backend
DOUBT = 8 * EPS  # error of f in doubles
ROUGH = 1e-12  # an estimate of that error that is rounding, exaggerated
LONGEST = 1.0  # step of log q_hat beside a guess
STEPS = 30


@dataclass(frozen=True)
class Pass:
    """One pass of updates at q_hat = e^s: f, what it may be off by, and the rest in doubles."""

    s: float
    f: float
    doubt: float
    v: float
    power: float  # d log v/ds
    gain: float
    quadrature: float


@dataclass(frozen=True)
class Far:
    """A root s = log q_hat and what it may be off by; the last pass, which was beside it."""

    s: float
    spread: float
    slope: float
    last: Pass

    @property
    def v(self) -> float:
        """v at the root."""
        return self.last.v * exp(self.last.power * (self.s - self.last.s))


def far_root(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    start: float,
    digits: int,
    make_backend: Callable[[int], Any],
) -> Far | None:
    """The root beyond q_hat = ``start``, where f > 0, to a few digits; None when ``digits`` (or 60) do not
    resolve f.
    """
    most = max(MOST_DIGITS, digits)
    guess = None if problem.spectral else _search(problem, parameters, start, BACKEND)
    if guess is not None and guess.spread < WANTED:
        return guess
    if guess is not None:
        # balls lose up to the digits of q_hat, and f has to be resolved
        lost = int((guess.s - log(abs(guess.slope))) / log(10))
        some = (lost + START_DIGITS // 2, lost + most)
        found = (_moved(problem, parameters, guess, make_backend(k)) for k in some)
    else:
        some = (START_DIGITS, most)
        found = (_search(problem, parameters, start, make_backend(k)) for k in some)
    return next((far for far in found if far is not None), None)


def _search(
    problem: PairProblem, parameters: Mapping[str, Fraction], start: float, backend: Any
) -> Far | None:
    """The secant method in z from ``start`` on."""
    s = log(start)
    before, last, other = (passed(problem, parameters, s + k, backend) for k in (1, 2, 0))
    if not (last.f > last.doubt and last.f < before.f < other.f):
        return None
    falls = (other.f - before.f) / (before.f - last.f)
    exponent = min(max(log(falls), 0.05), 4.0) if falls > 1 else 1.0
    for _ in range(STEPS):
        target, slope = _secant(before, last, exponent)
        if not (target < LARGEST and slope < 0):
            return None
        if abs(target - last.s) < SETTLED or abs(last.f) <= last.doubt:
            return Far(target, max(abs(target - last.s), abs(last.doubt / slope)), slope, last)
        before, last = last, passed(problem, parameters, target, backend)
    return None


def _moved(problem: PairProblem, parameters: Mapping[str, Fraction], guess: Far, backend: Any) -> Far | None:
    """The root beside a guess, by the slope that came with it, then by chords; None if f is not resolved."""
    s, slope = guess.s, guess.slope
    before: Pass | None = None
    for _ in range(STEPS):
        last = passed(problem, parameters, s, backend, WANTED / 100 * abs(slope))
        if before is not None and last.s != before.s:
            slope = (before.f - last.f) / (before.s - last.s)
        if not (isfinite(last.f) and slope < 0 and last.doubt < WANTED * abs(slope)):
            return None
        step = min(max(-last.f / slope, -LONGEST), LONGEST)
        trust = abs(step) if before is None else abs(s - before.s) * abs(step)
        if trust < WANTED:
            return Far(s + step, max(trust, abs(last.doubt / slope)), slope, last)
        before, s = last, s + step
    return None


def _secant(before: Pass, last: Pass, exponent: float) -> tuple[float, float]:
    """The root of the straight line in z through two passes, no farther than twice as far away, and df/ds
    there.
    """
    ratio = _exp(-exponent * (before.s - last.s))  # z relative to that of the last
    line = (before.f - last.f) / (ratio - 1)
    z = 1 - last.f / line if line != 0 else 0.0
    farthest = last.s + max(10.0, last.s)
    target = min(last.s - log(z) / exponent, farthest) if z > 0 else farthest
    return target, -exponent * line * _exp(-exponent * (target - last.s))


def passed(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    s: float,
    backend: Any,
    accuracy: float = 0.0,
) -> Pass:
    """A pass of updates at q_hat = e^s, to an accuracy or to all digits."""
    doubles = backend.name == "float64"
    accuracy = max(accuracy, EPS if doubles else 10.0 ** (SPARE - backend.digits))
    cycle = run_cycle(problem, backend, parameters, Fraction(_exp(s)), accuracy)
    with backend.context():
        f = float(backend.log(1 + cycle.gap / cycle.q_hat))
        inner, outer = cycle.inner, cycle.outer
        q_hat, v, output = (float(x) for x in (cycle.q_hat, inner.value, outer.value))
        doubt = abs(float(outer.slope) / output) * float(inner.error) + float(outer.error) / output
        if not doubles:
            doubt += backend.radius(outer.value) / output + accuracy
        power = float(inner.slope * cycle.q_hat / inner.value)
        gain = float(cycle.gain)
    return Pass(
        log(q_hat), f, DOUBT if doubles and doubt < ROUGH else doubt, v, power, gain, float(inner.error)
    )


def _exp(x: float) -> float:
    return exp(min(x, 700.0))
