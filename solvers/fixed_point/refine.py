"""From a solution in doubles to one in any number of digits: Newton at rising precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import log10
from typing import Any, NamedTuple

from solvers.problem import LEVELS, Evaluation, PairProblem, at_level
from solvers.solution import Errors

GUARD = 12  # digits carried beyond those asked for
FIRST = 30  # digits of the first step from doubles
MAX_STEPS = 12


class Refined(NamedTuple):
    """Numbers of the last backend; ``converged``: step and quadrature are both at the tolerance."""

    q_hat: Any
    v: Any
    q: Any
    free_entropy: Any
    residual: float
    errors: Errors
    slope: float
    backend: Any
    evaluations: int
    converged: bool


@dataclass(frozen=True)
class _Newton:
    """One Newton step at one precision: the new q_hat, the new v, and what was measured on the way."""

    q_hat: Any
    v: Any
    gap: float
    gain: float
    moved: float
    inner: Evaluation
    level: int


def refine(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    q_hat: float,
    digits: int,
    make_backend: Callable[[int], Any],
) -> Refined:
    """Polish q_hat to ``digits`` digits.

    Each Newton step roughly doubles the digits, so most work is done at the last precision. The derivative of
    a spectral integral has half the digits of its value: convergence is a little slower than quadratic.
    """
    extra = max(0, int(-log10(q_hat)))  # v is a difference of numbers of size 1/q_hat
    final, precision = digits + GUARD + extra, FIRST + extra
    small = 10.0 ** -(digits + 2)
    exact, level, evaluations = Fraction(q_hat), LEVELS.start, 0
    while precision < final:
        backend = make_backend(precision)
        step = _step(problem, backend, parameters, exact, 10.0 ** -(precision - GUARD - extra), level)
        exact, level, evaluations = backend.to_fraction(step.q_hat), step.level, evaluations + 1
        precision *= 2
    backend = make_backend(final)
    for _ in range(MAX_STEPS):
        step = _step(problem, backend, parameters, exact, small, level)
        exact, level, evaluations = backend.to_fraction(step.q_hat), step.level, evaluations + 1
        if step.moved < small:
            break
    with backend.context():
        numbers = {name: backend.number(x) for name, x in parameters.items()}
        phi, _ = at_level(
            lambda k: problem.free_entropy(backend, k, step.q_hat, step.v, numbers), small, level
        )
        stiffness = max(abs(1 - step.gain), 1e-12)
        errors = Errors(
            iteration=step.moved**2 + step.moved * 10.0 ** (-digits // 2),
            quadrature=float(step.inner.error) * (1 + abs(step.gain) / stiffness),
            rounding=backend.radius(step.inner.value) / stiffness,
        )
        entropy, overlap = backend.midpoint(phi.value), backend.midpoint(1 - step.v)
    converged = step.moved < small and bool(step.inner.error <= small)
    return Refined(
        step.q_hat, step.v, overlap, entropy, step.gap, errors, step.gain, backend, evaluations, converged
    )


def _step(
    problem: PairProblem,
    backend: Any,
    parameters: Mapping[str, Fraction],
    exact: Fraction,
    tolerance: float,
    level: int,
) -> _Newton:
    with backend.context():
        numbers = {name: backend.number(x) for name, x in parameters.items()}
        q_hat = backend.number(exact)
        inner, level = at_level(lambda k: problem.signal(backend, k, q_hat, numbers), tolerance, level)
        outer, _ = at_level(lambda k: problem.output(backend, k, inner.value, numbers), tolerance)
        gain = outer.slope * inner.slope
        step = (outer.value - q_hat) / (1 - gain)
        return _Newton(
            q_hat=backend.midpoint(q_hat + step),
            v=backend.midpoint(inner.value + inner.slope * step),
            gap=abs(float(outer.value / q_hat - 1)),
            gain=float(gain),
            moved=abs(float(step)) / abs(float(q_hat)),
            inner=inner,
            level=level,
        )
