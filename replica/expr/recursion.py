r"""One level of a hierarchy of Gaussian fields: the moment of a free entropy, and averages with its weight.

With steps of replica symmetry breaking the free entropy of a site is a recursion over levels,

    phi_i(w) = (1/m) log E_{u ~ N(w, variance)} exp(m phi_{i+1}(u))            ``LogMoment``
    <g>_i(w) = E_u [g(u) exp(m phi_{i+1}(u))] / E_u exp(m phi_{i+1}(u))         ``Tilted``

Derivatives are Price's theorem for the Gaussian and the quotient rule, so that d phi_i/dw = <d phi_{i+1}/du>:
the derivative of a recursion is a recursion.  G. Parisi, J. Phys. A 13 (1980) 1101.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError
from sympy.printing.precedence import PRECEDENCE

from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.expr.binder import Binder
from replica.expr.logsum import stable_log
from replica.expr.printing import latex
from replica.expr.stable import log2cosh


class _Level(Binder):
    """What the two nodes share: the Gaussian law of ``var`` and the power m."""

    binds = 1
    is_commutative = True
    is_real = True

    @property
    def var(self) -> sp.Symbol:
        """The field of this level."""
        return self.bound_symbols[0]

    @property
    def mean(self) -> sp.Expr:
        """The field of the level outside."""
        return self.parameters[0]

    @property
    def variance(self) -> sp.Expr:
        """Variance of the field given that of the level outside."""
        return self.parameters[1]

    @property
    def power(self) -> sp.Expr:
        """m, the number of replicas in a block of this level."""
        return self.parameters[2]

    @property
    def inner(self) -> sp.Expr:
        """The free entropy of the level inside."""
        raise NotImplementedError

    def _eval_derivative(self, s: sp.Symbol) -> sp.Expr:
        return self.renamed()._slope(s) if s == self.var else self._slope(s)

    def _average(self, g: Any) -> sp.Expr:
        """<g> by linearity: factors free of the field pulled out, the average of a constant done."""
        terms = []
        for term in sp.Add.make_args(sp.expand_mul(g)):
            factor, rest = term.as_independent(self.var, as_Add=False)
            node = sp.S.One if rest == 1 else Tilted(sp.Tuple(rest, self.inner), *self.args[1:])
            terms.append(factor * node)
        return sp.Add(*terms)

    def _flow(self, g: Any, s: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
        """d/ds log-derivatives: of E[g e^(m phi)] and of E[e^(m phi)], both over E[e^(m phi)]."""
        phi, m, u = self.inner, self.power, self.var
        drift, spread = self.mean.diff(s), self.variance.diff(s)
        slope, curvature = _derivative(phi, u, 1), _derivative(phi, u, 2)
        explicit = m * phi.diff(s) + m.diff(s) * phi
        weighted = g.diff(s) + g * explicit
        weight = explicit
        if drift != 0:
            weighted += drift * (_derivative(g, u, 1) + m * g * slope)
            weight += drift * m * slope
        if spread != 0:
            pushed = m * curvature + m**2 * slope**2
            change, bend = _derivative(g, u, 1), _derivative(g, u, 2)
            weighted += spread / 2 * (bend + 2 * m * change * slope + g * pushed)
            weight += spread / 2 * pushed
        return self._average(weighted), self._average(weight)

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        return self.unfold()._eval_evalf(prec) if not self.free_symbols else None

    def unfold(self) -> sp.Expr:
        """In plain Gaussian averages."""
        raise NotImplementedError

    def _law_latex(self, printer: Any) -> str:
        u, mean, variance = (printer._print(e) for e in (self.var, self.mean, self.variance))
        return rf"\mathbb{{E}}_{{{u}\sim\mathcal{{N}}({mean},{variance})}}"

    def _weight_latex(self, printer: Any) -> str:
        """E^(m phi), in the words of the level inside."""
        if isinstance(self.inner, log2cosh):
            return (
                rf"\left(2\cosh {printer._print(self.inner.args[0])}\right)^{{{printer._print(self.power)}}}"
            )
        if isinstance(self.inner, LogMoment):
            power = printer._print(self.power / self.inner.power)
            return rf"{self.inner._moment_latex(printer)}^{{{power}}}"
        return rf"e^{{{printer._print(self.power * self.inner)}}}"


class LogMoment(_Level):
    """(1/m) log E_{u ~ N(mean, variance)} exp(m phi(u)). Args: phi, u, mean, variance, m.

    >>> u, w = sp.symbols("u w", real=True)
    >>> v, m = sp.symbols("v m", positive=True)
    >>> level = LogMoment(log2cosh(u), u, w, v, m)
    >>> level.diff(w)
    Tilted((tanh(u), log2cosh(u)), u, w, v, m)
    """

    @property
    def inner(self) -> sp.Expr:
        """The free entropy of the level inside."""
        return self.body

    def _slope(self, s: sp.Symbol) -> sp.Expr:
        result = self._flow(sp.S.One, s)[1] / self.power
        change = self.power.diff(s)
        return result if change == 0 else result - change * self / self.power

    def unfold(self) -> sp.Expr:
        """(1/m) log E exp(m phi)."""
        weight = sp.exp(self.power * _unfolded(self.body))
        return sp.log(GaussianAverage(weight, *self.args[1:4])) / self.power

    def _moment_latex(self, printer: Any) -> str:
        return rf"{self._law_latex(printer)}\left[{self._weight_latex(printer)}\right]"

    def _latex(self, printer: Any) -> str:
        power = "" if self.power == 1 else rf"\frac{{1}}{{{printer._print(self.power)}}}"
        return rf"{power}\log {self._moment_latex(printer)}"


class Tilted(_Level):
    """E_u[g(u) exp(m phi(u))]/E_u[exp(m phi(u))], u ~ N(mean, variance). Args: (g, phi), u, mean, variance,
    m.
    """

    precedence = PRECEDENCE["Mul"]

    @property
    def observable(self) -> sp.Expr:
        """What is averaged."""
        return self.args[0].args[0]

    @property
    def inner(self) -> sp.Expr:
        """The free entropy of the level inside."""
        return self.args[0].args[1]

    def _slope(self, s: sp.Symbol) -> sp.Expr:
        weighted, weight = self._flow(self.observable, s)
        return weighted - sp.expand_mul(self * weight)

    def unfold(self) -> sp.Expr:
        """The ratio of two averages."""
        weight = sp.exp(self.power * _unfolded(self.inner))
        law = self.args[1:4]
        return GaussianAverage(_unfolded(self.observable) * weight, *law) / GaussianAverage(weight, *law)

    def _latex(self, printer: Any) -> str:
        law, weight = self._law_latex(printer), self._weight_latex(printer)
        observable = printer._print(self.observable)
        if self.observable.is_Add:
            observable = rf"\left({observable}\right)"
        return rf"\frac{{{law}\left[{weight}\,{observable}\right]}}{{{law}\left[{weight}\right]}}"


class KinkLevel(sp.Function):
    r"""phi(w, v, a) = (1/a) log E_{u ~ N(w, v)} exp(a |u|), and its derivatives, by name: a spin at T = 0.

    The last two arguments count derivatives in w and in a.  dphi/dv = (phi'' + a phi'^2)/2, as for any level.

    >>> w = sp.Symbol("w", real=True)
    >>> v, a = sp.symbols("v a", positive=True)
    >>> KinkLevel(w, v, a, 0, 0).diff(w)
    KinkLevel(w, v, a, 1, 0)
    """

    nargs = (5,)
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In w and in a; in v for phi itself."""
        *at, in_w, in_a = self.args
        if argindex == 1:
            return KinkLevel(*at, in_w + 1, in_a)
        if argindex == 2 and in_w == in_a == 0:
            return (KinkLevel(*at, 2, 0) + at[2] * KinkLevel(*at, 1, 0) ** 2) / 2
        if argindex == 3:
            return KinkLevel(*at, in_w, in_a + 1)
        raise ArgumentIndexError(self, argindex)

    def closed(self) -> sp.Expr:
        """In error functions, without overflow."""
        *at, in_w, in_a = self.args
        return kink_closed_form(int(in_w), int(in_a)).subs(dict(zip(KINK_ARGUMENTS, at, strict=True)))

    def _eval_evalf(self, prec: int) -> sp.Expr | None:
        return None if self.free_symbols else self.closed()._eval_evalf(prec)

    def _latex(self, printer: Any, exp: Any = None) -> str:
        w, v, a = (printer._print(e) for e in self.args[:3])
        primes = "'" * int(self.args[3])
        slope = r"\partial_a " * int(self.args[4])
        text = rf"{slope}\varphi{primes}_{{{a},{v}}}\left({w}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


KINK_ARGUMENTS = (sp.Symbol("w", real=True), sp.Symbol("v", positive=True), sp.Symbol("a", positive=True))


@lru_cache(maxsize=16)
def kink_closed_form(in_w: int, in_a: int) -> sp.Expr:
    """The derivatives of ``KinkLevel`` in the arguments ``KINK_ARGUMENTS``: Gaussian integrals over two
    half-lines.
    """
    w, v, a = KINK_ARGUMENTS
    u = sp.Dummy("u", real=True)
    weight = GaussianAverage(sp.exp(a * sp.Abs(u)), u, w, v).doit()
    return sp.expand_mul(stable_log(weight) / a).diff(w, in_w, a, in_a)


@lru_cache(maxsize=4096)
def _derivative(expr: sp.Expr, field: sp.Symbol, order: int) -> sp.Expr:
    """In the field of a level: the same for every unknown in which the level outside is differentiated."""
    return expr.diff(field, order)


def _unfolded(expr: sp.Expr) -> sp.Expr:
    """With every level in plain Gaussian averages."""
    return expr.replace(lambda e: isinstance(e, _Level), lambda e: e.unfold())


Definitions = tuple[tuple[sp.Expr, sp.Expr], ...]


def by_name(expr: sp.Expr) -> tuple[sp.Expr, Definitions]:
    r"""For print: levels inside levels as phi_i(w) and <g>_i, and what these names mean.

    One level is printed as it is.

    >>> u, w, x = sp.symbols("w_2 w_1 w_0", real=True)
    >>> v, m, k = sp.symbols("v m k", positive=True)
    >>> nest = LogMoment(LogMoment(log2cosh(u), u, w, v, k), w, x, v, m)
    >>> by_name(nest)[0]
    \varphi_1(w_0)
    """
    levels = [e for e in sp.preorder_traversal(expr) if isinstance(e, _Level)]
    if not any(e.args[0].has(_Level) for e in levels):
        return expr, ()
    definitions: dict[sp.Expr, sp.Expr] = {}

    def name(node: _Level) -> sp.Expr:
        index = node.var.name.rpartition("_")[2]
        if isinstance(node, LogMoment):
            short = sp.Function(rf"\varphi_{index}", real=True)(node.mean)
            definitions[short] = node
            return short
        some = sp.Symbol(rf"\left\langle g\right\rangle_{{{index}}}", real=True)
        definitions[some] = node.func(sp.Tuple(sp.Symbol("g", real=True), node.inner), *node.args[1:])
        return sp.Symbol(rf"\left\langle {latex(node.observable)}\right\rangle_{{{index}}}", real=True)

    short = expr.replace(lambda e: isinstance(e, _Level), name)
    return short, tuple(sorted(definitions.items(), key=lambda pair: str(pair[0])))


def linear(expr: sp.Expr) -> sp.Expr:
    """Every average of a sum as a sum of averages, factors free of its variable pulled out, moments done.

    >>> u, a = sp.symbols("u a", real=True)
    >>> linear(GaussianAverage(a * sp.tanh(u) ** 2 + 1, u, 0, 1))
    a*GaussianAverage(tanh(u)**2, u, 0, 1) + 1
    """

    def split(node: GaussianAverage | DiscreteAverage) -> sp.Expr:
        terms = []
        for term in sp.Add.make_args(sp.expand_mul(node.body)):
            factor, rest = term.as_independent(node.var, as_Add=False)
            average = sp.S.One if rest == 1 else node.func(rest, *node.args[1:])
            moment = isinstance(average, DiscreteAverage) and rest.is_polynomial(node.var)
            terms.append(factor * (sp.factor(average.doit()) if moment else average))
        return sp.Add(*terms)

    return expr.replace(lambda e: isinstance(e, GaussianAverage | DiscreteAverage), split)
