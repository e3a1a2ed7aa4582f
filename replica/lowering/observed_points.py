"""Observables at many solutions of one model at once, for sweeps.

Each expression is lowered once and runs on arrays over the points: a closed form costs no more for a thousand
points than for one.  An average is refined until its worst point has the digits of a double; a point where it
does not get there, a decision (``replica.observables.Decision``) and perfect recovery go the way of a single
solution, ``Observed``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.lowering.observed import LOST, Observed
from replica.lowering.program import Program, lower
from replica.observables import PHI, Decision
from replica.symbols import q, q_hat
from solvers.backends.float64 import Float64
from solvers.errors import NotConvergedError
from solvers.problem import Evaluation, at_level

FLOAT_DIGITS = 15
ACCURACY = 1e-14
BATCH = 64
"""Points of an average that are refined together: the hardest of them sets the level for all."""
_ERROR = sp.Symbol("v", positive=True)
_DOUBLES = Float64()


def observed_at(
    model: Any,
    points: Sequence[Mapping[str, Fraction]],
    solutions: Sequence[Mapping[str, float]],
    recovered: Sequence[bool],
    names: Iterable[str],
) -> list[dict[str, float]]:
    """The observables named, in doubles, at solutions of one model with one pair of unknowns.

    ``points`` are in the orientation that the equations are written for; a solution has mmse, q_hat and
    free_entropy.  A name is left out where the model states none, and nan where the quadrature's error stays
    above 1e-8.
    """
    found: list[dict[str, float]] = [{} for _ in points]
    stated = [
        (model.observables_at_recovery if exact else model.observables)(point)
        for point, exact in zip(points, recovered, strict=True)
    ]
    for name in names:
        alike: dict[Any, list[int]] = {}
        for i, known in enumerate(stated):
            if name in known:
                alike.setdefault((known[name], recovered[i]), []).append(i)
        for (expression, exact), members in alike.items():
            mine = [points[i] for i in members], [solutions[i] for i in members]
            if exact or expression is sp.oo or isinstance(expression, Decision):
                values = [_single(model, name, *one, exact) for one in zip(*mine, strict=True)]
            else:
                values = _together(model, name, expression, *mine)
            for i, value in zip(members, values, strict=True):
                found[i][name] = value
    return found


def _single(
    model: Any, name: str, point: Mapping[str, Fraction], solution: Mapping[str, float], exact: bool = False
) -> float:
    values = Observed(model, point, solution, solution["free_entropy"], FLOAT_DIGITS, exact)
    try:
        return float(values[name])
    except NotConvergedError:
        return float("nan")


def _together(
    model: Any,
    name: str,
    expression: sp.Expr,
    points: Sequence[Mapping[str, Fraction]],
    solutions: Sequence[Mapping[str, float]],
) -> list[float]:
    """One expression at all its points: in arrays, and again one by one where that does not converge."""
    symbols = (q_hat, _ERROR, PHI, *(s for _, s in model.parameter_symbols()))
    program = _program(sp.sympify(expression), model.cycle().second_moment, symbols)
    columns = [[s[key] for s in solutions] for key in ("q_hat", "mmse", "free_entropy")]
    columns += [[float(point[p.name]) for point in points] for p, _ in model.parameter_symbols()]
    table = np.array(columns, dtype=float)
    size = len(points) if program.depth == 0 else BATCH
    batches = [_run(program, table[:, k : k + size]) for k in range(0, len(points), size)]
    values, errors = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    good = errors <= 10.0 ** (LOST - FLOAT_DIGITS) * np.maximum(1.0, np.abs(values))
    return [
        float(value) if fine else _single(model, name, point, solution)
        for value, fine, point, solution in zip(values, good, points, solutions, strict=True)
    ]


def _run(program: Program, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors over the columns of a table of the symbols' numbers."""
    shape = table.shape[1:]

    @lru_cache(maxsize=1)
    def at(level: int) -> Evaluation:
        found = program.run(_DOUBLES, level, list(table))
        return Evaluation(np.broadcast_to(found.values[0], shape), None, np.broadcast_to(found.error, shape))

    with _DOUBLES.context():
        if program.depth == 0:
            result = at(0)
        else:
            result, _ = at_level(lambda level: at(min(level, program.finest)), ACCURACY)
    return np.asarray(result.value, dtype=float), np.asarray(result.error, dtype=float)


@lru_cache(maxsize=256)
def _program(expression: sp.Expr, second_moment: sp.Expr, symbols: tuple[sp.Symbol, ...]) -> Program:
    return lower([expression.subs(q, second_moment - _ERROR)], symbols)
