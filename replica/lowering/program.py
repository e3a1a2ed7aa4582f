"""Expressions with averages -> a program that runs on any backend.

Averages are evaluated from the outside in: the outermost ones become blocks (nodes, weights and a lowered
body), what is left is straight-line code.  A bound variable never leaves its block, so shared subexpressions
cannot be lifted out of an average. Averages over the same law, or over the same Gaussian, share their nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.spectral import SpectralIntegral, unfold_parts
from replica.lowering.printer import LoweringError, compile_kernel
from solvers.quadrature.rules import gaussian_line, nested_sum
from solvers.quadrature.spectral import integrate, spectral_nodes

Kernel = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Values:
    """What a program returns: the values and the estimated quadrature error of each block (float64)."""

    values: tuple[Any, ...]
    error: Any


@dataclass(frozen=True)
class _GaussianBlock:
    parameters: Program  # -> mean, variance
    bodies: Program  # arguments + the bound variable
    counted: tuple[bool, ...]  # whose quadrature error counts

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        (mean, variance), error = _unpack(self.parameters.run(backend, level, arguments))
        line = gaussian_line(backend, level)
        x = _column(backend, mean) + _column(backend, backend.sqrt(variance)) * line.nodes
        inner = self.bodies.run(backend, level, [*(_column(backend, a) for a in arguments), x])
        sums = [nested_sum(backend, _spread(backend.array(v), x.shape) * line.weights) for v in inner.values]
        carried = (_spread(inner.error, x.shape) * backend.to_float(line.weights)).sum(axis=-1)
        return Values(tuple(s.value for s in sums), _worst(error, carried, *_errors(sums, self.counted)))


@dataclass(frozen=True)
class _SpectralBlock:
    coefficients: Kernel
    branch: Kernel
    nonnegative: bool
    bodies: Program  # arguments + x + g
    counted: tuple[bool, ...]

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        nodes = spectral_nodes(
            backend,
            level,
            lambda *a: self.coefficients(backend, *a),
            lambda *a: self.branch(backend, *a),
            self.nonnegative,
            arguments,
        )
        at = [
            np.broadcast_to(backend.array(a), nodes.batch).reshape(-1)[nodes.owner][:, None]
            for a in arguments
        ]
        inner = self.bodies.run(backend, level, [*at, nodes.x, nodes.g])
        sums = [
            integrate(backend, nodes, np.broadcast_to(backend.array(v), nodes.x.shape)) for v in inner.values
        ]
        return Values(tuple(s.value for s in sums), _worst(np.max(inner.error), *_errors(sums, self.counted)))


@dataclass(frozen=True)
class Program:
    """Lowered expressions; ``run(backend, level, arguments)`` evaluates them at quadrature step 2^-level.

    Arguments are scalars or arrays that broadcast together; so are the values.
    """

    blocks: tuple[_GaussianBlock | _SpectralBlock, ...]
    kernel: Kernel
    sensitivity: Kernel  # -> d(value)/d(average), average by average, value by value

    @property
    def depth(self) -> int:
        """How many averages are nested: nodes per point grow with this power."""
        return max((1 + block.bodies.depth for block in self.blocks), default=0)

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        """Values and quadrature error; the caller has entered ``backend.context()``."""
        shape = np.broadcast_shapes(*(np.shape(a) for a in arguments))
        placeholders: list[Any] = []
        owners: list[Any] = []
        for block in self.blocks:
            result = block.run(backend, level, arguments)
            placeholders.extend(result.values)
            owners.extend([result.error] * len(result.values))
        values = self.kernel(backend, *arguments, *placeholders)
        if not owners:
            return Values(values, np.zeros(shape))
        with np.errstate(all="ignore"):
            slopes = self.sensitivity(backend, *arguments, *placeholders)
            passed = [_size(backend, d) * owners[k % len(owners)] for k, d in enumerate(slopes)]
        totals = [sum(passed[k : k + len(owners)]) for k in range(0, len(passed), len(owners))]
        return Values(values, np.nan_to_num(_worst(np.zeros(shape), *totals), nan=np.inf))


def _size(backend: Any, value: Any) -> Any:
    return np.abs(backend.to_float(backend.array(value)))


def _unpack(values: Values) -> tuple[tuple[Any, ...], Any]:
    return values.values, values.error


def _errors(sums: Sequence[Any], counted: Sequence[bool]) -> list[Any]:
    return [s.error if c else 0.0 * s.error for s, c in zip(sums, counted, strict=True)]


def _worst(*errors: Any) -> Any:
    """Elementwise maximum over the batch; the error of an inner average counts at its worst node."""
    shape = min((np.shape(e) for e in errors if np.ndim(e)), key=len, default=())
    worst = np.zeros(shape)
    for e in errors:
        reduced = np.asarray(e, dtype=float)
        while reduced.ndim > len(shape):
            reduced = reduced.max(axis=-1)
        worst = np.maximum(worst, reduced)
    return worst


def _spread(values: Any, shape: tuple[int, ...]) -> Any:
    """Values at the nodes; a body may depend on arguments (a batch, an outer average) that the nodes do not
    depend on.
    """
    return np.broadcast_to(values, np.broadcast_shapes(np.shape(values), shape))


def _column(backend: Any, value: Any) -> Any:
    return backend.array(value)[..., None]


def lower(
    expressions: Sequence[sp.Expr], arguments: Sequence[sp.Symbol], auxiliary: Sequence[sp.Expr] = ()
) -> Program:
    """Lower expressions in the given arguments; the ``auxiliary`` ones follow them in the values.

    Auxiliary expressions (the derivatives that steer a Newton step) share the nodes, but their quadrature
    error does not count: a derivative has a square-root singularity at the moving edges of a spectrum, and
    half the digits.

    Raises
    ------
    LoweringError
        An inexact literal, a node without a lowering (a leftover DiracDelta, say) or a free symbol that is no
        argument.
    """
    primary = {b for e in expressions for b in _outermost(unfold_parts(sp.sympify(e)))}
    expressions = [unfold_parts(sp.sympify(e)) for e in (*expressions, *auxiliary)]
    outermost = [b for e in expressions for b in _outermost(e)]
    groups: dict[Any, list[sp.Expr]] = {}
    for binder in dict.fromkeys(outermost):
        groups.setdefault(_group_key(binder), []).append(binder)
    blocks = []
    placeholders: dict[sp.Expr, sp.Symbol] = {}
    for members in groups.values():
        placeholders.update((b, sp.Dummy("average", real=True)) for b in members)
        build = _spectral_block if isinstance(members[0], SpectralIntegral) else _gaussian_block
        blocks.append(build(members, arguments, tuple(m in primary for m in members)))
    flat = [_replace(e, placeholders) for e in expressions]
    names = [*arguments, *placeholders.values()]
    counts = len(expressions) - len(auxiliary)
    return Program(
        tuple(blocks), compile_kernel(flat, names), _sensitivity(flat[:counts], names, placeholders)
    )


def _sensitivity(flat: Sequence[Any], names: Sequence[Any], placeholders: dict[sp.Expr, sp.Symbol]) -> Kernel:
    """How an error of an average passes to the values: 1/q_hat - I/q_hat^2 divides that of I by q_hat^2.

    A derivative that cannot be lowered counts as 1.
    """
    if not placeholders:
        return lambda *_: ()
    try:
        return compile_kernel([e.diff(p) for e in flat for p in placeholders.values()], names)
    except LoweringError:
        ones = [sp.S.One if e.has(p) else sp.S.Zero for e in flat for p in placeholders.values()]
        return compile_kernel(ones, names)


def _outermost(expr: sp.Basic) -> list[sp.Expr]:
    if isinstance(expr, GaussianAverage | SpectralIntegral):
        return [expr]
    return [b for a in expr.args for b in _outermost(a)]


def _replace(expr: Any, placeholders: dict[sp.Expr, sp.Symbol]) -> Any:
    if expr in placeholders:
        return placeholders[expr]
    if not expr.args or not expr.has(GaussianAverage, SpectralIntegral):
        return expr
    return expr.func(*(_replace(a, placeholders) for a in expr.args))


def _group_key(binder: sp.Expr) -> Any:
    if isinstance(binder, SpectralIntegral):
        return binder.law
    return binder.args[2:]  # mean and variance


def _gaussian_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> _GaussianBlock:
    _, _, mean, variance = members[0].args
    x = sp.Dummy("x", real=True)
    bodies = [m.args[0].subs(m.args[1], x) for m in members]
    return _GaussianBlock(lower([mean, variance], arguments), lower(bodies, [*arguments, x]), counted)


def _spectral_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> _SpectralBlock:
    law: Any = members[0].args[3]
    x, g = sp.Dummy("x", positive=True), sp.Dummy("g")
    bodies = [m.args[0].subs({m.args[1]: x, m.args[2]: g}, simultaneous=True) for m in members]
    z = law.bound_symbols[0]
    return _SpectralBlock(
        compile_kernel(law.coefficients(), [z, *arguments]),
        compile_kernel(law.branch_polynomial, list(arguments)),
        law.nonnegative,
        lower(bodies, [*arguments, x, g]),
        counted,
    )
