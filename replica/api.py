"""solve: from a model and its control parameters to numbers; ``sweep`` is in replica/sweeping.py.

A solution has its unknowns and, computed when they are asked for by name, the observables that the model
states; a sweep has the unknowns and the observables that its caller names, such as
``observables=("generalisation_error",)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.observed import Observed, recovered_entropy
from replica.lowering.problem import pair_problem
from replica.parameters import validate, with_given
from replica.sweeping import second_moment, solve_one, start_named, sweep
from replica.sweeping import solve_group as _solve_group
from solvers.backends.arb import Arb
from solvers.backends.mp import MP
from solvers.errors import InputError, NotConvergedError
from solvers.fixed_point.pair import PointResult
from solvers.fixed_point.refine import entropy_at_zero, refine
from solvers.problem import PairProblem
from solvers.solution import Errors, Outcome, Solution, unsolved

__all__ = ["solve", "sweep"]

MAX_DIGITS = 1000
FLOAT_DIGITS = 15
BACKENDS = ("float64", "arb", "mpmath")


def solve(
    model: Any,
    *,
    digits: int | None = None,
    start: str | None = None,
    backend: str | None = None,
    throw: bool = True,
    **params: Any,
) -> Solution:
    """Solve the saddle point at one point.

    Parameters
    ----------
    model:
        A model, ``BilinearSequenceRegression()`` for instance.
    digits:
        Correct decimal digits wanted; the default is what a double holds. More than 15 returns ``mpmath``
        numbers.
    start:
        Which solution when there are several: "uninformed" (reached from q = 0), "informed" (from q = 1) or
        "global", the one of largest free entropy among all. The default is the model's ``default_start``
        where it has one, else "global".
    backend:
        "float64", "arb" or "mpmath"; by default float64 up to 15 digits and arb beyond.
    throw:
        Raise when not converged (the default); otherwise the outcome says so, and there are no values.
    params:
        Control parameters. A Python float means the decimal it prints as; strings such as "3/10" are exact.

    Raises
    ------
    InputError
        A parameter unknown, missing, not a number or outside its domain; digits or start not allowed.
    NotConvergedError
        The outcome is not a solution.

    >>> from replica.models import BilinearSequenceRegression
    >>> solution = solve(BilinearSequenceRegression(), alpha=0.3, beta=1, rho=0.2, delta=0.1)
    >>> f"{solution['mmse']:.12f}"
    '0.513992390740'
    """
    wanted = _digits(digits)
    chosen_start = start_named(start, model)
    name = _backend(backend, wanted)
    model = with_given(model, params)
    exact = validate(model.control_parameters, params)
    if model.solver != "pair":
        solution = solve_one(model, exact, chosen_start, wanted, name)
    else:
        solution = _solve_pair(model.at(exact), exact, chosen_start, wanted, name)
    if throw and not solution.outcome.converged:
        raise NotConvergedError(solution.outcome.value)
    return solution


def _solve_pair(model: Any, exact: Mapping[str, Fraction], start: str, digits: int, backend: str) -> Solution:
    """A model whose equations reduce to one pair: every solution, then the one that the start chooses."""
    problem = pair_problem(model)
    canonical = model.canonical(exact)
    point = _solve_group(model, [canonical], start, digits)[0]
    solution = _finish(problem, canonical, exact, point, digits, backend)
    if not solution.outcome.converged:
        return solution
    recovered = solution.outcome is Outcome.PERFECT_RECOVERY
    if recovered:
        solution = replace(solution, free_entropy=recovered_entropy(model, canonical, digits))
    values = Observed(model, canonical, solution.values, solution.free_entropy, digits, recovered)
    return replace(solution, values=values)


def _finish(
    problem: PairProblem,
    canonical: Mapping[str, Fraction],
    exact: Mapping[str, Fraction],
    point: PointResult,
    digits: int,
    backend: str,
) -> Solution:
    root = point.chosen
    finite = root.outcome in (Outcome.CONVERGED, Outcome.RESIDUAL, Outcome.QUADRATURE) and np.isfinite(
        root.q_hat
    )
    imprecise = root.errors.total > 1e-11 * max(root.v, 1e-3) or root.outcome is not Outcome.CONVERGED
    if finite and (backend != "float64" or (imprecise and not problem.nested)):
        make: Callable[[int], Any] = MP if backend == "mpmath" else Arb
        try:
            fine = refine(problem, canonical, root.q_hat, max(digits, 18), make)
        except (ValueError, ArithmeticError):  # no number comes out in more digits either
            return _failed(exact, point, digits, Outcome.RESIDUAL)
        if not fine.converged:
            return _failed(exact, point, digits, Outcome.QUADRATURE)
        number = _number(fine.backend, digits)
        return Solution(
            values={"q": number(fine.q), "q_hat": number(fine.q_hat), "mmse": number(fine.v)},
            params=dict(exact),
            free_entropy=number(fine.free_entropy),
            residual=fine.residual,
            errors=fine.errors,
            outcome=Outcome.CONVERGED,
            backend=fine.backend.name,
            digits=digits,
            stability=fine.slope,
            branches=point.overlaps,
            evaluations=point.evaluations + fine.evaluations,
        )
    if root.outcome is Outcome.UNINFORMATIVE and backend != "float64":
        return _uninformative(problem, canonical, exact, point, digits, MP if backend == "mpmath" else Arb)
    if not root.outcome.converged:
        return _failed(exact, point, digits, root.outcome)
    overlap = second_moment(problem, canonical) - root.v
    return Solution(
        values={"q": overlap, "q_hat": root.q_hat, "mmse": root.v},
        params=dict(exact),
        free_entropy=root.free_entropy,
        residual=root.residual,
        errors=root.errors,
        outcome=root.outcome,
        backend="float64",
        digits=digits,
        stability=root.slope,
        branches=point.overlaps,
        evaluations=point.evaluations,
    )


def _failed(exact: Mapping[str, Fraction], point: PointResult, digits: int, outcome: Outcome) -> Solution:
    """No number is given where the solve failed: what was reached, nan among it, must not travel."""
    root, infinite = point.chosen, float("inf")
    residual, *errors = (
        value if np.isfinite(value) else infinite
        for value in (root.residual, root.errors.iteration, root.errors.quadrature, root.errors.rounding)
    )
    return unsolved(
        exact,
        outcome,
        residual=residual,
        errors=Errors(*errors),
        digits=digits,
        branches=point.overlaps,
        evaluations=point.evaluations,
    )


def _uninformative(
    problem: PairProblem,
    canonical: Mapping[str, Fraction],
    exact: Mapping[str, Fraction],
    point: PointResult,
    digits: int,
    make: Callable[[int], Any],
) -> Solution:
    """q_hat = 0: the overlap and the error are those of the prior, Phi that of independent outputs."""
    entropy, v, backend = entropy_at_zero(problem, canonical, digits, make)
    number = _number(backend, digits)
    with backend.context():
        numbers = {name: backend.number(canonical[name]) for name in problem.signal_parameters}
        overlap = backend.midpoint(problem.second_moment(backend, numbers) - v)
    return Solution(
        values={"q": number(overlap), "q_hat": number(backend.number(0)), "mmse": number(v)},
        params=dict(exact),
        free_entropy=number(entropy),
        residual=0.0,
        errors=point.chosen.errors,
        outcome=point.chosen.outcome,
        backend=backend.name,
        digits=digits,
        stability=point.chosen.slope,
        branches=point.overlaps,
        evaluations=point.evaluations,
    )


def _number(backend: Any, digits: int) -> Callable[[Any], Any]:
    """To a float, or to an mpmath number that prints ``digits`` digits."""
    if digits <= FLOAT_DIGITS:
        return lambda value: float(backend.to_fraction(value))
    target = MP(digits)
    return lambda value: target.number(backend.to_fraction(value))


def _digits(digits: int | None) -> int:
    if digits is None:
        return FLOAT_DIGITS
    if isinstance(digits, bool) or not isinstance(digits, int | np.integer) or not 1 <= digits <= MAX_DIGITS:
        raise InputError(f"digits must be an integer from 1 to {MAX_DIGITS}, got {digits!r}")
    return int(digits)


def _backend(backend: str | None, digits: int) -> str:
    if backend is None:
        return "float64" if digits <= FLOAT_DIGITS else "arb"
    if backend not in BACKENDS:
        raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "float64" and digits > FLOAT_DIGITS:
        raise InputError(
            f"float64 holds {FLOAT_DIGITS} digits, {digits} were asked for: use the backend arb or mpmath"
        )
    return backend
