"""From a solution in doubles to one in any number of digits: Newton at rising precision.

Digits are relative, of v as of q_hat.  Four things cost digits, and the precision is raised by as many: v is
a difference of numbers of size 1/q_hat where q_hat is small; where the two curves are nearly tangent, or
nearly proportional as on the way to perfect recovery, an error of v counts 1/|1 - gain| times in q_hat; a
small v takes a smaller error; and what balls say that rounding has taken from q_hat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite, log10
from typing import Any, NamedTuple

from solvers.problem import LEVELS, Evaluation, PairProblem, at_level
from solvers.solution import Errors

GUARD = 12  # digits carried beyond those asked for
FIRST = 30  # digits of the first step from doubles
MAX_STEPS = 20
MOST_DOUBLINGS = 5  # of the precision of a free entropy
MOST_DIGITS = 400  # of a precision beyond the one asked for
BELOW = 3  # v below this many times the digits is 0 to outputs that stay finite as v -> 0
REACH = 100  # largest factor of one step: Newton overshoots where the residual is nearly flat
STEEP = 1e-6  # |1 - gain| below which the derivative, of half the digits, gives way to a divided difference


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
class Cycle:
    """One pass q_hat -> v -> q_hat at one precision: ``gap`` is output(v) - q_hat.  ``seen`` is the v of the
    outputs, larger than a v below all digits where the outputs tell no difference.
    """

    q_hat: Any
    inner: Evaluation
    seen: Any
    outer: Evaluation
    gap: Any
    gain: Any
    level: int


def refine(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    q_hat: float | Fraction,
    digits: int,
    make_backend: Callable[[int], Any],
) -> Refined:
    """Polish q_hat to ``digits`` digits.

    Each Newton step roughly doubles the digits, so most work is done at the last precision. The derivative of
    a spectral integral has half the digits of its value: convergence is a little slower than quadratic.
    """
    exact = Fraction(q_hat)
    extra = max(0, -_decimal_exponent(exact))
    lost, blur, precision, level, evaluations = 0, 0, FIRST + extra, LEVELS.start, 0
    small = 10.0 ** -(digits + 2)
    for _ in range(MAX_STEPS):
        final = digits + GUARD + extra + lost + blur
        precision = min(precision, final)
        backend = make_backend(precision)
        accuracy = small if precision == final else 10.0 ** -(precision - GUARD - extra - lost - blur)
        cycle = run_cycle(problem, backend, parameters, exact, accuracy * 10.0**-lost, level)
        level, evaluations = cycle.level, evaluations + 1
        blurred = _blurred(backend, cycle, precision)
        if blurred > blur:  # rounding took more digits than the precision of this step allowed for
            if precision + blurred > MOST_DIGITS + final:
                raise ArithmeticError("rounding leaves no digits")
            blur, precision = blurred, FIRST + extra + lost + blurred
            continue
        stiff = _lost_digits(cycle.gain)
        if stiff > lost:  # the same for its stiffness
            lost = stiff
            if precision < FIRST + extra + lost + blur:
                precision = FIRST + extra + lost + blur
                continue
        moved, step = _step(problem, parameters, backend, cycle, accuracy, lost)
        exact = min(max(exact + backend.to_fraction(step), exact / REACH), exact * REACH)
        if precision == digits + GUARD + extra + lost + blur and moved < small:
            break
        precision *= 2
    else:
        moved = max(moved, 2 * small)
    refined = _finish(problem, parameters, backend, cycle, step, moved, small, digits, lost, evaluations)
    entropy = _entropy(problem, parameters, refined, cycle.seen, small, cycle.level, make_backend)
    return refined._replace(free_entropy=entropy)


def run_cycle(
    problem: PairProblem,
    backend: Any,
    parameters: Mapping[str, Fraction],
    exact: Fraction,
    accuracy: float,
    level: int = LEVELS.start,
) -> Cycle:
    """Evaluate both halves at q_hat, to a relative accuracy."""
    with backend.context():
        numbers = {name: backend.number(x) for name, x in parameters.items()}
        q_hat = backend.number(exact)
        inner, level = at_level(
            lambda k: problem.signal(backend, k, q_hat, numbers), accuracy, level, relative=_least(backend)
        )
        large = max(1.0, float(q_hat))  # an output half of that size is not to be known absolutely

        def output(v: Any) -> Evaluation:
            return at_level(lambda k: problem.output(backend, k, v, numbers), accuracy * large)[0]

        seen = inner.value
        least = backend.rational(1, 10 ** (BELOW * backend.digits))
        if backend.to_fraction(backend.midpoint(seen)) < backend.to_fraction(least):
            outer = output(least)
            if abs(float(outer.slope * least / outer.value)) < accuracy:  # the outputs saturate
                outer, seen = outer._replace(slope=backend.rational(0, 1)), least
            else:
                outer = output(seen)
        else:
            outer = output(seen)
        return Cycle(q_hat, inner, seen, outer, outer.value - q_hat, outer.slope * inner.slope, level)


def _least(backend: Any) -> float:
    """The v that is nothing beside 1, and beside its square root, to the backend's digits; as a double."""
    return 10.0 ** (-BELOW * backend.digits)


def _step(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    backend: Any,
    cycle: Cycle,
    accuracy: float,
    lost: int,
) -> tuple[float, Any]:
    """(size relative to q_hat, Newton's step); the slope is a divided difference where gain is nearly 1."""
    with backend.context():
        slope = cycle.gain - 1
        if lost > -log10(STEEP):
            near = backend.to_fraction(cycle.q_hat) * (1 + Fraction(1, 10**6))
            other = run_cycle(problem, backend, parameters, near, accuracy * 10.0 ** -(lost + 6), cycle.level)
            slope = (other.gap - cycle.gap) / (other.q_hat - cycle.q_hat)
        step = backend.midpoint(-cycle.gap / slope)
        return abs(float(step / cycle.q_hat)), step


def _finish(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    backend: Any,
    cycle: Cycle,
    step: Any,
    moved: float,
    small: float,
    digits: int,
    lost: int,
    evaluations: int,
) -> Refined:
    """The last step's numbers and what is known of their errors; the free entropy is still to come."""
    with backend.context():
        numbers = {name: backend.number(x) for name, x in parameters.items()}
        q_hat = backend.midpoint(cycle.q_hat + step)
        v = backend.midpoint(cycle.inner.value + cycle.inner.slope * step)
        if cycle.seen is not cycle.inner.value:
            v = backend.number(0)
        gain = float(cycle.gain)
        stiffness = max(abs(1 - gain), 10.0**-lost * 1e-2, 1e-300)
        size = float(v)
        errors = Errors(
            iteration=size * (moved**2 + moved * 10.0 ** (-digits // 2)),
            quadrature=float(cycle.inner.error) * (1 + abs(gain) / stiffness),
            rounding=backend.radius(cycle.inner.value) / stiffness,
        )
        second = problem.second_moment(backend, {name: numbers[name] for name in problem.signal_parameters})
        overlap = backend.midpoint(second - v)
        residual = abs(float(cycle.gap / cycle.q_hat))
    converged = moved < small and errors.quadrature <= 20 * small * max(
        min(size, 1.0), _least(backend), 1e-300
    )
    return Refined(q_hat, v, overlap, None, residual, errors, gain, backend, evaluations, bool(converged))


def _entropy(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    refined: Refined,
    seen: Any,
    small: float,
    level: int,
    make_backend: Callable[[int], Any],
) -> Any:
    """Phi at the solution, in more digits where those of the solution leave no number: at a large q_hat, the
    law of the observed signal has structure at 1/q_hat beside 1.
    """
    backend = refined.backend
    with backend.context():
        found = refined.v if refined.v != 0 else backend.midpoint(seen)
        place = [backend.to_fraction(x) for x in (refined.q_hat, found)]
    for _ in range(MOST_DOUBLINGS):
        with backend.context():
            q_hat, v = (backend.number(x) for x in place)
            numbers = {name: backend.number(x) for name, x in parameters.items()}
            phi, _ = at_level(
                lambda k, b=backend, q=q_hat, v=v, n=numbers: problem.free_entropy(b, k, q, v, n),
                small,
                level,
            )
            size = abs(float(phi.value))
            if isfinite(size) and backend.radius(phi.value) <= 100 * small * (1 + size):
                return backend.midpoint(phi.value)
        backend = make_backend(2 * backend.digits)
    raise ArithmeticError("rounding leaves no digits of the free entropy")


def entropy_at_zero(
    problem: PairProblem,
    parameters: Mapping[str, Fraction],
    digits: int,
    make_backend: Callable[[int], Any],
) -> tuple[Any, Any, Any]:
    """(Phi, v, backend) at q_hat = 0, where the terms of Phi may be singular although their sum is not.

    At v = v(0) Phi is stationary in q_hat: Phi(q_hat) = Phi(0) + O(q_hat^2), and 2 Phi(e) - Phi(2 e) removes
    what rounding of v leaves of the linear term.  With e = 10^-(digits/2 + 4) the rest is below the digits.
    """
    places = digits // 2 + 4
    small = 10.0 ** -(digits + 2)
    backend = make_backend(digits + GUARD + 2 * places)
    with backend.context():
        numbers = {name: backend.number(x) for name, x in parameters.items()}
        v = problem.error_at_zero(backend, {name: numbers[name] for name in problem.signal_parameters}, small)
        near, far = (
            at_level(
                lambda k, x=x: problem.free_entropy(backend, k, backend.rational(x, 10**places), v, numbers),
                small,
            )[0].value
            for x in (1, 2)
        )
        return backend.midpoint(2 * near - far), v, backend


def _lost_digits(gain: Any) -> int:
    """-log10 |1 - gain|, at least 0."""
    size = abs(1 - gain)
    value = float(size)
    return 0 if value >= 1 or value <= 0 else int(-log10(value)) + (1 if value < 1e-3 else 0)


def _blurred(backend: Any, cycle: Cycle, precision: int) -> int:
    """Digits of q_hat = output(v) that rounding took beyond two thirds of the guard; all if none is left."""
    with backend.context():
        size, radius = abs(float(cycle.outer.value)), backend.radius(cycle.outer.value)
    if not (isfinite(size) and isfinite(radius) and 0 < radius < size):
        return 0 if radius == 0 and isfinite(size) else precision
    return max(0, ceil(log10(radius / size) + precision - 2 * GUARD / 3))


def _decimal_exponent(x: Fraction) -> int:
    """floor(log10 x), within one, of a positive number of any size."""
    return int((x.numerator.bit_length() - x.denominator.bit_length()) * 0.30103)
