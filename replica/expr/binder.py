"""One binder per node: expressions that bind names in their body.

A sub-class of `Binder` has the arguments `(body, *bound, *parameters)`. The bound symbols are in scope in the
body only, never in the parameters, so conditional structure is written by nesting. SymPy's own
`ExprWithLimits` is not used: it flattens nested binders, and derivatives are then silently wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, ClassVar, cast

import sympy as sp
from sympy.core.basic import Basic


def dummy_like(symbol: sp.Symbol) -> sp.Dummy:
    """A fresh symbol with the name and the assumptions of another."""
    return sp.Dummy(symbol.name, **symbol.assumptions0)


class Binder(sp.Expr):
    """An expression that binds its first `binds` names after the body; final classes say what it means."""

    binds: ClassVar[int] = 1

    def __new__(cls, *args: Any) -> Any:
        """Sympify and check the arguments."""
        sympified = tuple(sp.sympify(arg) for arg in args)
        bound = sympified[1 : 1 + cls.binds]
        if len(bound) < cls.binds:
            raise TypeError(f"{cls.__name__} binds {cls.binds} symbols; got {len(bound)}")
        for symbol in bound:
            if not isinstance(symbol, sp.Symbol):
                raise TypeError(f"{cls.__name__} can bind a symbol only, not {symbol}")
        if len(set(bound)) < cls.binds:
            raise ValueError(f"{cls.__name__} needs distinct bound symbols, got {bound}")
        return super().__new__(cls, *sympified)

    @property
    def body(self) -> sp.Expr:
        """The expression in which the bound symbols are in scope."""
        return cast(sp.Expr, self.args[0])

    @property
    def bound_symbols(self) -> tuple[sp.Symbol, ...]:
        """The bound symbols, in the order of the arguments."""
        return cast(tuple[sp.Symbol, ...], self.args[1 : 1 + self.binds])

    @property
    def parameters(self) -> tuple[Basic, ...]:
        """The arguments outside the scope of the binder."""
        return self.args[1 + self.binds :]

    @property
    def free_symbols(self) -> set[Basic]:
        """Free symbols of the parameters, and those of the body that are not bound."""
        free: set[Basic] = set(self.body.free_symbols) - set(self.bound_symbols)
        return free.union(*(parameter.free_symbols for parameter in self.parameters))

    def renamed(self, *names: sp.Symbol) -> Any:
        """The same expression with other bound symbols (fresh ones by default).

        Safe for fresh names; a name that is free in the body is refused.
        """
        new = names or tuple(dummy_like(symbol) for symbol in self.bound_symbols)
        clash = (set(self.body.free_symbols) - set(self.bound_symbols)) & set(new)
        if clash:
            raise ValueError(f"{clash} would be captured in {self}")
        body: Basic = self.body
        old = self.bound_symbols
        if set(old) & set(new):  # names change places: by way of fresh ones
            step = tuple(dummy_like(symbol) for symbol in old)
            for before, after in zip(old, step, strict=True):
                body = body._subs(before, after)
            old = step
        for before, after in zip(old, new, strict=True):
            body = body._subs(before, after)
        return self.func(body, *new, *self.parameters)

    def _eval_subs(self, old: Any, new: Any) -> Any:
        """Substitute in the free occurrences only; rename the bound symbols if `new` would be captured."""
        parameters = [parameter._subs(old, new) for parameter in self.parameters]
        bound = set(self.bound_symbols)
        # An `old` that contains a bound name speaks of the outer one: it does not occur in the body.
        if isinstance(old, Basic) and old.free_symbols & bound:
            return self.func(self.body, *self.bound_symbols, *parameters)
        node = self
        if isinstance(new, Basic) and new.free_symbols & bound:
            node = self.renamed()
        return self.func(node.body._subs(old, new), *node.bound_symbols, *parameters)

    def _xreplace(self, rule: Mapping[Any, Any]) -> tuple[Any, bool]:
        """Exact replacement that does not capture: `subs(..., simultaneous=True)` ends with it.

        A rule for a bound symbol itself renames the binder, as everywhere in SymPy.
        """
        if self in rule:
            return rule[self], True
        bound = set(self.bound_symbols)
        incoming: set[Basic] = set()
        for old, new in rule.items():
            if old not in bound and isinstance(new, Basic):
                incoming |= new.free_symbols
        if incoming & bound and not bound & set(rule):
            return self.renamed()._xreplace(rule)
        return super()._xreplace(rule)

    @property
    def canonical_variables(self) -> dict[sp.Symbol, sp.Symbol]:
        """Names `_0`, `_1`, ... for the bound symbols that no symbol in the body uses, free or bound.

        Inner binders are named first, so an outer one never takes the name of an inner one.
        """
        used = {symbol.name for symbol in self.body.atoms(sp.Symbol) - set(self.bound_symbols)}
        free_names = (f"_{k}" for k in count() if f"_{k}" not in used)
        return {s: sp.Symbol(name, **s.assumptions0) for s, name in zip(self.bound_symbols, free_names)}  # noqa: B905

    def as_dummy(self) -> Any:
        """The representative of the alpha-equivalence class: a cache key (see `canonical`)."""
        return canonical(self)

    def _eval_is_commutative(self) -> bool | None:
        return self.body.is_commutative


def canonical(expr: Any) -> Any:
    """Rename all bound symbols by nesting height, so that alpha-equivalent expressions become equal.

    >>> from sympy import Symbol
    >>> from replica.expr import GaussianAverage
    >>> x, z = Symbol("x", real=True), Symbol("z", real=True)
    >>> canonical(GaussianAverage(x**4, x, 0, 1)) == canonical(GaussianAverage(z**4, z, 0, 1))
    True
    """
    if not isinstance(expr, Basic) or not expr.args:
        return expr
    if isinstance(expr, Binder):
        # Fresh names first: a bound symbol that is itself called `_0` must not steer the inner names.
        node = expr.renamed(*(sp.Dummy("bound", **symbol.assumptions0) for symbol in expr.bound_symbols))
        parameters = [canonical(parameter) for parameter in node.parameters]
        inner = node.func(canonical(node.body), *node.bound_symbols, *parameters)
        names = inner.canonical_variables
        return inner.renamed(*(names[symbol] for symbol in inner.bound_symbols))
    args = [canonical(arg) for arg in expr.args]
    return expr if all(a is b for a, b in zip(args, expr.args, strict=True)) else expr.func(*args)


def free_subexpressions(expr: Basic, bound: frozenset[Any] = frozenset()) -> Iterator[Basic]:
    """Pre-order walk over the sub-expressions that contain no symbol bound above them."""
    if not expr.free_symbols & bound:
        yield expr
    if isinstance(expr, Binder):
        yield from free_subexpressions(expr.body, bound | set(expr.bound_symbols))
        for parameter in expr.parameters:
            yield from free_subexpressions(parameter, bound)
        return
    for arg in expr.args:
        yield from free_subexpressions(arg, bound)


def evaluate_inside(expr: Any, **hints: Any) -> Any:
    """Evaluate the binders and derivatives in an expression, leaving named functions by name."""
    if isinstance(expr, Binder | sp.Derivative | sp.Integral | sp.Subs):
        return expr.doit(**hints)
    if not isinstance(expr, Basic) or not expr.args:
        return expr
    args = [evaluate_inside(arg, **hints) for arg in expr.args]
    return expr if all(a is b for a, b in zip(args, expr.args, strict=True)) else expr.func(*args)
