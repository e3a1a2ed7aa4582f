r"""Infinitely many levels: integrals over the overlap, and the free entropy that flows from level to level.

With infinitely many steps of replica symmetry breaking the levels are the overlaps q in [q_min, 1], and what
sizes of blocks become is a nondecreasing function x(q).  ``OverlapIntegral`` is an integral over q; ``Flow``
is phi(q, w), the free entropy of a site in the field w that it shares with replicas of overlap q.  Where x is
constant one level is a Gaussian average (``LogMoment``); ``thin_level`` is the limit of a thin one.  G.
Parisi, J. Phys. A 13 (1980) 1101.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mpmath
import sympy as sp
from mpmath.libmp import prec_to_dps
from sympy.printing.precedence import PRECEDENCE

from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.recursion import LogMoment, Tilted


class OverlapIntegral(Binder):
    """int_lower^upper body dq. Args: body, q, lower, upper.

    >>> q, a = sp.symbols("q a")
    >>> OverlapIntegral(q**2, q, a, 1).diff(a)
    -a**2
    """

    binds = 1
    is_commutative = True
    is_real = True
    precedence = PRECEDENCE["Mul"]

    @property
    def var(self) -> sp.Symbol:
        """The overlap."""
        return self.bound_symbols[0]

    @property
    def lower(self) -> sp.Expr:
        """Lower end."""
        return self.parameters[0]

    @property
    def upper(self) -> sp.Expr:
        """Upper end."""
        return self.parameters[1]

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        if s == self.var:
            return self.renamed()._eval_derivative(s)
        slope = self.body.diff(s)
        inside = sp.S.Zero if slope == 0 else self.func(slope, *self.args[1:])
        ends = (
            sign * self.body.subs(self.var, end) * end.diff(s)
            for sign, end in ((1, self.upper), (-1, self.lower))
            if end.diff(s) != 0
        )
        return sp.Add(inside, *ends)

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        """Piece by piece between the jumps of step functions."""
        if self.free_symbols or self.has(sp.core.function.AppliedUndef):
            return None
        low, high = self.parameters
        pieces = (
            _on_piece(on_interval(self.body, self.var, (a + b) / 2), self.var, a, b, prec)
            for a, b in pairwise([low, *self._jumps(low, high), high])
        )
        return sp.N(sp.Add(*pieces), prec_to_dps(prec))

    def _jumps(self, low: Any, high: Any) -> list[Any]:
        """Where the step functions in the body jump."""
        found = {c.rhs for c in self.body.atoms(sp.core.relational.Relational) if c.rhs.is_number}
        return sorted(j for j in found if low < j < high)

    def from_symbol(self, inside: Any) -> sp.Expr:
        """Of polynomial pieces, exactly, with a symbol that is near ``inside`` as the lower end."""
        edges = [inside, *self._jumps(inside, self.upper), self.upper]
        total = sp.S.Zero
        for i, (a, b) in enumerate(pairwise(edges)):
            piece = on_interval(self.body, self.var, (a + b) / 2).as_poly(self.var).integrate()
            total += piece.eval(b) - piece.eval(self.lower if i == 0 else a)
        return total

    def _latex(self, printer: Any) -> str:
        q, low, high = (printer._print(a) for a in self.args[1:])
        body = printer._print(self.body)
        body = rf"\left({body}\right)" if self.body.is_Add else body
        return rf"\int_{{{low}}}^{{{high}}}\mathrm{{d}}{q}\,{body}"


def _on_piece(body: Any, var: sp.Symbol, low: Any, high: Any, prec: int) -> sp.Expr:
    """The integral of a smooth function: exactly of a polynomial, else by Gauss's rules."""
    polynomial = body.as_poly(var) if not body.has(Binder) else None
    if polynomial is not None:
        primitive = polynomial.integrate()
        return primitive.eval(high) - primitive.eval(low)

    value = sp.lambdify(var, body, "mpmath")
    with mpmath.workprec(prec + 10):
        ends = [mpmath.mpf(str(sp.N(end, prec_to_dps(prec + 10)))) for end in (low, high)]
        total = mpmath.quad(value, ends, method="gauss-legendre", maxdegree=4)
    return sp.Expr._from_mpmath(total, prec)


def on_interval(expr: Any, var: sp.Symbol, inside: Any) -> sp.Expr:
    """Step functions of ``var`` by their value at a point, and integrals from ``var`` on."""

    def resolved(*pairs: Any) -> sp.Expr:
        chosen = sp.Piecewise(*pairs)
        return chosen.subs(var, inside) if var in chosen.free_symbols else chosen

    whole = expr.replace(
        lambda e: isinstance(e, OverlapIntegral) and e.lower == var, lambda e: e.from_symbol(inside)
    )
    return whole.replace(sp.Piecewise, resolved)


def steps(var: sp.Symbol, edges: tuple[Any, ...], values: tuple[Any, ...]) -> sp.Expr:
    """The function of ``var`` that is ``values[i]`` up to ``edges[i]``, and the last value beyond."""
    pairs = [(value, var < edge) for value, edge in zip(values[:-1], edges, strict=True)]
    return sp.Piecewise(*pairs, (values[-1], True), evaluate=False)


class Flow(Binder):
    r"""phi(at, field) or a derivative in the field, where d phi/dq = -(rate/2)(phi'' + x phi'^2).

    Args: (value at q = 1 as a function of w, rate(q), x(q)), q, w, at, field, number of derivatives.

    >>> q, w, h = sp.symbols("q w h", real=True)
    >>> x = sp.Function("x")(q)
    >>> phi = Flow(sp.Tuple(sp.Abs(w), 1, x), q, w, 0, h, 0)
    >>> phi.diff(h).derivatives
    1
    """

    binds = 2
    is_commutative = True
    is_real = True

    @property
    def terminal(self) -> sp.Expr:
        """phi(1, w)."""
        return self.args[0].args[0]

    @property
    def rate(self) -> sp.Expr:
        """Variance of the field per overlap."""
        return self.args[0].args[1]

    @property
    def order(self) -> sp.Expr:
        """x(q)."""
        return self.args[0].args[2]

    @property
    def at(self) -> sp.Expr:
        """The overlap."""
        return self.parameters[0]

    @property
    def field(self) -> sp.Expr:
        """The field."""
        return self.parameters[1]

    @property
    def derivatives(self) -> int:
        """How often it is differentiated in the field."""
        return int(self.parameters[2])

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        if s in self.bound_symbols:
            return self.renamed()._eval_derivative(s)
        inside = self.args[0].free_symbols - set(self.bound_symbols)
        if s in inside or self.at.diff(s) != 0:
            raise NotImplementedError(f"the derivative of {self} in {s}, on which the flow itself depends")
        slope = self.field.diff(s)
        return slope * self.func(*self.args[:-1], self.derivatives + 1) if slope != 0 else sp.S.Zero

    def equation(self) -> tuple[sp.Expr, sp.Expr]:
        """(d phi/dq, what it equals), from a thin level."""
        q, w = self.bound_symbols
        phi = _named()(q, w)
        return phi.diff(q), -self.rate / 2 * sp.expand(2 * thin_level(phi, w, self.order))

    def on_steps(self, edges: tuple[Any, ...], variances: tuple[Any, ...], values: tuple[Any, ...]) -> Any:
        """As a nest of ``LogMoment``, for x = values[i] up to edges[i] and with fields of these variances on
        the steps, from ``at`` on.
        """
        w = self.bound_symbols[1]
        result, fields = self.terminal, [sp.Symbol(f"u_{i}", real=True) for i in range(len(values))]
        for u, variance, value in reversed(tuple(zip(fields, variances, values, strict=True))):
            result = LogMoment(result.subs(w, u), u, w, variance, value)
        return result.subs(w, self.field)

    def _latex(self, printer: Any, exp: Any = None) -> str:
        at, field = (printer._print(p) for p in self.parameters[:2])
        text = rf"\varphi{chr(39) * self.derivatives}({at},{field})"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def _named() -> Any:
    return sp.Function(r"\varphi", real=True)


def thin_level(phi: sp.Expr, field: sp.Symbol, power: sp.Expr) -> sp.Expr:
    """What one level adds to phi(field) per variance of its own, to first order: Price's theorem.

    >>> w, m = sp.symbols("w m", real=True)
    >>> thin_level(w**3, w, m)
    9*m*w**4/2 + 3*w
    """
    u, variance, size = sp.Dummy("u", real=True), sp.Dummy("v", positive=True), sp.Dummy("m", positive=True)
    level = LogMoment(phi.subs(field, u), u, field, variance, size)
    slope = level.diff(variance)
    # without variance every average of the level is its body at the mean
    return sp.expand(_at_mean(slope).subs(size, power))


def _at_mean(expr: Any) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, Tilted), lambda e: evaluate_inside(e.observable.subs(e.var, e.mean))
    )


class FlowAverage(Binder):
    """The average of a function of w over the law of the field at the overlap ``at``.

    The law starts as that of the field at the smallest overlap and is carried on by the levels with their
    weights: d<g>/dq is the rate times <``thin_average``>.  Args: g(w), w, at, average of phi at the start.
    """

    binds = 1
    is_commutative = True
    is_real = True

    @property
    def at(self) -> sp.Expr:
        """The overlap."""
        return self.parameters[0]

    def equation(self) -> tuple[sp.Expr, sp.Expr]:
        """(d<g>/dq, what it equals) for any g(w)."""
        start = self.parameters[1]
        flow = start.body
        q, w = flow.bound_symbols
        g, phi = sp.Function("g", real=True)(w), _named()(q, w)
        some = self.func(g, w, q, start)
        added = self.func(thin_average(g, phi, w, flow.order), w, q, start)
        return sp.Derivative(some, q, evaluate=False), flow.rate * added

    def _latex(self, printer: Any) -> str:
        return rf"\left\langle {printer._print(self.body)}\right\rangle_{{{printer._print(self.at)}}}"


class Variation(sp.Expr):
    """The functional derivative of an expression in a function of the overlap. Args: expression, x(q)."""

    def _latex(self, printer: Any) -> str:
        expr, order = (printer._print(a) for a in self.args)
        return rf"\frac{{\delta}}{{\delta {order}}}\left[{expr}\right]"


def varied(expr: sp.Expr, order: sp.Expr) -> sp.Expr:
    """The functional derivative, for q between the ends of all integrals.

    A flow from the outset changes by half the rate times the square of its slope, averaged over the field at
    q (the derivative of ``thin_level`` in x); chi(r) = int_r^1 x changes by 1 where q > r.

    >>> q = sp.Symbol("q", nonnegative=True)
    >>> x = sp.Function("x")(q)
    >>> varied(OverlapIntegral(q**2 * x, q, 0, 1), x)
    q**2
    """
    (place,) = order.args
    found = sp.S.Zero
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        nodes = [e for e in term.atoms(OverlapIntegral, GaussianAverage) if not _inside_another(e, term)]
        for node in nodes:
            slot = sp.Dummy("I", positive=True)
            factor = term.xreplace({node: slot}).diff(slot).xreplace({slot: node})
            found += factor * _varied_node(node, order, place)
    return found


def _inside_another(node: Any, term: Any) -> bool:
    return any(node != other and other.has(node) for other in term.atoms(OverlapIntegral, GaussianAverage))


def _varied_node(node: Any, order: sp.Expr, place: sp.Symbol) -> sp.Expr:
    if isinstance(node, GaussianAverage):
        flow = node.body
        if not isinstance(flow, Flow):
            raise ValueError(f"expected an average of a flow, got {node}")
        q, w = flow.bound_symbols
        size = sp.Dummy("m", positive=True)
        phi = _named()(q, w)
        gain = (flow.rate * thin_level(phi, w, size).diff(size)).subs(size, flow.order)
        named = flow.func(flow.args[0], q, w, place, w, 1)
        squared = gain.replace(lambda e: isinstance(e, sp.Derivative), lambda e: named)
        factor, rest = squared.subs(q, place).as_independent(w, Flow, as_Add=False)
        return factor * FlowAverage(rest, w, place, node.func(flow, *node.args[1:]))
    var, body = node.var, node.body
    local = body.subs(var, place).diff(order)
    inner = [e for e in body.atoms(OverlapIntegral) if e.upper == 1 and e.lower == var]
    for chi in inner:
        slot = sp.Dummy("chi", positive=True)
        slope = body.xreplace({chi: slot}).diff(slot).xreplace({slot: chi})
        inside = sp.Symbol("s", nonnegative=True)
        number, rest = slope.subs(var, inside).as_coeff_Mul()
        local += number * OverlapIntegral(rest, inside, node.lower, place)
    return local


def thin_average(g: sp.Expr, phi: sp.Expr, field: sp.Symbol, power: sp.Expr) -> sp.Expr:
    """What one level adds to the average of g(field) with its weight, per variance, to first order.

    >>> w, m = sp.symbols("w m", real=True)
    >>> thin_average(w**2, w**3, w, m)
    6*m*w**3 + 1
    """
    u, variance, size = sp.Dummy("u", real=True), sp.Dummy("v", positive=True), sp.Dummy("m", positive=True)
    inside = sp.Tuple(g.subs(field, u), phi.subs(field, u))
    slope = Tilted(inside, u, field, variance, size).diff(variance)
    return sp.expand(_at_mean(slope).subs(size, power))
