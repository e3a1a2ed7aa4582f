"""solve and sweep: from a model and its control parameters to numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.problem import pair_problem
from replica.parameters import check_names, parse_number, validate
from solvers.backends.arb import Arb
from solvers.backends.mp import MP
from solvers.errors import InputError, NotConvergedError
from solvers.fixed_point.pair import STARTS, PointResult, Root, solve_points
from solvers.fixed_point.refine import refine
from solvers.problem import PairProblem
from solvers.solution import Outcome, Solution

Progress = Callable[[int, int], None]
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
        the default, the
        one of largest free entropy among all.
    backend:
        "float64", "arb" or "mpmath"; by default float64 up to 15 digits and arb beyond.
    throw:
        Raise when not converged (the default); otherwise the outcome says so.
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
    chosen_start = _start(start)
    name = _backend(backend, wanted)
    exact = validate(model.control_parameters, params)
    problem = pair_problem(model)
    canonical = model.canonical(exact)
    point = _solve_group(model, [canonical], chosen_start)[0]
    solution = _finish(problem, canonical, exact, point, wanted, name)
    if throw and not solution.outcome.converged:
        raise NotConvergedError(solution.outcome.value)
    return solution


def sweep(
    model: Any,
    *,
    start: str | None = None,
    progress: Progress | None = None,
    executor: Any = None,
    **params: Any,
) -> Any:
    """Solve on a grid, in double precision.

    Every parameter given as a sequence is a dimension, in the order given. Returns an ``xarray.Dataset``
    with variables mmse, q, q_hat,
    free_entropy, residual, error and outcome (its sentence). A point that did not converge holds nan and
    says so.

    ``progress(done, total)`` is called as points finish; ``executor`` is any ``concurrent.futures.Executor``.
    An interruption keeps what is computed: the dataset is returned with ``attrs["interrupted"]`` true.

    Raises
    ------
    InputError
        As ``solve``; an empty sequence.
    """
    import xarray as xr

    chosen_start = _start(start)
    check_names(model.control_parameters, params)
    axes = {name: _axis(value, name) for name, value in params.items()}
    dims = [name for name, value in params.items() if _is_sequence(value)]
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    grid = [validate(model.control_parameters, point) for point in grid]
    groups = _groups(model, grid)
    total = len(grid)
    results: list[PointResult | None] = [None] * total
    done, interrupted = 0, False
    tasks = [(model, [model.canonical(grid[i]) for i in members], chosen_start) for members in groups]
    try:
        outputs = (executor.map if executor else map)(_solve_group, *zip(*tasks, strict=True))
        for members, found in zip(groups, outputs, strict=True):
            for i, point in zip(members, found, strict=True):
                results[i] = point
            done += len(members)
            if progress:
                progress(done, total)
    except KeyboardInterrupt:
        interrupted = True
    shape = [len(axes[name]) for name in dims]
    coordinates = {
        name: ([name], [float(x) for x in axes[name]]) if name in dims else float(axes[name][0])
        for name in axes
    }

    def variable(read: Callable[[Root], Any], missing: Any = np.nan) -> tuple[list[str], Any]:
        flat = [read(r.chosen) if r is not None and r.chosen.outcome.converged else missing for r in results]
        return dims, np.array(flat).reshape(shape)

    outcomes = np.array(
        [r.chosen.outcome.value if r else "not computed: interrupted" for r in results]
    ).reshape(shape)
    return xr.Dataset(
        {
            "mmse": variable(lambda r: r.v),
            "q": variable(lambda r: 1 - r.v),
            "q_hat": variable(lambda r: r.q_hat),
            "free_entropy": variable(lambda r: r.free_entropy),
            "residual": variable(lambda r: r.residual),
            "error": variable(lambda r: r.errors.total),
            "outcome": (dims, outcomes),
        },
        coords=coordinates,
        attrs={
            "model": model.name,
            "reference": model.reference,
            "interrupted": int(interrupted),
            "computed": done,
        },
    )


def _solve_group(model: Any, points: Sequence[Mapping[str, Fraction]], start: str) -> list[PointResult]:
    """Points that share the signal's parameters; a module-level function, so that it travels to worker
    processes.
    """
    problem = pair_problem(model)
    signal = {name: float(points[0][name]) for name in problem.signal_parameters}
    output = {name: np.array([float(p[name]) for p in points]) for name in problem.output_parameters}
    recovered = np.array([model.recovers(p) for p in points])
    return solve_points(problem, signal, output, recovered, start=start)


def _groups(model: Any, grid: Sequence[dict[str, Fraction]]) -> list[list[int]]:
    """Points that share the parameters of the signal, in pieces small enough to show progress."""
    problem = pair_problem(model)
    groups: dict[tuple[Fraction, ...], list[int]] = {}
    for i, point in enumerate(grid):
        canonical = model.canonical(point)
        groups.setdefault(tuple(canonical[name] for name in problem.signal_parameters), []).append(i)
    size = 256
    return [members[k : k + size] for members in groups.values() for k in range(0, len(members), size)]


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
    if finite and (backend != "float64" or imprecise):
        make: Callable[[int], Any] = MP if backend == "mpmath" else Arb
        fine = refine(problem, canonical, root.q_hat, max(digits, 18), make)
        outcome = Outcome.CONVERGED if fine.converged else Outcome.QUADRATURE
        number = _number(fine.backend, digits)
        return Solution(
            values={"q": number(fine.q), "q_hat": number(fine.q_hat), "mmse": number(fine.v)},
            params=dict(exact),
            free_entropy=number(fine.free_entropy),
            residual=fine.residual,
            errors=fine.errors,
            outcome=outcome,
            backend=fine.backend.name,
            digits=digits,
            stability=fine.slope,
            branches=point.overlaps,
            evaluations=point.evaluations + fine.evaluations,
        )
    return Solution(
        values={"q": 1 - root.v, "q_hat": root.q_hat, "mmse": root.v},
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


def _start(start: str | None) -> str:
    if start is None:
        return "global"
    if start not in STARTS:
        raise InputError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    return start


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


def _is_sequence(value: Any) -> bool:
    return np.ndim(value) > 0


def _axis(value: Any, name: str) -> list[Fraction]:
    if not _is_sequence(value):
        return [parse_number(value, name)]
    if np.ndim(value) != 1 or len(value) == 0:
        raise InputError(
            f"{name} must be a number or a non-empty one-dimensional sequence, got shape {np.shape(value)}"
        )
    return [parse_number(x, name) for x in value]
