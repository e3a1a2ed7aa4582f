"""sweep: a model on a grid of its control parameters, in double precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from replica.checkpoint import Checkpoint, Row, key_of
from replica.lowering.problem import pair_problem
from replica.parameters import check_names, parse_number, validate, with_given
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.fixed_point.pair import POLISH_DIGITS, STARTS, PointResult, solve_points
from solvers.problem import PairProblem

Progress = Callable[[int, int], None]
GROUP = 256


def sweep(
    model: Any,
    *,
    start: str | None = None,
    progress: Progress | None = None,
    executor: Any = None,
    checkpoint: str | Path | None = None,
    **params: Any,
) -> Any:
    """Solve on a grid, in double precision.

    Every parameter given as a sequence is a dimension, in the order given. Returns an ``xarray.Dataset``
    with variables mmse, q, q_hat,
    free_entropy, residual, error and outcome (its sentence). A point that did not converge holds nan and
    says so.

    ``progress(done, total)`` is called as points finish; ``executor`` is any ``concurrent.futures.Executor``.
    An interruption keeps what is computed: the dataset is returned with ``attrs["interrupted"]`` true.
    ``checkpoint`` names a file of JSON lines: finished points are appended to it, and points that it holds
    are not computed again, so that the same call goes on after an interruption or a kill and returns the same
    dataset.

    Raises
    ------
    InputError
        As ``solve``; an empty sequence; a checkpoint of another model, start or version of the library.
    """
    chosen_start = start_named(start, model)
    model = with_given(model, params)
    check_names(model.control_parameters, params)
    axes = {name: _axis(value, name) for name, value in params.items()}
    dims = [name for name, value in params.items() if _is_sequence(value)]
    grid = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    grid = [validate(model.control_parameters, point) for point in grid]
    if model.solver != "pair":
        if checkpoint is not None:
            raise InputError("a checkpoint is kept for models of one overlap only: leave it out")
        return _sweep_points(model, axes, dims, grid, chosen_start, progress, executor)
    saved = Checkpoint(checkpoint, model, chosen_start) if checkpoint is not None else None
    rows: list[Row | None] = [saved.rows.get(key_of(point)) if saved else None for point in grid]
    missing = [[i for i in members if rows[i] is None] for members in _groups(model, grid)]
    groups = [members for members in missing if members]
    total, done = len(grid), len(grid) - sum(map(len, groups))
    tasks = [
        (model.at(grid[members[0]]), [model.canonical(grid[i]) for i in members], chosen_start)
        for members in groups
    ]
    interrupted = False
    try:
        if progress and done:
            progress(done, total)
        outputs = (executor.map if executor else map)(solve_group, *zip(*tasks, strict=True)) if tasks else ()
        for members, found in zip(groups, outputs, strict=True):
            solved = [_row(point) for point in found]
            if saved:
                saved.add([grid[i] for i in members], solved)
            for i, row in zip(members, solved, strict=True):
                rows[i] = row
            done += len(members)
            if progress:
                progress(done, total)
    except KeyboardInterrupt:
        interrupted = True
    seconds = [second_moment(pair_problem(model.at(point)), model.canonical(point)) for point in grid]
    return _dataset(model, axes, dims, rows, seconds, interrupted)


def _dataset(
    model: Any,
    axes: Mapping[str, Sequence[Fraction]],
    dims: Sequence[str],
    rows: Sequence[Row | None],
    seconds: Sequence[float],
    interrupted: bool,
) -> Any:
    """The rows as a labelled table; nan where there is no solution, beside the outcome that says why."""
    import xarray as xr

    shape = [len(axes[name]) for name in dims]
    coordinates = {
        name: ([name], [float(x) for x in axes[name]]) if name in dims else float(axes[name][0])
        for name in axes
    }

    def variable(read: Callable[[Row], float]) -> tuple[Sequence[str], Any]:
        flat = [read(row) if row is not None and row.outcome.converged else np.nan for row in rows]
        return dims, np.array(flat).reshape(shape)

    mmse = variable(lambda row: row.mmse)
    outcomes = np.array([row.outcome.value if row else "not computed: interrupted" for row in rows])
    return xr.Dataset(
        {
            "mmse": mmse,
            "q": (dims, np.reshape(seconds, shape) - mmse[1]),
            "q_hat": variable(lambda row: row.q_hat),
            "free_entropy": variable(lambda row: row.free_entropy),
            "residual": variable(lambda row: row.residual),
            "error": variable(lambda row: row.error),
            "outcome": (dims, outcomes.reshape(shape)),
        },
        coords=coordinates,
        attrs={
            "model": model.name,
            "reference": model.reference,
            "interrupted": int(interrupted),
            "computed": sum(row is not None for row in rows),
        },
    )


def _sweep_points(
    model: Any,
    axes: Mapping[str, Sequence[Fraction]],
    dims: Sequence[str],
    grid: Sequence[dict[str, Fraction]],
    start: str,
    progress: Progress | None,
    executor: Any,
) -> Any:
    """The same table for models of several unknowns, point by point; a variable for each value."""
    import xarray as xr

    solved: list[Any] = []
    try:
        for solution in (executor.map if executor else map)(
            solve_one, [model] * len(grid), grid, [start] * len(grid)
        ):
            solved.append(solution)
            if progress:
                progress(len(solved), len(grid))
    except KeyboardInterrupt:
        pass
    names = list(dict.fromkeys(name for s in solved for name in s.values))
    shape = [len(axes[name]) for name in dims]
    missing = [None] * (len(grid) - len(solved))

    def variable(read: Callable[[Any], float]) -> tuple[Sequence[str], Any]:
        flat = [read(s) if s is not None and s.outcome.converged else np.nan for s in (*solved, *missing)]
        return dims, np.array(flat, dtype=float).reshape(shape)

    outcomes = [s.outcome.value for s in solved] + ["not computed: interrupted"] * len(missing)
    data: dict[str, Any] = {name: variable(lambda s, n=name: s.values.get(n, np.nan)) for name in names}
    data["free_entropy"] = variable(lambda s: s.free_entropy)
    data["residual"] = variable(lambda s: s.residual)
    data["error"] = variable(lambda s: s.errors.total)
    data["outcome"] = (dims, np.array(outcomes).reshape(shape))
    return xr.Dataset(
        data,
        coords={
            name: ([name], [float(x) for x in axes[name]]) if name in dims else float(axes[name][0])
            for name in axes
        },
        attrs={
            "model": model.name,
            "reference": model.reference,
            "interrupted": int(bool(missing)),
            "computed": len(solved),
        },
    )


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
    entropies = np.array([float(model.recovered_entropy(p)) if yes else np.inf for p, yes in pairs])
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


def _row(point: PointResult) -> Row:
    root = point.chosen
    return Row(
        float(root.v),
        float(root.q_hat),
        float(root.free_entropy),
        float(root.residual),
        float(root.errors.total),
        root.outcome,
    )


def _groups(model: Any, grid: Sequence[dict[str, Fraction]]) -> list[list[int]]:
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
