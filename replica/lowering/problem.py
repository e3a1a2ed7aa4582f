"""Saddle point -> problem: the bridge from symbols to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.lowering.program import Program, lower
from replica.symbols import q, q_hat
from solvers.problem import Evaluation, PairProblem

ERROR = sp.Symbol("v", positive=True)  # 1 - q, the unknown that keeps its digits


@lru_cache(maxsize=32)
def pair_problem(model: Any) -> PairProblem:
    """Lower a model with one overlap and one conjugate.  The derivation is done once per model."""
    saddle = model.saddle_point()
    if saddle.iterated() != (q_hat,):
        raise NotImplementedError(f"a cycle through {saddle.iterated()} needs more than one iterated unknown")
    names = {p.name: sp_symbol for p, sp_symbol in model.parameter_symbols()}
    signal = sp.Add(1, *(-term for term in sp.Add.make_args(saddle.update(q))))
    output = saddle.update(q_hat).subs(q, 1 - ERROR)
    entropy = model.free_entropy().expression.subs(q, 1 - ERROR)
    signal_names = tuple(name for name, s in names.items() if s in signal.free_symbols)
    output_names = tuple(name for name, s in names.items() if s in output.free_symbols)
    return PairProblem(
        _half(signal, q_hat, [names[name] for name in signal_names], signal_names),
        _half(output, ERROR, [names[name] for name in output_names], output_names),
        _entropy(entropy, names),
        signal_names,
        output_names,
    )


def _half(update: sp.Expr, unknown: sp.Symbol, symbols: list[sp.Symbol], names: tuple[str, ...]) -> Any:
    program = lower([update], [unknown, *symbols], auxiliary=[update.diff(unknown)])

    def evaluate(backend: Any, level: int, at: Any, parameters: Mapping[str, Any]) -> Evaluation:
        value, slope, error = _run(program, backend, level, [at, *(parameters[name] for name in names)])
        return Evaluation(value, slope, error)

    return evaluate


def _entropy(expression: sp.Expr, names: dict[str, sp.Symbol]) -> Any:
    program = lower([expression], [q_hat, ERROR, *names.values()])

    def evaluate(
        backend: Any, level: int, conjugate: Any, error: Any, parameters: Mapping[str, Any]
    ) -> Evaluation:
        value, estimate = _run(
            program, backend, level, [conjugate, error, *(parameters[name] for name in names)]
        )
        return Evaluation(value, np.zeros_like(estimate), estimate)

    return evaluate


FINEST_NESTED = 7
"""Highest level of nested averages: nearly a million nodes a point, some hundred megabytes."""


def _run(program: Program, backend: Any, level: int, arguments: list[Any]) -> tuple[Any, ...]:
    """Values and error; nested averages one point at a time, so that memory does not grow with the batch."""
    if program.depth < 2:
        return _run_batch(program, backend, level, arguments)
    level = min(level, FINEST_NESTED)
    batch = np.broadcast_shapes(*(np.shape(a) for a in arguments))
    if not batch:
        return _run_batch(program, backend, level, arguments)
    columns = [np.broadcast_to(backend.array(a), batch).reshape(-1) for a in arguments]
    points = [_run_batch(program, backend, level, list(point)) for point in zip(*columns, strict=True)]
    return tuple(
        backend.array(
            [x[()] if np.ndim(x) == 0 and isinstance(x, np.ndarray) else x for x in values]
        ).reshape(batch)
        for values in zip(*points, strict=True)
    )


def _run_batch(program: Program, backend: Any, level: int, arguments: list[Any]) -> tuple[Any, ...]:
    with backend.context():
        result = program.run(backend, level, arguments)
    return (*result.values, result.error)
