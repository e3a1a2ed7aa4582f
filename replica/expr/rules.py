"""The named rewrites of a replica calculation: pure functions from expressions to expressions.

`gaussian_closed_form` and `split_at_kinks` live in modules of their own.
"""

from __future__ import annotations

from typing import Any, cast

import sympy as sp
from sympy.core.function import AppliedUndef

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.polynomials import affine_coefficients
from replica.expr.stable import normal_density, xlogx


def price(avg: GaussianAverage, t: sp.Symbol) -> sp.Expr:
    """The derivative of a Gaussian average in a parameter.

    d/dt E[f] = E[df/dt] + mean' E[f'] + (1/2) variance' E[f''].
    R. Price, IRE Trans. Inf. Theory 4, 69 (1958).

    >>> from sympy import Symbol, tanh
    >>> x, q = Symbol("x", real=True), Symbol("q", positive=True)
    >>> price(GaussianAverage(x**6, x, 0, q), q)
    15*GaussianAverage(x**4, x, 0, q)
    """
    return avg._eval_derivative(t)


def stein(avg: GaussianAverage) -> sp.Expr:
    """Integrate one affine factor by parts: E[(x - mu) g(x)] = v E[g'(x)].

    C. Stein, Ann. Statist. 9, 1135 (1981), lemma 1. A factor c0 + c1 x is c1 (x - mu) plus a constant. Terms
    without an affine factor stay; where no term has one, ValueError.

    >>> from sympy import Symbol, tanh
    >>> x, q = Symbol("x", real=True), Symbol("q", positive=True)
    >>> stein(GaussianAverage(x * tanh(x), x, 0, q))
    q*GaussianAverage(1 - tanh(x)**2, x, 0, q)
    """
    avg = avg if avg.var not in avg.mean.free_symbols | avg.variance.free_symbols else avg.renamed()
    results: list[Any] = []
    rewritten = False
    whole = affine_coefficients(avg.body, avg.var)
    terms = [avg.body] if whole is not None and whole[1] != 0 else sp.Add.make_args(avg.body)
    for term in terms:
        affine, rest = _affine_factor(term, avg.var)
        if affine is None:
            results.append(avg.with_body(term))
            continue
        rewritten = True
        a, b = affine
        results.append((a + b * avg.mean) * avg.with_body(rest))
        results.append(b * avg.variance * avg.with_body(sp.diff(rest, avg.var)))
    if not rewritten:
        raise ValueError(f"no factor of {avg.body} is affine in {avg.var}")
    return sp.Add(*results)


def reflected(expr: sp.Expr) -> sp.Expr:
    """Change the sign of the variable in every average whose mean has a leading minus: E_{x ~ N(-m, v)}
    f(x) = E_{x ~ N(m, v)} f(-x), so that mirror images add up.

    >>> from sympy import Symbol, tanh
    >>> x, m = Symbol("x", real=True), Symbol("m", real=True)
    >>> reflected(GaussianAverage(tanh(x) ** 2, x, m, 1) + GaussianAverage(tanh(x) ** 2, x, -m, 1))
    2*GaussianAverage(tanh(x)**2, x, m, 1)
    """

    def mirrored(average: GaussianAverage) -> GaussianAverage:
        return GaussianAverage(
            average.body.subs(average.var, -average.var), average.var, -average.mean, average.variance
        )

    return cast(
        sp.Expr,
        expr.replace(
            lambda e: isinstance(e, GaussianAverage) and e.mean.could_extract_minus_sign(), mirrored
        ),
    )


def _affine_factor(term: Any, x: sp.Symbol) -> tuple[tuple[sp.Expr, sp.Expr] | None, Any]:
    """The coefficients of the first factor affine in x, and the product of the others."""
    factors = list(sp.Mul.make_args(term)) if affine_coefficients(term, x) is None else [term]
    for i, factor in enumerate(factors):
        base, power = factor.as_base_exp()
        if not (power.is_Integer and power.is_positive):
            continue
        affine = affine_coefficients(base, x)
        if affine is not None and affine[1] != 0:
            return affine, sp.Mul(*factors[:i], base ** (power - 1), *factors[i + 1 :])
    return None, term


def output_integral_to_average(total: OutputSum) -> sp.Expr:
    """Read an integral over real outputs as Gaussian averages, term by term.

    int dy N(y; m, v) f(y) = E_{y ~ N(m, v)}[f(y)]. The density may have y, or an affine function of y, as its
    first argument or in its mean. A term without such a factor, or other outputs than Reals: ValueError.

    >>> from sympy import Reals, Symbol
    >>> y, m = Symbol("y", real=True), Symbol("m", real=True)
    >>> output_integral_to_average(OutputSum(normal_density(y, m, 2) * y**2, y, Reals))
    GaussianAverage(y**2, y, m, 2)
    """
    if total.outputs != sp.S.Reals:
        raise ValueError(f"the rule is for integrals over Reals, not over {total.outputs}")
    results: list[Any] = []
    for term in _density_terms(total.body, total.var):
        law = None
        factors = list(sp.Mul.make_args(term))
        for i, factor in enumerate(factors):
            base, power = factor.as_base_exp()
            if isinstance(base, normal_density) and power.is_Integer and power.is_positive:
                law = _law_of(base, total.var)
                if law is not None:
                    scale, mean, variance = law
                    rest = sp.Mul(scale, *factors[:i], base ** (power - 1), *factors[i + 1 :])
                    break
        if law is None:
            raise ValueError(f"no Gaussian density of {total.var} is a factor of {term}")
        average = GaussianAverage(rest, total.var, mean, variance)
        results.append(average.with_body(rest))
    return sp.Add(*results)


def _density_terms(body: Any, y: sp.Symbol) -> list[Any]:
    """Additive terms, after distributing only the sums that hold the Gaussian densities of y."""
    terms: list[Any] = []
    for term in sp.Add.make_args(body):
        factors = [f for g in sp.Mul.make_args(term) for f in _unfold_xlogx(g, y)]
        for i, factor in enumerate(factors):
            base, power = factor.as_base_exp()
            if base.is_Add and base.has(normal_density) and power.is_Integer and power.is_positive:
                rest = sp.Mul(*factors[:i], base ** (power - 1), *factors[i + 1 :])
                terms.extend(t for part in base.args for t in _density_terms(rest * part, y))
                break
        else:
            terms.append(sp.Mul(*factors))
    return terms


def _unfold_xlogx(factor: Any, y: sp.Symbol) -> list[Any]:
    """Factors of X log X, where X holds the density."""
    if isinstance(factor, xlogx) and factor.has_free(y):
        return [*sp.Mul.make_args(factor.args[0]), sp.log(factor.args[0])]
    return [factor]


def _law_of(density: normal_density, y: sp.Symbol) -> tuple[Any, Any, Any] | None:
    """(s, m, v) with density = s N(y; m, v)."""
    point, mean, variance = density.args
    affine = affine_coefficients(point - mean, y)
    if affine is None or affine[1] == 0 or variance.has_free(y):
        return None
    a, b = affine
    return 1 / sp.Abs(b), -a / b, variance / b**2


def hubbard_stratonovich(c: Any, u: Any, z: sp.Symbol) -> GaussianAverage:
    """Linearise a square: exp(c u^2/2) = E_{z ~ N(0, 1)} exp(sqrt(c) z u).

    R. L. Stratonovich, Sov. Phys. Dokl. 2, 416 (1957); J. Hubbard, Phys. Rev. Lett. 3, 77 (1959). With
    u = sum_a x_a it decouples the replicas.

    >>> from sympy import Symbol
    >>> z, u = Symbol("z", real=True), Symbol("u", real=True)
    >>> hubbard_stratonovich(4, u, z).doit()
    exp(2*u**2)
    """
    c, u = sp.sympify(c), sp.sympify(u)
    if z in c.free_symbols | u.free_symbols:
        raise ValueError(f"{z} is in the expression already: take a fresh symbol")
    return GaussianAverage(sp.exp(sp.sqrt(c) * z * u), z, 0, 1)


def heat_equation(expr: sp.Expr, Z: Any, omega: sp.Symbol, V: sp.Symbol, sign: int = 1) -> sp.Expr:
    """Use dZ/dV = (sign/2) d^2 Z/domega^2 in every derivative of Z, of any order.

    With sign 1, true of Z(y, omega, V) = E_{h ~ N(omega, V)} w(y, h), an average over its centre (Price's
    theorem); with sign -1, of Z(A, B) = E_x exp(B x - A x^2/2), with A for V and B for omega.

    >>> from sympy import Function, Symbol
    >>> omega, V = Symbol("omega", real=True), Symbol("V", positive=True)
    >>> Z = Function("Z")(omega, V)
    >>> heat_equation(Z.diff(V), Z, omega, V)
    Derivative(Z(omega, V), (omega, 2))/2
    """
    if not isinstance(Z, AppliedUndef) or omega not in Z.args or V not in Z.args:
        raise ValueError(f"{Z} is not an undefined function of {omega} and {V}")

    def matches(node: Any) -> bool:
        return isinstance(node, sp.Derivative) and node.expr == Z and V in node.variables

    def rewritten(node: Any) -> Any:
        orders = dict(node.variable_count)
        k = orders.pop(V)
        orders[omega] = orders.get(omega, 0) + 2 * k
        return sp.Rational(sign, 2) ** k * sp.Derivative(Z, *orders.items())

    return cast(sp.Expr, expr.replace(matches, rewritten))
