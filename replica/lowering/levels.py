"""Nested averages over levels of fields -> numbers: a recursion of functions of one variable, in doubles.

At every level the field is on a line of nodes around the field outside it, so a nest of depth k would cost
nodes^k.  A level is a function of one variable, the field outside: where that is asked at more points than it
takes to tabulate the function, it is tabulated (Chebyshev nodes on short panels) and interpolated, so the
cost grows as k.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder
from replica.expr.recursion import KINK_ARGUMENTS, KinkLevel, LogMoment, Tilted, kink_closed_form
from replica.lowering.printer import compile_kernel
from solvers.backends.float64 import Float64
from solvers.quadrature.panels import Panels

REACH = 8.6
"""Standard deviations beyond which a Gaussian weight is below 1e-16 of its maximum."""
_DOUBLES = Float64()


class _Scope:
    """The values of one bound field (``var``), what has been computed there, and the scope around it."""

    def __init__(self, parent: _Scope | None, values: Mapping[sp.Symbol, Any]) -> None:
        self.parent = parent
        self.values = values
        self.known: dict[Any, Any] = {}
        self.inside: dict[Any, tuple[_Scope, np.ndarray]] = {}

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
        table = _tabulated(expr, scope, mean)
        if table is not None:
            panels = Panels.over(float(np.min(mean)), float(np.max(mean)), self._panel(expr, scope))
            if 2 * panels.nodes.size < np.size(mean):
                key = ("table", expr.mean)
                if key not in scope.inside:
                    scope.inside[key] = (_Scope(scope.parent, {expr.mean: panels.nodes}), panels.nodes)
                found = self.value(expr, scope.inside[key][0])
                return panels.interpolate(np.asarray(found), mean)
        power = 0.0 if isinstance(expr, GaussianAverage) else float(self.value(expr.power, scope))
        inner, weights = self._inside(expr, scope, mean, variance, power)
        result = self._weighted(expr, inner, weights, power)
        return result if np.ndim(mean) else result[0]

    def _weighted(self, expr: Any, inner: _Scope, weights: np.ndarray, power: float) -> np.ndarray:
        """The average over the last axis."""
        if isinstance(expr, GaussianAverage):
            return self._grid(expr.body, inner, weights) @ weights
        phi = power * self._grid(expr.inner, inner, weights)
        top = phi.max(axis=-1, keepdims=True)
        tilted = np.exp(phi - top) * weights
        total = tilted.sum(axis=-1)
        if isinstance(expr, LogMoment):
            return (top[..., 0] + np.log(total)) / power
        return (self._grid(expr.observable, inner, weights) * tilted).sum(axis=-1) / total

    def _inside(
        self, expr: Any, scope: _Scope, mean: Any, variance: float, power: float
    ) -> tuple[_Scope, np.ndarray]:
        """The scope of the nodes of a level, the same for all averages over one field with one weight."""
        free = _free(expr.args[0])
        others = [s for s, v in scope.values.items() if np.ndim(v) and s in free]
        key = (expr.var, expr.mean, expr.variance, power, *others)
        if key not in scope.inside:
            spread = np.sqrt(variance)
            reach = REACH + power * spread  # the weight moves the maximum by at most power * variance
            density = self.nodes * max(1.0, spread / self._scale(expr, scope))
            count = int(np.ceil(reach * density))
            z = np.arange(-count, count + 1) / density
            weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / density
            points = np.asarray(mean)[..., None] + spread * z
            # fields outside that the body sees are repeated along the new axis
            outer = {s: np.repeat(scope.values[s], z.size) for s in others}
            child = _Scope(_root(scope), {**outer, expr.var: points.ravel()})
            scope.inside[key] = (child, weights)
        return scope.inside[key]

    def _panel(self, expr: Any, scope: _Scope) -> float:
        """Width of a panel on which a level is a polynomial to rounding."""
        smoothing = np.sqrt(float(self.value(expr.variance, scope)))
        return float(max(self.unit, 0.7 * smoothing))

    def _scale(self, expr: Any, scope: _Scope) -> float:
        """How fast the body varies: on the unit, or on what the level inside has smoothed it to."""
        inside = [e for e in _levels(expr.args[0]) if e.mean == expr.var]
        spreads = [np.sqrt(max(float(self.value(e.variance, scope)), 0.0)) for e in inside]
        return max(self.unit, 0.7 * min(spreads, default=0.0))

    def _grid(self, body: Any, inner: _Scope, weights: np.ndarray) -> np.ndarray:
        values = self.value(body, inner)
        (field,) = list(inner.values.values())[-1:]
        return np.broadcast_to(values, np.shape(field)).reshape(-1, weights.size)


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
