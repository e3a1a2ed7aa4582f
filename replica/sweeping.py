"""sweep: a model on a grid of its control parameters, in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from replica.ansatz import FullRSB
from replica.checkpoint import Checkpoint, Row, key_of
from replica.lowering.observed import recovered_entropy
from replica.lowering.observed_points import observed_at
from replica.lowering.problem import pair_problem
from replica.parameters import check_names, parse_number, unknown, validate, with_given
from replica.sweep_table import dataset
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.fixed_point.pair import POLISH_DIGITS, STARTS, PointResult, solve_points
from solvers.problem import PairProblem
from solvers.solution import Outcome

Progress = Callable[[int, int], None]
Point = Mapping[str, Fraction]
GROUP = 256


def sweep(
    model: Any,
    *,
    observables: str | Iterable[str] = (),
    start: str | None = None,
    progress: Progress | None = None,
    executor: Any = None,
    checkpoint: str | Path | None = None,
    **params: Any,
) -> Any:
    """Solve on a grid, in double precision.

    Every parameter given as a sequence is a dimension, in the order given. Returns an ``xarray.Dataset`` with
    a variable for each unknown (mmse, q and q_hat where they reduce to one pair) and for each of the
    ``observables`` named, of those that ``model.observables`` states, then free_entropy, residual, error and
    outcome (its sentence); each says what it is and its units in ``attrs``.  A point that did not converge
    holds nan and says so.  Where a variable alone has no number, the outcome names it.  Models of
    several unknowns compute all their observables with a solution, and the table has them all.

    ``progress(done, total)`` is called as points finish; ``executor`` is any ``concurrent.futures.Executor``.
    An interruption keeps what is computed: the dataset is returned with ``attrs["interrupted"]`` true.
    ``checkpoint`` names a file of JSON lines: finished points are appended to it, and points that it holds
    are not computed again, so that the same call goes on after an interruption or a kill and returns the same
    dataset.  Observables may be added in a later call: only they are computed then.

    Raises
    ------
    InputError
        As ``solve``; an empty sequence; an observable that the model does not state anywhere on the grid; a
        checkpoint of another model, start or version of the library.

    >>> from replica.models import SpikedMatrix
    >>> table = sweep(SpikedMatrix(), lam=[2, 3], observables="matrix_mmse")
    >>> table["matrix_mmse"].values.round(6)
    array([0.617523, 0.310715])
    >>> table["matrix_mmse"].attrs["description"]
    'square error of the matrix per entry'
    """
    chosen_start = start_named(start, model)
    model = with_given(model, params)
    check_names(model.control_parameters, params)
    axes = {name: _axis(value, name) for name, value in params.items()}
    dims = [name for name, value in params.items() if _is_sequence(value)]
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    grid = [validate(model.control_parameters, point) for point in grid]
    names = _observables_named(observables, model, grid)
    saved = Checkpoint(checkpoint, model, chosen_start) if checkpoint is not None else None
    rows: list[Row | None] = [saved.rows.get(key_of(point)) if saved else None for point in grid]
    tasks = list(_tasks(model, grid, rows, chosen_start, names))
    total, done = len(grid), len(grid) - sum(len(task.members) for task in tasks)
    interrupted = False
    try:
        if progress and done:
            progress(done, total)
        for task, solved in zip(tasks, (executor.map if executor else map)(_carried_out, tasks), strict=True):
            if saved:
                saved.add(task.points, solved)
            for i, row in zip(task.members, solved, strict=True):
                rows[i] = row
            done += len(solved)
            if progress:
                progress(done, total)
    except KeyboardInterrupt:
        interrupted = True
    return dataset(model, axes, dims, rows, names, interrupted)


def _observables_named(named: str | Iterable[str], model: Any, grid: Sequence[Point]) -> tuple[str, ...]:
    """The names, each once, if the model states them at some point of the grid."""
    names = tuple(dict.fromkeys([named] if isinstance(named, str) else named))
    allowed: dict[str, None] = {}
    for point in grid:
        if set(names) <= set(allowed):
            break
        allowed |= dict.fromkeys(_stated(model, point))
    for name in names:
        if name not in allowed:
            raise InputError(unknown("observable", str(name), list(allowed)))
    return names


def _stated(model: Any, point: Point) -> Iterable[str]:
    """What the model says of a solution at this point, beside the unknowns."""
    if model.solver == "pair":
        special = model.at(point)
        return special.observables(special.canonical(point))
    if model.solver == "volume":
        return "entropy", *model.observables(point)
    if model.solver in ("levels", "condensed") and point["T"] == 0:
        full = model.solver == "levels" and isinstance(model.ansatz, FullRSB)
        return dict.fromkeys(("f", "energy")) | ({} if full else model.ground_state().observables())
    return model.observables()


class Task(NamedTuple):
    """Points to be solved together, by one worker."""

    model: Any
    members: list[int]
    """Places in the grid."""
    points: list[Point]
    start: str
    names: tuple[str, ...]
    rows: list[Row | None]
    """What a checkpoint has of them, without all the observables; None: still to be solved."""


def _tasks(
    model: Any, grid: Sequence[Point], rows: Sequence[Row | None], start: str, names: tuple[str, ...]
) -> Iterable[Task]:
    """What is not yet computed: points that share the parameters of the signal together."""
    pair = model.solver == "pair"
    for members in _groups(model, grid) if pair else ([i] for i in range(len(grid))):
        some = [i for i in members if (row := rows[i]) is None or (pair and row.lacks(names))]
        if some:
            yield Task(model, some, [grid[i] for i in some], start, names, [rows[i] for i in some])


def _carried_out(task: Task) -> list[Row]:
    """The rows of a task; a module-level function, so that it travels to worker processes."""
    if task.model.solver != "pair":
        return [_row(solve_one(task.model, point, task.start)) for point in task.points]
    model = task.model.at(task.points[0])
    points = [task.model.canonical(point) for point in task.points]
    missing = [point for point, row in zip(points, task.rows, strict=True) if row is None]
    solved = iter(_pair_rows(model, missing, solve_group(model, missing, task.start)) if missing else ())
    rows = [next(solved) if row is None else row for row in task.rows]
    believed = [i for i, row in enumerate(rows) if row.lacks(task.names)]
    found = observed_at(
        model,
        [points[i] for i in believed],
        [rows[i].numbers() for i in believed],
        [rows[i].outcome is Outcome.PERFECT_RECOVERY for i in believed],
        task.names,
    )
    for i, values in zip(believed, found, strict=True):
        rows[i] = rows[i]._replace(values={**rows[i].values, **dict.fromkeys(task.names), **values})
    return rows


def _pair_rows(model: Any, points: Sequence[Point], found: Sequence[PointResult]) -> list[Row]:
    """The solutions of points that share the parameters of the signal."""
    second = second_moment(pair_problem(model), points[0])
    rows = []
    for root in (point.chosen for point in found):
        v, converged = float(root.v), root.outcome.converged
        values = {"mmse": v, "q": second - v, "q_hat": float(root.q_hat)} if converged else {}
        numbers = float(root.free_entropy), float(root.residual), float(root.errors.total)
        rows.append(Row(values, *numbers, root.outcome))
    return rows


def _row(solution: Any) -> Row:
    values = {name: float(x) for name, x in solution.values.items() if solution.outcome.converged}
    numbers = float(solution.free_entropy), float(solution.residual), float(solution.errors.total)
    return Row(values, *numbers, solution.outcome)


def solve_one(
    model: Any, point: Mapping[str, Fraction], start: str, digits: int = 15, backend: str | None = None
) -> Any:
    """One point of a model of several unknowns; a module-level function, so that it travels to worker
    processes.
    """
    if model.solver == "levels":
        from replica.lowering.field import solve_field as solve_several
    elif model.solver == "condensed":
        from replica.lowering.condensed import solve_condensed as solve_several
    elif model.solver == "volume":
        from replica.lowering.perceptron import solve_volume as solve_several
    else:
        from replica.lowering.risk import solve_risk as solve_several

    return solve_several(model, point, digits, start, backend)


def solve_group(
    model: Any, points: Sequence[Mapping[str, Fraction]], start: str, digits: int = POLISH_DIGITS
) -> list[PointResult]:
    """Points that share the signal's parameters; a module-level function, so that it travels to worker
    processes.  ``digits`` are spent at most where doubles do not resolve a solution (60, if fewer).
    """
    problem = pair_problem(model)
    signal = {name: float(points[0][name]) for name in problem.signal_parameters}
    output = {name: np.array([float(p[name]) for p in points]) for name in problem.output_parameters}
    recovered = np.array([model.recovers(p) for p in points])
    pairs = zip(points, recovered, strict=True)
    entropies = np.array([recovered_entropy(model, p) if yes else np.inf for p, yes in pairs])
    return solve_points(
        problem,
        signal,
        output,
        recovered,
        start=start,
        exact=points,
        digits=digits,
        recovered_entropy=entropies,
    )


def start_named(start: str | None, model: Any = None) -> str:
    """The start asked for; by default the model's ``default_start``, or the global maximum."""
    if start is None:
        return getattr(model, "default_start", "global")
    known = getattr(model, "starts", STARTS)
    if start not in known:
        raise InputError(f"start must be one of {', '.join(known)}, got {start!r}")
    return start


def second_moment(problem: PairProblem, canonical: Mapping[str, Fraction]) -> float:
    """E x^2 as a double: q = E x^2 - mmse."""
    signal = {name: float(canonical[name]) for name in problem.signal_parameters}
    return float(problem.second_moment(Float64(), signal))


def _groups(model: Any, grid: Sequence[Point]) -> list[list[int]]:
    """Points that share the parameters of the signal, in pieces small enough to show progress."""
    groups: dict[Any, list[int]] = {}
    for i, point in enumerate(grid):
        special, canonical = model.at(point), model.canonical(point)
        names = pair_problem(special).signal_parameters
        groups.setdefault((special, *(canonical[name] for name in names)), []).append(i)
    return [members[k : k + GROUP] for members in groups.values() for k in range(0, len(members), GROUP)]


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
