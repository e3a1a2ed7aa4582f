"""The functions that message passing needs, lowered from the same ingredients as the saddle point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from replica.lowering.printer import compile_kernel
from replica.lowering.program import lower
from replica.symbols import V, delta, omega, q_hat, y
from solvers.backends.float64 import Float64
from solvers.quadrature.spectral import stieltjes_at

_BACKEND = Float64()
_LEVEL = 4


@lru_cache(maxsize=32)
def output_functions(channel: Any) -> Callable[..., tuple[Any, Any]]:
    """(y, omega, V, parameters) -> (g_out, -dg_out/domega), from the channel's log-evidence."""
    function = channel.output_function(y, omega, V)
    names = tuple(p.name for p in channel.parameters)
    program = lower([function, -function.diff(omega)], [y, omega, V, *(delta for _ in names)])

    def evaluate(
        output: Any, field: Any, variance: float, parameters: Mapping[str, float]
    ) -> tuple[Any, Any]:
        arguments = [output, field, variance, *(parameters[name] for name in names)]
        with _BACKEND.context():
            g, slope = program.run(_BACKEND, _LEVEL, arguments).values
        return np.broadcast_to(g, output.shape), np.broadcast_to(slope, output.shape)

    return evaluate


@lru_cache(maxsize=32)
def hilbert_transform(model: Any) -> Callable[..., Any]:
    """(x, q_hat, parameters) -> h(x) of the law of Y Y^T/L, Y = S + Z/sqrt(q_hat), for d <= L."""
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
