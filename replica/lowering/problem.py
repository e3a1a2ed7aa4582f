"""Saddle point -> problem: the bridge from symbols to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.spectral import SpectralIntegral
from replica.lowering.pathwise import has_nested_averages, path_derivative
from replica.lowering.printer import LoweringError
from replica.lowering.program import FINEST_NESTED, Program, lower
from replica.symbols import q, q_hat
from solvers.errors import InputError
from solvers.problem import Evaluation, PairProblem

ERROR = sp.Symbol("v", positive=True)  # E x^2 - q, the unknown that keeps its digits


@lru_cache(maxsize=32)
def pair_problem(model: Any) -> PairProblem:
    """Lower a model whose equations reduce to one pair.  The derivation is done once per model.

    Raises
    ------
    InputError
        A law of one's own with something that has no numbers, such as a step at a place that is not affine.
    """
    try:
        return _lowered(model)
    except LoweringError as error:
        raise InputError(
            f"the equations have no numerical form ({error}): allowed are elementary functions, "
            "and kinks and steps at affine functions of the field or quadratics with real zeros"
        ) from error


def _lowered(model: Any) -> PairProblem:
    cycle = model.cycle()
    names = {p.name: sp_symbol for p, sp_symbol in model.parameter_symbols()}
    signal, second = cycle.error, cycle.second_moment
    output = cycle.conjugate.subs(q, second - ERROR)
    entropy = cycle.entropy.subs(q, second - ERROR)
    signal_names = tuple(name for name, s in names.items() if s in signal.free_symbols | second.free_symbols)
    output_names = tuple(name for name, s in names.items() if s in output.free_symbols)
    output_half, finest = _half(output, ERROR, [names[name] for name in output_names], output_names)
    return PairProblem(
        _half(signal, q_hat, [names[name] for name in signal_names], signal_names)[0],
        output_half,
        _entropy(entropy, names),
        signal_names,
        output_names,
        _moment(second, [names[name] for name in signal_names], signal_names),
        _moment(cycle.prior_error, [names[name] for name in signal_names], signal_names),
        signal.has(SpectralIntegral),
        any(has_nested_averages(half) for half in (signal, output)),
        finest,
        next((name for name in output_names if names[name] not in (output / names[name]).free_symbols), None),
    )


def _moment(expression: sp.Expr, symbols: list[sp.Symbol], names: tuple[str, ...]) -> Any:
    program = lower([expression], symbols)

    def evaluate(backend: Any, parameters: Mapping[str, Any]) -> Any:
        with backend.context():
            arguments = [backend.array(parameters[name]) for name in names]
            # a moment without parameters is a plain 1 in the lowered code
            return program.run(backend, 0, arguments).values[0] + backend.rational(0, 1)

    return evaluate


def _half(
    update: sp.Expr, unknown: sp.Symbol, symbols: list[sp.Symbol], names: tuple[str, ...]
) -> tuple[Any, int]:
    """The half, and the last level at which a double gains anything."""
    slope = path_derivative(update, unknown) if has_nested_averages(update) else update.diff(unknown)
    program = lower([update], [unknown, *symbols], auxiliary=[slope])

    def evaluate(backend: Any, level: int, at: Any, parameters: Mapping[str, Any]) -> Evaluation:
        rest = [parameters[name] for name in names]
        value, slope, error = _run(program, backend, level, [at, *rest])
        with backend.context():
            lost = np.isfinite(backend.to_float(value)) & ~np.isfinite(backend.to_float(slope))
            if np.any(lost):  # 0/0 where a variance is zero, at v = 1: a slope beside it steers as well
                beside = at * (1 - backend.rational(1, 2**30))
                other = _run(program, backend, level, [beside, *rest])[1]
                slope = np.where(lost, other, slope) if np.ndim(lost) else other
        return Evaluation(value, slope, error)

    return evaluate, program.finest


def _entropy(expression: sp.Expr, names: dict[str, sp.Symbol]) -> Any:
    """A function of both unknowns and all parameters."""
    program = lower([expression], [q_hat, ERROR, *names.values()])

    def evaluate(
        backend: Any, level: int, conjugate: Any, error: Any, parameters: Mapping[str, Any]
    ) -> Evaluation:
        value, estimate = _run(
            program, backend, level, [conjugate, error, *(parameters[name] for name in names)]
        )
        return Evaluation(value, np.zeros_like(estimate), estimate)

    return evaluate


def _run(program: Program, backend: Any, level: int, arguments: list[Any]) -> tuple[Any, ...]:
    """Values and error."""
    if program.depth > 1:
        level = min(level, FINEST_NESTED)
    with backend.context():
        result = program.run(backend, level, arguments)
    return (*(v[()] if isinstance(v, np.ndarray) else v for v in result.values), result.error)
