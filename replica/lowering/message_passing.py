"""The functions that message passing needs, lowered from the same ingredients as the saddle point."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.logsum import stable_log
from replica.lowering.printer import compile_kernel
from replica.lowering.program import Program, lower
from replica.symbols import A, B, V, h, omega, parameter_symbol, q_hat, y
from solvers.backends.float64 import Float64
from solvers.quadrature.spectral import stieltjes_at

_BACKEND = Float64()
_LEVEL = 4
"""Averages that have no closed form are smooth in a Gaussian: 46 nodes give six digits or more."""


@lru_cache(maxsize=64)
def output_functions(channel: Any) -> Callable[..., tuple[Any, Any]]:
    """(y, omega, V, parameters) -> (g_out, -dg_out/domega), g_out = d log Z_out/domega, from the channel's
    pieces.

    A channel with several pieces (an atom and a half-line, say) has one formula on each: every output is
    given that of its own piece.
    """
    parts, programs = zip(*_output_programs(channel), strict=True)
    names = tuple(p.name for p in channel.parameters)

    def evaluate(
        output: Any, field: Any, variance: float, parameters: Mapping[str, float]
    ) -> tuple[Any, Any]:
        rest = [variance, *(parameters[name] for name in names)]
        if len(programs) == 1:
            return _run(programs[0], output.shape, [output, field, *rest])
        g, slope = np.empty(output.shape), np.empty(output.shape)
        left = np.ones(output.shape, dtype=bool)
        for part, program in zip(parts, programs, strict=True):
            # the last piece takes what is left: values that no piece holds have probability zero
            here = left if part is parts[-1] else left & _holds(part, output)
            left = left & ~here
            g[here], slope[here] = _run(program, (int(here.sum()),), [output[here], field[here], *rest])
        return g, slope

    return evaluate


def _output_programs(channel: Any) -> list[tuple[sp.Set, Program]]:
    symbols = [y, omega, V, *(parameter_symbol(p) for p in channel.parameters)]
    programs = []
    for part, density in channel.pieces(y, h):
        evidence = GaussianAverage(density, h, omega, V).doit()
        function = stable_log(evidence).diff(omega)
        programs.append((part, lower([function, -function.diff(omega)], symbols)))
    return programs


def _holds(part: sp.Set, output: Any) -> Any:
    """Which outputs lie in an atom or an interval; the ends of an interval belong to its neighbours."""
    if isinstance(part, sp.FiniteSet):
        return np.isin(output, [float(value) for value in part])
    return (output > float(part.inf)) & (output < float(part.sup))


@lru_cache(maxsize=64)
def input_functions(prior: Any) -> Callable[..., tuple[Any, Any]]:
    """(A, B, parameters) -> (f_in, df_in/dB), the posterior mean and variance of each coordinate, from the
    log-partition of a separable prior.
    """
    function = prior.denoiser()
    names = tuple(p.name for p in prior.parameters)
    program = lower([function, function.diff(B)], [A, B, *(parameter_symbol(p) for p in prior.parameters)])

    def evaluate(precision: float, field: Any, parameters: Mapping[str, float]) -> tuple[Any, Any]:
        arguments = [precision, field, *(parameters[name] for name in names)]
        return _run(program, field.shape, arguments)

    return evaluate


def _run(program: Program, shape: tuple[int, ...], arguments: list[Any]) -> tuple[Any, Any]:
    if 0 in shape:
        return np.empty(shape), np.empty(shape)
    with _BACKEND.context():
        value, slope = program.run(_BACKEND, _LEVEL, arguments).values
    return np.broadcast_to(value, shape), np.broadcast_to(slope, shape)


@lru_cache(maxsize=32)
def hilbert_transform(model: Any) -> Callable[..., Any]:
    """(x, q_hat, parameters) -> h(x) of the law of Y = S + Z/sqrt(q_hat) that the prior states.

    That of Y Y^T/L for d <= L, or of the eigenvalues of a symmetric Y.
    """
    law = model.prior.observed_law(q_hat)
    symbols = {p.name: s for p, s in model.parameter_symbols()}
    names = tuple(p.name for p in model.prior.parameters)
    arguments = [q_hat, *(symbols[name] for name in names)]
    coefficients = compile_kernel(law.coefficients(), [law.bound_symbols[0], *arguments])
    branch = compile_kernel(law.branch_polynomial, arguments)

    def evaluate(x: Any, conjugate: float, parameters: Mapping[str, float]) -> Any:
        values = [conjugate, *(parameters[name] for name in names)]
        with _BACKEND.context():
            g = stieltjes_at(
                _BACKEND,
                _LEVEL,
                lambda *a: coefficients(_BACKEND, *a),
                lambda *a: branch(_BACKEND, *a),
                law.nonnegative,
                values,
                np.asarray(x, dtype=float),
            )
        return g.real

    return evaluate
