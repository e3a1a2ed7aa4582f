"""The rules of empirical risk minimisation at zero temperature: integrals become minima, Moreau envelopes.

B. Loureiro et al., NeurIPS 34 (2021) 18137, arXiv 2102.08127.
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import sympy as sp

from replica.action import nodes_of
from replica.derivation import Comparison, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder
from replica.expr.numeric import mp_function
from replica.expr.stable import ndtr, normal_density, npdf
from replica.ingredients.convex import ConvexProfile, on_branches
from replica.risk_action import (
    Evidence,
    Extremum,
    Legendre,
    Moreau,
    R,
    R_hat,
    b,
)
from replica.risk_rules import FIELD, coupling_terms, point_for
from replica.symbols import V, V_hat, m_hat, omega, q, q_hat, y

# --- zero temperature ---------------------------------------------------------------------------------------


def scaled(expr: sp.Expr) -> sp.Expr:
    """The order parameters in terms of those that stay finite at b -> infinity."""
    return expr.subs(
        {R: q + V / b, R_hat: b * V_hat - b**2 * q_hat, m_hat: b * m_hat, q_hat: b**2 * q_hat},
        simultaneous=True,
    )


def _zero_temperature(expr: sp.Expr) -> sp.Expr:
    coupling = sp.expand(scaled(coupling_terms(expr)) / b)  # a polynomial in 1/b once the powers of b cancel
    terms = [coupling.as_independent(b)[0]]
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        factor, rest = term.as_independent(Binder, as_Add=False)
        if rest == 1:
            continue
        if rest.has(Evidence):
            terms.append(factor * _moreau_limit(rest))
        else:
            terms.append(factor * _legendre_limit(rest))
    return sp.Add(*terms)


def _moreau_limit(average: GaussianAverage) -> sp.Expr:
    """(1/b) log E_{h ~ N(omega, V/b)} exp(-b loss) -> -min_h [(h - omega)^2/(2V) + loss]."""
    (logarithm,) = nodes_of(average.body, sp.log)
    inner = logarithm.args[0]
    exponent = inner.body.args[0] / b
    spread = sp.cancel(scaled(inner.variance) * b)
    minimum = Extremum((inner.var - inner.mean) ** 2 / (2 * spread) - exponent, inner.var, sp.S.NegativeOne)
    total = average.body
    inside = total.func(total.body.xreplace({logarithm: -minimum}), *total.args[1:])
    return average.func(inside, *average.args[1:])


def _legendre_limit(average: GaussianAverage) -> sp.Expr:
    """(1/b) log int dw exp(b [B w - V_hat w^2/2 - r(w)]) -> its maximum, with the field B in units of b."""
    logarithm = average.body
    integral = logarithm.args[0]
    field = average.var
    exponent = sp.expand(scaled(sp.log(integral.body).expand(force=True)).subs(field, b * field) / b)
    maximum = Extremum(exponent, integral.var, sp.S.One)
    mean, variance = (sp.cancel(scaled(x) / b**k) for x, k in ((average.mean, 1), (average.variance, 2)))
    return average.func(maximum, field, mean, variance)


def _laplace(log_integral: Callable[[int], Any]) -> Any:
    """The limit of a sequence c + (x log k + y)/k in k from three of its members."""
    ks = (20000, 40000, 80000)
    matrix = mpmath.matrix([[1, mpmath.log(k) / k, mpmath.mpf(1) / k] for k in ks])
    return mpmath.lu_solve(matrix, mpmath.matrix([log_integral(k) for k in ks]))[0]


def _log_integral(exponent: Callable[[Any], Any], k: int) -> Any:
    """(1/k) log int dx exp(k exponent(x)), the maximum taken out; the exponent is concave."""
    top = _argmax(exponent)
    height = exponent(top)
    wide, narrow = 1 / mpmath.sqrt(k), mpmath.mpf(1) / k
    steps = [j * wide for j in (1, 3, 6, 12, 40)] + [j * narrow for j in (3, 12, 40)]
    grid = sorted({top, *(top + x for x in steps), *(top - x for x in steps)})
    value = mpmath.quad(lambda x: mpmath.exp(k * (exponent(x) - height)), grid)
    return height + mpmath.log(value) / k


def _argmax(f: Callable[[Any], Any]) -> Any:
    """Maximum of a concave function on [-60, 60], by thirds."""
    low, high = mpmath.mpf(-60), mpmath.mpf(60)
    for _ in range(130):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if f(left) < f(right) else (low, right)
    return (low + high) / 2


def _maximum(f: Callable[[Any], Any]) -> Any:
    return f(_argmax(f))


def _check_zero_temperature(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Fields and weights at some values: extrapolated finite temperatures against the extremum found by
    thirds; the coupling at b = 10^9.
    """
    at = point_for(before, after)

    comparisons = [
        Comparison(
            "coupling at b = 10^9",
            (scaled(coupling_terms(before)) / b).subs(at).subs(b, 10**9),
            coupling_terms(after).subs(at),
            1e-7,
        )
    ]
    for extremum in nodes_of(after, Extremum):
        body = (extremum.body * extremum.parameters[0]).subs(at)
        for place in (
            {omega: sp.Rational(2, 5), y: 1, FIELD: sp.Rational(1, 2)},
            {omega: -1, y: 1, FIELD: -2},
        ):
            f = mp_function(body.subs(place), (extremum.var,))
            with mpmath.workdps(20):
                finite = _laplace(lambda k, f=f: _log_integral(f, k))
                comparisons.append(
                    Comparison(f"Laplace's method on {extremum.var}", finite, _maximum(f), 2e-5)
                )
    return tuple(comparisons)


zero_temperature = Rule(
    "zero temperature",
    Kind.LIMIT,
    _zero_temperature,
    "R = q + V/b and conjugates of order b, b^2 and b; times 1/b, Laplace's method at b -> infinity",
    _check_zero_temperature,
    (
        (V, "b (R - q), the susceptibility"),
        (m_hat, "conjugate of m in units of b"),
        (q_hat, "conjugate of q in units of b^2"),
        (V_hat, "sum of the conjugates of R and q in units of b"),
    ),
)


# --- closed forms -------------------------------------------------------------------------------------------


def response(profile: ConvexProfile, field: sp.Expr, order: int) -> sp.Expr:
    """The order-th derivative in the field of max_w [B w - V_hat w^2/2 - r(w)], by branches: 1 is the
    minimiser w(B) itself.

    The maximum is V_hat s^2/2 minus the Moreau envelope at s = B/V_hat; its first derivative is continuous,
    so the second has no DiracDelta.
    """
    branches = profile.branches(field / V_hat, 1 / V_hat)
    in_units = tuple(
        c._replace(lower=sp.expand(c.lower * V_hat), upper=sp.expand(c.upper * V_hat)) for c in branches
    )
    at = sp.Dummy("B", real=True)
    values = (sp.factor(field**2 / (2 * V_hat) - c.value) for c in branches)
    bodies = tuple(sp.factor(v.subs(field, at).diff(at, order).subs(at, field)) for v in values)
    return on_branches(in_units, field, bodies)


def weights_by_name() -> Rule:
    """max_w [B w - V_hat w^2/2 - r(w)] by name."""

    def is_maximum(e: Any) -> bool:
        return isinstance(e, Extremum) and e.parameters[0] == 1

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.replace(is_maximum, lambda e: Legendre(FIELD, V_hat, 0))

    def shown(before: sp.Expr, after: sp.Expr) -> Printed:
        return Printed(
            after, ((Legendre(FIELD, V_hat, 0), next(filter(is_maximum, nodes_of(before, Extremum)))),)
        )

    return Rule(
        "Legendre transform of the penalty",
        Kind.DEFINITION,
        apply,
        "phi(B, V_hat) by name; w(B) = dphi/dB is the minimiser",
        shown=shown,
    )


def insert_penalty(profile: ConvexProfile) -> Rule:
    """Averages of phi and its derivatives in closed form."""

    def named(node: Any) -> bool:
        return isinstance(node, GaussianAverage) and node.has(Legendre)

    def body(expr: sp.Expr) -> sp.Expr:
        return expr.replace(
            lambda e: isinstance(e, Legendre), lambda e: response(profile, e.args[0], int(e.args[2]))
        )

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: GaussianAverage) -> sp.Expr:
            value = _flat(body(node.body), node.var)
            return GaussianAverage(value, *node.args[1:]).doit()

        terms = sp.Add.make_args(sp.expand_mul(expr))
        inserted = sp.Add(*(term.replace(named, rewrite) for term in terms if term.has(Legendre)))
        return sp.Add(*(term for term in terms if not term.has(Legendre)), tidy(inserted))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """phi by thirds, its derivatives by differences of the maximiser; the average by quadrature."""
        at = point_for(before, after, *profile.pieces)
        averages = [e for e in nodes_of(before, GaussianAverage) if named(e)]
        u = sp.Symbol("u_", real=True)

        def maximiser(field: Any) -> Any:
            f = mp_function((field * u - V_hat * u**2 / 2 - profile.at(u)).subs(at), (u,))
            return _argmax(f)

        comparisons = []
        for value in (sp.Rational(-5, 2), sp.Rational(1, 10), sp.Rational(3, 2)):
            with mpmath.workdps(40):
                w_at = maximiser(value)
                slope = (
                    maximiser(value + sp.Rational(1, 1000)) - maximiser(value - sp.Rational(1, 1000))
                ) * 500
                phi = mp_function((value * u - V_hat * u**2 / 2 - profile.at(u)).subs(at), (u,))(w_at)
            for order, expected in enumerate((phi, w_at, slope)):
                closed = response(profile, FIELD, order).subs(at).subs(FIELD, value)
                comparisons.append(
                    Comparison(f"derivative {order} of phi at B = {value}", expected, sp.N(closed, 15), 1e-9)
                )
        for node in averages:
            numeric = GaussianAverage(body(node.body), *node.args[1:]).subs(at)
            comparisons.append(
                Comparison("average over B", sp.N(numeric, 15), sp.N(apply(node).subs(at), 15), 1e-10)
            )
        return tuple(comparisons)

    return Rule(
        "penalty",
        Kind.IDENTITY,
        apply,
        "the proximal operator of the penalty (J. J. Moreau 1965) and half-line Gaussian moments",
        check,
    )


def _flat(body: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """Expanded, with Heaviside(a) Heaviside(b) of disjoint half-lines 0 and of equal ones one."""
    terms = []
    for term in sp.Add.make_args(sp.expand(body)):
        forms = {f.args[0] for f in term.atoms(sp.Heaviside) if f.has(x)}
        rest = term.replace(sp.Heaviside, lambda *_: sp.S.One)
        if len(forms) > 1:
            continue  # branches beyond two different boundaries: outer half-lines never meet
        terms.append(rest * sp.Mul(*(sp.Heaviside(f) for f in forms)))
    return sp.Add(*terms)


def tidy(expr: sp.Expr) -> sp.Expr:
    """One factored fraction, its numerator collected by distribution functions and densities; square roots
    of one term merged, so that variances cancel.

    >>> from replica.symbols import m, q
    >>> tidy(V * ndtr(m) + V**2 * ndtr(m))
    V*(V + 1)*ndtr(m)
    >>> tidy(normal_density(0, 0, 1 + m**2 / (q - m**2)) / sp.sqrt(1 - m**2 / q))
    sqrt(2)/(2*sqrt(pi))
    """
    if expr.has(Binder):
        return sp.factor_terms(sp.expand(expr))
    plain = expr.replace(normal_density, lambda x, mu, v: npdf(_one_root((x - mu) / sp.sqrt(v))) / sp.sqrt(v))
    plain = plain.replace(lambda e: isinstance(e, ndtr | npdf), lambda e: e.func(_one_root(e.args[0])))
    plain = _complementary(sp.Add(*(_one_root(term) for term in sp.Add.make_args(sp.expand(plain)))))
    named = {f: sp.Dummy(f"f{k}") for k, f in enumerate(sorted(plain.atoms(ndtr, npdf), key=str))}
    rooted: dict[sp.Expr, sp.Dummy] = {}
    total = sp.S.Zero
    for term in sp.Add.make_args(plain.xreplace(named)):
        root = sp.Mul(*_roots(term))
        total += term if root == 1 else term / root * rooted.setdefault(root, sp.Dummy("root"))
    factors = sp.Mul.make_args(sp.factor(total))
    functions = list(named.values())
    collected = (
        sp.collect(sp.expand(f), functions, sp.factor) if f.is_Add and f.has(*functions) else f
        for f in factors
    )
    names = {name: f for f, name in (rooted | named).items()}
    return sp.Mul(*collected).xreplace(names)


def _roots(term: sp.Expr) -> list[sp.Expr]:
    return [f for f in sp.Mul.make_args(term) if f.is_Pow and f.exp.is_Rational and f.exp.q == 2]


def _one_root(term: sp.Expr) -> sp.Expr:
    """A product with its square roots, all of variances, as the root of one rational function."""
    term = sp.factor_terms(term)
    factors, roots = sp.Mul.make_args(term), _roots(term)
    if len(roots) < 2 and not any(f.base.is_Add for f in roots):
        return term
    inside = sp.factor(sp.Mul(*(f.base ** (2 * f.exp) for f in roots)))
    return sp.Mul(*(f for f in factors if f not in roots)) * sp.sqrt(inside)


def _complementary(expr: sp.Expr) -> sp.Expr:
    """Phi(-x) as 1 - Phi(x) where that removes both."""
    for f in sorted(expr.atoms(ndtr), key=str):
        other = ndtr(-f.args[0])
        if expr.has(other):
            removed = sp.expand(expr.xreplace({other: 1 - f}))
            expr = expr if removed.has(f) else removed
    return expr


def envelope_by_name(loss: Any) -> Rule:
    """min_h [(h - omega)^2/(2V) + loss] is the Moreau envelope of the loss, by name."""

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.replace(
            lambda e: isinstance(e, Extremum) and e.has(omega), lambda e: Moreau(y, omega, V, 0)
        )

    def shown(before: sp.Expr, after: sp.Expr) -> Printed:
        (minimum,) = [e for e in nodes_of(before, Extremum) if e.has(omega)]
        return Printed(after, ((Moreau(y, omega, V, 0), minimum),))

    return Rule("Moreau envelope", Kind.DEFINITION, apply, "J. J. Moreau 1965", shown=shown)
