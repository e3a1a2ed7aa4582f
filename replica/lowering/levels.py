"""Nested averages over levels of fields -> numbers: a recursion of functions of one variable, in doubles.

At every level the field is on a line of nodes around the field outside it, so a nest of depth k would cost
nodes^k.  But a level is a function of one variable, the field outside, and where that is on a uniform lattice
the nodes around all its points are one lattice again, as fine or finer: every function is computed once at
each point of it, and averages are sums over windows that slide along, so the cost grows as k.  Where a level
is too narrow for that, the function is tabulated on a lattice of its own and interpolated.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from numpy.lib.stride_tricks import sliding_window_view

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder
from replica.expr.recursion import KINK_ARGUMENTS, KinkLevel, LogMoment, Tilted, kink_closed_form
from replica.lowering.printer import compile_kernel
from solvers.backends.float64 import Float64
from solvers.quadrature.tables import Lattice

REACH = 8.6
"""Standard deviations beyond which a Gaussian weight is below 1e-16 of its maximum."""
TABLE = 14.0
"""Points of a table per unit, or per the smoothness of a level: interpolation is then exact to 1e-13."""
_DOUBLES = Float64()


class _Scope:
    """The values of one bound field (``var``), what has been computed there, and the scope around it.

    ``spacing`` is that of a field on a uniform lattice.  The nodes around the i-th point of the field outside
    are then those from the ``stride`` i-th on; without a stride they are stored point after point.
    """

    def __init__(
        self,
        parent: _Scope | None,
        values: Mapping[sp.Symbol, Any],
        spacing: float | None = None,
        stride: int | None = None,
    ) -> None:
        self.parent = parent
        self.values = values
        self.spacing = spacing
        self.stride = stride
        self.known: dict[Any, Any] = {}
        self.inside: dict[Any, tuple[_Scope, Any]] = {}

    def holds(self, expr: sp.Basic) -> bool:
        """Whether an expression depends on the field of this scope."""
        return any(s in self.values for s in _free(expr))


@dataclass(frozen=True)
class NestedProgram:
    """Expressions of parameters, with nested averages, as a function of numbers.

    ``run(values, nodes, unit)`` takes the parameters' values and the number of nodes per ``unit``, the scale
    on which the innermost functions vary (1 for tanh), or per a level's own smoothing where that is wider.
    """

    expressions: tuple[sp.Expr, ...]
    parameters: tuple[sp.Symbol, ...]

    def run(self, values: Sequence[float], nodes: float, unit: float = 1.0) -> np.ndarray:
        """The values of the expressions."""
        root = _Scope(None, dict(zip(self.parameters, map(np.float64, values), strict=True)))
        walk = _Walk(nodes, unit)
        with np.errstate(all="ignore"):
            return np.array([float(walk.value(e, root)) for e in self.expressions])


class _Window(NamedTuple):
    """The weights of the nodes around a mean, and their logarithms: far out the weights underflow."""

    weights: np.ndarray
    logarithms: np.ndarray

    @classmethod
    def of(cls, offsets: np.ndarray, variance: float, spacing: float) -> _Window:
        """Those of a Gaussian density, times the spacing."""
        logarithms = np.log(spacing / np.sqrt(2 * np.pi * variance)) - offsets**2 / (2 * variance)
        return cls(np.exp(logarithms), logarithms)


class _Walk:
    """One evaluation at one number of nodes."""

    def __init__(self, nodes: float, unit: float) -> None:
        self.nodes = nodes
        self.unit = unit

    def value(self, expr: Any, scope: _Scope) -> Any:
        """The expression on the nodes of a scope; what does not depend on its field, in the scope around."""
        while scope.parent is not None and not scope.holds(expr):
            scope = scope.parent
        if expr not in scope.known:
            scope.known[expr] = self._compute(expr, scope)
        return scope.known[expr]

    def _compute(self, expr: Any, scope: _Scope) -> Any:
        if isinstance(expr, sp.Symbol):
            return scope.values[expr]
        if isinstance(expr, GaussianAverage | LogMoment | Tilted):
            return self._average(expr, scope)
        if isinstance(expr, KinkLevel):
            return self._kink(expr, scope)
        parts, kernel = _plan(expr)
        return kernel(_DOUBLES, *(self.value(part, scope) for part in parts))[0]

    def _kink(self, expr: KinkLevel, scope: _Scope) -> Any:
        """All derivatives at once: they share their error functions."""
        *at, in_w, in_a = expr.args
        values = _kinks()(_DOUBLES, *(self.value(part, scope) for part in at))
        known = {KinkLevel(*at, *orders): value for orders, value in zip(_ORDERS, values, strict=True)}
        scope.known.update(known)
        return known[KinkLevel(*at, in_w, in_a)]

    def _average(self, expr: Any, scope: _Scope) -> Any:
        mean = self.value(expr.mean, scope)
        variance = float(self.value(expr.variance, scope))
        if variance <= 0:
            return self.value(_at_mean(expr), scope)
        power = 0.0 if isinstance(expr, GaussianAverage) else float(self.value(expr.power, scope))
        lattice = self._lattice(expr, scope, mean, variance, power)
        if lattice is None and _tabulated(expr, scope, mean):
            table = Lattice.around(float(np.min(mean)), float(np.max(mean)), self._panel(expr, scope))
            if 2 * table.count < np.size(mean):
                key = ("table", expr.variance)
                if key not in scope.inside:
                    points: dict[Any, Any] = {expr.mean: table.nodes}
                    scope.inside[key] = (_Scope(_root(scope), points, table.spacing), table)
                return table.interpolate(np.asarray(self.value(expr, scope.inside[key][0])), mean)
        inner, window = lattice or self._inside(expr, scope, mean, variance, power)
        result = self._weighted(expr, inner, window, power)
        return result if np.ndim(mean) else result[0]

    def _weighted(self, expr: Any, inner: _Scope, window: _Window, power: float) -> np.ndarray:
        """The average over the last axis."""
        if isinstance(expr, GaussianAverage):
            return self._grid(expr.body, inner, window) @ window.weights
        key = ("weights", expr.inner, power)
        if key not in inner.known:
            inner.known[key] = _tilted(self._grid(expr.inner, inner, window), window, power)
        law, moment = inner.known[key]
        if isinstance(expr, LogMoment):
            return moment
        return np.einsum("ij,ij->i", self._grid(expr.observable, inner, window), law)

    def _spacing(self, expr: Any, scope: _Scope, variance: float, power: float) -> tuple[float, float]:
        """Nodes at most this far from each other, and how far from the mean they reach."""
        spread = np.sqrt(variance)
        reach = REACH + power * spread  # the weight moves the maximum by at most power * variance
        return min(spread, self._scale(expr, scope)) / self.nodes, reach * spread

    def _lattice(
        self, expr: Any, scope: _Scope, mean: Any, variance: float, power: float
    ) -> tuple[_Scope, _Window] | None:
        """The scope of one lattice for the nodes around every point of the field outside, and the weights in
        a window; None where the field outside is on none, or where separate nodes would be fewer.
        """
        if np.ndim(mean) and (scope.spacing is None or expr.mean not in scope.values):
            return None
        if any(np.ndim(scope.values[s]) for s in _free(expr.args[0]) if s in scope.values):
            return None
        key = ("lattice", expr.var, expr.mean, expr.variance, power)
        if key not in scope.inside:
            widest, reach = self._spacing(expr, scope, variance, power)
            means = np.atleast_1d(mean)
            stride = 1 if scope.spacing is None else max(1, int(np.ceil(scope.spacing / widest - 1e-9)))
            spacing = widest if scope.spacing is None else scope.spacing / stride
            count, last = np.ceil(reach / spacing), (means.size - 1) * stride
            if last + 2 * count > means.size * (2 * np.ceil(reach / widest) + 1):
                return None
            offsets = spacing * np.arange(-count, count + 1)
            window = _Window.of(offsets, variance, spacing)
            points = means[0] + spacing * np.arange(-count, last + count + 1)
            child = _Scope(_root(scope), {expr.var: points}, spacing, stride)
            scope.inside[key] = (child, window)
        return scope.inside[key]

    def _inside(
        self, expr: Any, scope: _Scope, mean: Any, variance: float, power: float
    ) -> tuple[_Scope, _Window]:
        """The scope of the nodes of a level, the same for all averages over one field with one weight."""
        free = _free(expr.args[0])
        others = [s for s, v in scope.values.items() if np.ndim(v) and s in free]
        key = (expr.var, expr.mean, expr.variance, power, *others)
        if key not in scope.inside:
            widest, reach = self._spacing(expr, scope, variance, power)
            count = int(np.ceil(reach / widest))
            offsets = widest * np.arange(-count, count + 1)
            window = _Window.of(offsets, variance, widest)
            points = np.asarray(mean)[..., None] + offsets
            # fields outside that the body sees are repeated along the new axis
            outer = {s: np.repeat(scope.values[s], offsets.size) for s in others}
            child = _Scope(_root(scope), {**outer, expr.var: points.ravel()})
            scope.inside[key] = (child, window)
        return scope.inside[key]

    def _panel(self, expr: Any, scope: _Scope) -> float:
        """Spacing of a table of a level, smooth on the scale of its deviation."""
        smoothing = np.sqrt(float(self.value(expr.variance, scope)))
        return float(max(self.unit, 0.7 * smoothing)) / TABLE

    def _scale(self, expr: Any, scope: _Scope) -> float:
        """How fast the body varies: on the unit, or on what the level inside has smoothed it to."""
        inside = [e for e in _levels(expr.args[0]) if e.mean == expr.var]
        spreads = [np.sqrt(max(float(self.value(e.variance, scope)), 0.0)) for e in inside]
        return max(self.unit, 0.7 * min(spreads, default=0.0))

    def _grid(self, body: Any, inner: _Scope, window: _Window) -> np.ndarray:
        values = self.value(body, inner)
        (field,) = list(inner.values.values())[-1:]
        whole = np.broadcast_to(values, np.shape(field))
        if inner.stride is None:
            return whole.reshape(-1, window.weights.size)
        return sliding_window_view(whole, window.weights.size)[:: inner.stride]


def _tilted(phi: np.ndarray, window: _Window, power: float) -> tuple[np.ndarray, np.ndarray]:
    """The weights with the factor exp(power phi), normalised, and (1/power) log of their sum, row by row."""
    spread = phi.max(axis=-1) - phi.min(axis=-1)
    if power * np.max(spread) < 1:  # log of nearly 1, over a small power
        top = phi @ window.weights
        excess = np.expm1(power * (phi - top[:, None]))
        tilted = (1 + excess) * window.weights
        moment = top + np.log1p(excess @ window.weights) / power
    else:
        exponent = power * phi + window.logarithms
        top = exponent.max(axis=-1)
        tilted = np.exp(exponent - top[:, None])
        moment = (top + np.log(tilted.sum(axis=-1))) / power
    return tilted / tilted.sum(axis=-1, keepdims=True), moment


def _root(scope: _Scope) -> _Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _tabulated(expr: Any, scope: _Scope, mean: Any) -> Any:
    """Whether a level is a function of the field outside alone, asked at many points."""
    if scope.parent is None or not isinstance(expr.mean, sp.Symbol) or np.ndim(mean) == 0:
        return None
    seen = {s for s in _free(expr) if s in scope.values}
    return True if seen == {expr.mean} else None


@lru_cache(maxsize=4096)
def _levels(body: Any) -> tuple[Any, ...]:
    """The levels in a body."""
    return tuple(e for e in sp.preorder_traversal(body) if isinstance(e, LogMoment | Tilted))


_ORDERS = ((0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1))


@lru_cache(maxsize=1)
def _kinks() -> Any:
    return compile_kernel([kink_closed_form(*orders) for orders in _ORDERS], KINK_ARGUMENTS)


def _outermost(expr: Any) -> list[Any]:
    if isinstance(expr, Binder | KinkLevel):
        return [expr]
    found: dict[Any, None] = {}
    for arg in expr.args:
        found.update(dict.fromkeys(_outermost(arg)))
    return list(found)


@lru_cache(maxsize=4096)
def _at_mean(expr: Any) -> Any:
    """An average without variance: its body at the mean."""
    body = expr.observable if isinstance(expr, Tilted) else expr.body
    return body.xreplace({expr.var: expr.mean})


@lru_cache(maxsize=4096)
def _free(expr: Any) -> tuple[Any, ...]:
    return tuple(sorted(expr.free_symbols, key=sp.default_sort_key))


@lru_cache(maxsize=4096)
def _plan(expr: Any) -> tuple[tuple[Any, ...], Any]:
    """The symbols and the averages of an expression, and what to compute from their values."""
    binders = _outermost(expr)
    names = {binder: sp.Dummy(f"average_{i}", real=True) for i, binder in enumerate(binders)}
    flat = expr.xreplace(names)
    free = tuple(s for s in _free(flat) if s not in names.values())
    return (*free, *binders), compile_kernel([flat], (*free, *names.values()))
