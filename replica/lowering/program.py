"""Expressions with averages -> a program that runs on any backend.

Averages are evaluated from the outside in: the outermost ones become blocks (nodes, weights and a lowered
body), what is left is straight-line code.  A bound variable never leaves its block, so shared subexpressions
cannot be lifted out of an average. Averages over the same law, or over the same Gaussian, share their nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage, MixedOutputs, OutputSum
from replica.expr.logsum import without_cancellation
from replica.expr.spectral import SpectralIntegral, unfold_parts
from replica.lowering.jets import output_average
from replica.lowering.outputs import FINEST as FINEST_OUTPUTS
from replica.lowering.outputs import OutputsBlock, outputs_block
from replica.lowering.parity import is_even
from replica.lowering.printer import LoweringError, compile_kernel
from replica.lowering.switches import decay_scales, switches_of
from solvers.problem import FINEST, TYPICAL
from solvers.quadrature.clustered import Clustering
from solvers.quadrature.lines import GaussianLine, OutputLine, position_noise, series_rest
from solvers.quadrature.rules import nested_sum
from solvers.quadrature.spectral import integrate, spectral_nodes

Kernel = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Values:
    """What a program returns: the values and the estimated quadrature error of each block (float64)."""

    values: tuple[Any, ...]
    error: Any


NODES = 2**15
"""How many nodes are evaluated at a time: with a hundred temporary arrays, some tens of megabytes."""

ALIKE = 1.5
"""By which factor numbers of nodes that hold an average each may differ in one batch."""

FINER, DIGITS_A_LEVEL = 3, 4
"""By how many levels an average inside another may be refined alone, and for how many digits of the sum."""

PADDING = 2000
"""Nodes that a piece of a batch may evaluate in vain, so that its elements have as many as the most: what the
overhead of one more piece costs.
"""

FINEST_NESTED = 8
"""Highest level of nested averages: a million nodes a point."""
FINESTS = (FINEST, FINEST, FINEST_NESTED, 5)
"""Highest level by the number of averages in one another."""

COARSER = 1
"""Line rules have step 2^-(level - COARSER): where the body is smooth, 46 nodes give ten digits."""


@dataclass(frozen=True)
class _LineBlock:
    """Averages over one Gaussian, or integrals over one output, with nodes clustered where bodies switch."""

    parameters: Program  # -> what places the nodes
    switches: Program  # -> centre, width, centre, width, ...
    geometry: GaussianLine | OutputLine
    bodies: Program  # arguments + the bound variable
    counted: tuple[bool, ...]  # whose quadrature error counts: the first ones

    @property
    def depth(self) -> int:
        return 1 + self.bodies.depth

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        batch = _batch(arguments)
        flat = [_flatten(a, batch) for a in arguments]
        size = math.prod(batch)
        placed, switches = (p.run(backend, level, flat) for p in (self.parameters, self.switches))
        maps, shift, scale = self.geometry.maps(
            backend, level, *(_rows(backend, found.values, (size,)) for found in (placed, switches))
        )
        pieces = self._pieces(maps.panels(level - COARSER) + 1)
        if len(pieces) == 1:
            columns = self._piece(backend, level, maps, shift, scale, flat)
        else:
            parts = [
                self._piece(backend, level, maps[some], shift[some], scale[some], _some(flat, some))
                for some in pieces
            ]
            back = np.argsort(np.concatenate(pieces))
            columns = [np.concatenate(column)[back] for column in zip(*parts, strict=True)]
        error = np.maximum(columns[-1], placed.error)
        return Values(tuple(c.reshape(batch) for c in columns[:-1]), error.reshape(batch))

    def _pieces(self, sizes: Any) -> list[Any]:
        """The elements of a batch, in increasing order of their nodes, in pieces that are evaluated together:
        each element with as many nodes as the last of its piece.
        """
        order = np.argsort(sizes, kind="stable")
        ordered, nested = sizes[order].tolist(), self.depth > 1
        cuts, start, padding = [], 0, 0
        for k in range(1, len(ordered)):
            padding += (k - start) * (ordered[k] - ordered[k - 1])
            # each node may cost an average
            unlike = ordered[k] > ALIKE * ordered[start] if nested else padding > PADDING
            if unlike or (k + 1 - start) * ordered[k] > NODES:
                cuts.append(k)
                start, padding = k, 0
        return np.split(order, cuts) if cuts else [order]

    def _piece(
        self, backend: Any, level: int, maps: Clustering, shift: Any, scale: Any, arguments: Sequence[Any]
    ) -> tuple[Any, ...]:
        t, weights = maps.line(backend, level - COARSER)
        weights = self.geometry.weighted(backend, t, weights)
        x = _column(backend, shift) + _column(backend, scale) * t
        at = [*(_column(backend, a) for a in arguments), x]
        inner = self.bodies.run(backend, level, at)
        values = _rows(backend, inner.values, x.shape)
        inside = np.zeros(1)
        if self.bodies.blocks:
            sizes = np.abs(backend.to_float(weights))
            inside = self._refined(backend, level, at, sizes, values, np.array(_spread(inner.error, x.shape)))
        terms = values * weights
        sums = nested_sum(backend, terms, 0)
        first = sum(self.counted)
        noise = position_noise(backend, x, values[:first], weights)
        doubts = sums.error[:first] + self.geometry.tail(backend, terms[:first]) + noise
        return (*sums.value, np.maximum(doubts.max(axis=0, initial=0.0), inside))

    def _refined(
        self, backend: Any, level: int, at: Sequence[Any], weights: Any, values: Any, errors: Any
    ) -> Any:
        """What the averages inside add to the error; those that add too much are evaluated, in ``values``, at
        higher levels: few nodes, beside which all others have their digits.
        """
        first = sum(self.counted)
        share = 10.0 ** -min(DIGITS_A_LEVEL * (level - 2), backend.digits - 2)
        for finer in range(level + 1, level + 1 + (FINER if level >= TYPICAL else 0)):
            size = np.abs(backend.to_float(values[:first])).max(axis=0, initial=0.0)
            allowed = share * (size * weights).sum(axis=-1, keepdims=True)
            worst = errors * weights > allowed / weights.shape[-1]
            if not worst.any():
                break
            some = [np.broadcast_to(a, worst.shape)[worst] if np.ndim(a) else a for a in at]
            better = self.bodies.run(backend, finer, some)
            values[:, worst] = _rows(backend, better.values, some[-1].shape)
            errors[worst] = better.error
        return (errors * weights).sum(axis=-1)


@dataclass(frozen=True)
class _CountBlock:
    """Sums over y = first, first + 1, ...: 2^(level + 3) terms; the last two tell the rest."""

    first: int
    bodies: Program
    counted: tuple[bool, ...]

    @property
    def depth(self) -> int:
        return 1 + self.bodies.depth

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        y = np.array([backend.rational(self.first + k, 1) for k in range(2 ** (level + 3))])
        inner = self.bodies.run(backend, level, [*(_column(backend, a) for a in arguments), y])
        values, errors = [], [_spread(inner.error, y.shape).sum(axis=-1)]
        for body, counted in zip(inner.values, self.counted, strict=True):
            terms = _spread(backend.array(body), y.shape)
            values.append(terms.sum(axis=-1))
            if counted:
                errors.append(series_rest(backend, terms))
        return Values(tuple(values), _worst(*errors))


@dataclass(frozen=True)
class _Sum:
    """A sum over finitely many outputs, written out."""

    terms: Program

    @property
    def depth(self) -> int:
        return self.terms.depth

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        return self.terms.run(backend, level, arguments)


@dataclass(frozen=True)
class _SpectralBlock:
    coefficients: Kernel
    branch: Kernel
    nonnegative: bool
    bodies: Program  # arguments + x + g
    counted: tuple[bool, ...]

    @property
    def depth(self) -> int:
        return 1 + self.bodies.depth

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

    blocks: tuple[_LineBlock | OutputsBlock | _CountBlock | _Sum | _SpectralBlock, ...]
    kernel: Kernel
    sensitivity: Kernel  # -> d(value)/d(average), average by average, value by value

    @cached_property
    def depth(self) -> int:
        """How many averages are nested: nodes per point grow with this power."""
        return max((block.depth for block in self.blocks), default=0)

    @property
    def finest(self) -> int:
        """The last level at which a double gains anything."""
        if any(isinstance(block, OutputsBlock) for block in self.blocks):
            return FINEST_OUTPUTS
        return FINESTS[min(self.depth, len(FINESTS) - 1)]

    def run(self, backend: Any, level: int, arguments: Sequence[Any]) -> Values:
        """Values and quadrature error; the caller has entered ``backend.context()``."""
        shape = _batch(arguments)
        if not self.blocks:
            return Values(self.kernel(backend, *arguments), np.zeros(shape))
        placeholders: list[Any] = []
        owners: list[Any] = []
        for block in self.blocks:
            result = block.run(backend, level, arguments)
            placeholders.extend(result.values)
            owners.extend([result.error] * len(result.values))
        values = self.kernel(backend, *arguments, *placeholders)
        with np.errstate(all="ignore"):
            slopes = self.sensitivity(backend, *arguments, *placeholders)
            passed = [_size(backend, d) * owners[k % len(owners)] for k, d in enumerate(slopes)]
        totals = [sum(passed[k : k + len(owners)]) for k in range(0, len(passed), len(owners))]
        error = _worst(np.zeros(shape), *totals)
        return Values(values, np.where(np.isnan(error), np.inf, error))


def _size(backend: Any, value: Any) -> Any:
    return np.abs(backend.to_float(backend.array(value)))


def _errors(sums: Sequence[Any], counted: Sequence[bool]) -> list[Any]:
    return [s.error if c else 0.0 * s.error for s, c in zip(sums, counted, strict=True)]


def _worst(*errors: Any) -> Any:
    """Elementwise maximum over the batch; the error of an inner average counts at its worst node."""
    shape = min((np.shape(e) for e in errors if np.ndim(e)), key=len, default=())
    worst = np.zeros(shape)
    for e in errors:
        if np.shape(e) == shape:
            worst = np.maximum(worst, e)
            continue
        reduced = np.asarray(e, dtype=float)
        while reduced.ndim > len(shape):
            reduced = reduced.max(axis=-1)
        worst = np.maximum(worst, reduced)
    return worst


def _spread(values: Any, shape: tuple[int, ...]) -> Any:
    """Values at the nodes; a body may depend on arguments (a batch, an outer average) that the nodes do not
    depend on.
    """
    if np.shape(values) == shape:
        return values
    return np.broadcast_to(values, np.broadcast_shapes(np.shape(values), shape))


def _batch(arguments: Sequence[Any]) -> tuple[int, ...]:
    """The shape of what arrays and numbers broadcast to."""
    shapes = {getattr(a, "shape", ()) for a in arguments} - {()}
    return np.broadcast_shapes(*shapes) if len(shapes) > 1 else next(iter(shapes), ())


def _flatten(value: Any, batch: tuple[int, ...]) -> Any:
    """A number, or an array of shape (size of the batch,)."""
    if not isinstance(value, np.ndarray):
        return value
    if value.size == 1:
        return value.reshape(())[()]
    return (value if value.shape == batch else np.broadcast_to(value, batch)).reshape(-1)


def _rows(backend: Any, values: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Values in one array, each of them spread over that shape."""
    kind = object
    if backend.name == "float64":
        kind = complex if any(np.iscomplexobj(v) for v in values) else float
    rows = np.empty((len(values), *shape), dtype=kind)
    for row, value in zip(rows, values, strict=True):
        row[...] = value
    return rows


def _some(values: Sequence[Any], index: Any) -> list[Any]:
    """Some elements of each; a number is that of all."""
    return [v if np.ndim(v) == 0 else v[index] for v in values]


def _column(backend: Any, value: Any) -> Any:
    """One row for each element of the batch; of one element a number, on which all is quicker."""
    array = backend.array(value)
    return array.reshape(())[()] if array.size == 1 else array[..., None]


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
    primary = {b for e in expressions for b in _outermost(_unfolded(e))}
    expressions = [_unfolded(e) for e in (*expressions, *auxiliary)]
    outermost = [b for e in expressions for b in _outermost(e)]
    groups: dict[Any, list[sp.Expr]] = {}
    for binder in dict.fromkeys(outermost):
        groups.setdefault(_group_key(binder), []).append(binder)
    blocks = []
    placeholders: dict[sp.Expr, sp.Symbol] = {}
    for key, unordered in groups.items():
        members = sorted(unordered, key=lambda m: m not in primary)  # the counted ones first
        placeholders.update((b, sp.Dummy("average", real=True)) for b in members)
        blocks.append(_BUILDERS[key[0]](members, arguments, tuple(m in primary for m in members)))
    flat = [without_cancellation(_replace(e, placeholders)) for e in expressions]
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


_AVERAGES = (GaussianAverage, OutputSum, SpectralIntegral)


def _unfolded(expr: Any) -> Any:
    """Real and imaginary parts resolved, and outputs of several kinds as a sum of integrals."""
    mixed = [t for t in sp.sympify(expr).atoms(OutputSum) if isinstance(t.outputs, MixedOutputs)]
    return unfold_parts(sp.sympify(expr).xreplace({t: sp.Add(*t.parts()) for t in mixed}))


def _outermost(expr: sp.Basic) -> list[sp.Expr]:
    if isinstance(expr, _AVERAGES):
        return [expr]
    return [b for a in expr.args for b in _outermost(a)]


def _replace(expr: Any, placeholders: dict[sp.Expr, sp.Symbol]) -> Any:
    if expr in placeholders:
        return placeholders[expr]
    if not expr.args or not expr.has(*_AVERAGES):
        return expr
    return expr.func(*(_replace(a, placeholders) for a in expr.args))


def _group_key(binder: Any) -> Any:
    if isinstance(binder, SpectralIntegral):
        return ("spectral", binder.law)
    if isinstance(binder, GaussianAverage):
        found = output_average(binder)
        return ("gaussian", binder.mean, binder.variance) if found is None else ("unbounded", *found.law)
    outputs = binder.outputs
    if isinstance(outputs, sp.FiniteSet):
        return ("finite", outputs)
    return ("count" if outputs.is_iterable else "outputs", outputs)


def _bodies(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], x: sp.Symbol, counted: tuple[bool, ...]
) -> tuple[list[sp.Expr], Program]:
    """The bodies in one variable, and their program; errors that do not count outside do not inside."""
    bodies = [_unfolded(m.args[0].subs(m.args[1], x)) for m in members]
    first = sum(counted)
    return bodies, lower(bodies[:first], [*arguments, x], auxiliary=bodies[first:])


def _switches(bodies: list[sp.Expr], x: sp.Symbol, arguments: Sequence[sp.Symbol]) -> Program:
    """Where the bodies switch; a place that cannot be lowered is left out."""
    found: list[sp.Expr] = []
    for switch in switches_of(bodies, x):
        try:
            compile_kernel(list(switch), list(arguments))
        except LoweringError:
            continue
        found.extend(switch)
    return lower(found, arguments)


def _gaussian_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> _LineBlock:
    _, _, mean, variance = members[0].args
    x = sp.Dummy("x", real=True)
    bodies, program = _bodies(members, arguments, x, counted)
    even = mean.is_zero is True and is_even(program, len(arguments))
    even = even and all(s.centre.is_zero for s in switches_of(bodies, x))
    return _LineBlock(
        lower([mean, variance], arguments),
        _switches(bodies, x, arguments),
        GaussianLine(even),
        program,
        counted,
    )


def _unbounded_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> OutputsBlock | _LineBlock:
    forms = [form for m in members if (form := output_average(m)) is not None]
    return outputs_block(forms, arguments, counted) or _gaussian_block(members, arguments, counted)


def _output_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> _LineBlock:
    outputs = members[0].outputs
    y = sp.Dummy("y", real=True)
    bodies, program = _bodies(members, arguments, y, counted)
    ends = [end if end.is_finite else sp.S.Zero for end in (outputs.inf, outputs.sup)]
    scales = [part for scale in decay_scales(bodies, y) for part in scale]
    return _LineBlock(
        lower([*ends, *scales], arguments),
        _switches(bodies, y, arguments),
        OutputLine(bool(outputs.inf.is_finite), bool(outputs.sup.is_finite)),
        program,
        counted,
    )


def _finite_block(members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]) -> _Sum:
    values = sorted(members[0].outputs.args, key=sp.default_sort_key)
    sums = [sp.Add(*(m.args[0].subs(m.args[1], value) for value in values)) for m in members]
    first = sum(counted)
    return _Sum(lower(sums[:first], arguments, auxiliary=sums[first:]))


def _count_block(
    members: Sequence[Any], arguments: Sequence[sp.Symbol], counted: tuple[bool, ...]
) -> _CountBlock:
    _, program = _bodies(members, arguments, sp.Dummy("y", integer=True, nonnegative=True), counted)
    return _CountBlock(int(members[0].outputs.inf), program, counted)


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


_BUILDERS: dict[str, Callable[..., Any]] = {
    "spectral": _spectral_block,
    "gaussian": _gaussian_block,
    "unbounded": _unbounded_block,
    "outputs": _output_block,
    "finite": _finite_block,
    "count": _count_block,
}
