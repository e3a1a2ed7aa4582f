"""Exact Gaussian averages by pattern, with no integration and no simplification."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.kinks import split_at_kinks, switches
from replica.expr.polynomials import Coefficients, affine_coefficients, polynomial_coefficients
from replica.expr.stable import ndtr, ndtr_interval, normal_density, npdf

Affine = tuple[sp.Expr, sp.Expr]


@dataclass(frozen=True)
class _Law:
    """The normal law of mean top/bottom and variance spread/bottom: one denominator keeps results tidy."""

    top: sp.Expr
    spread: sp.Expr
    bottom: sp.Expr = sp.S.One

    @property
    def mean(self) -> sp.Expr:
        return self.top / self.bottom

    @property
    def variance(self) -> sp.Expr:
        return self.spread / self.bottom

    def standardised(self, a: sp.Expr, b: sp.Expr, noise: int) -> sp.Expr:
        """(a + b mean)/sqrt(noise + b^2 variance), up to sign(b) where there is no noise."""
        numerator = a * self.bottom + b * self.top
        if noise:
            return numerator / sp.sqrt(self.bottom * (noise * self.bottom + b**2 * self.spread))
        root = sp.sqrt(self.spread * self.bottom)
        return sp.sign(b) * self.top / root if a == 0 else numerator / (sp.Abs(b) * root)

    def times_density(self, a: sp.Expr, b: sp.Expr, variance: sp.Expr) -> _Law:
        """The law proportional to this one times N(a + b x; 0, variance)."""
        return _Law(
            self.top * variance - a * b * self.spread,
            self.spread * variance,
            self.bottom * variance + b**2 * self.spread,
        )

    def tilted(self, linear: sp.Expr, quadratic: sp.Expr) -> _Law:
        """The law proportional to this one times exp(linear x + quadratic x^2)."""
        return _Law(
            self.top + linear * self.spread,
            self.spread,
            cast(sp.Expr, self.bottom - 2 * quadratic * self.spread),
        )


@dataclass(frozen=True)
class _Factors:
    """The factors of a term that depend on the Gaussian variable, sorted by kind."""

    constant: sp.Expr = sp.S.One
    polynomial: Coefficients = field(default_factory=lambda: {0: sp.S.One})
    exponent: sp.Expr = sp.S.Zero
    densities: tuple[normal_density, ...] = ()
    half_lines: tuple[Affine, ...] = ()
    distributions: tuple[Affine, ...] = ()


def gaussian_closed_form(avg: GaussianAverage) -> sp.Expr | None:
    r"""The exact value of E[body], or None where the patterns do not cover every term.

    Sums are split and constants pulled out. A term is a product of a polynomial in x, exponentials of
    quadratics, Gaussian densities whose argument or mean is affine in x, and at most one of
    Heaviside(affine), ndtr(affine) and DiracDelta(affine). Abs, sign, Max, Min and Piecewise of affine
    functions are split at their kinks first; several Heaviside factors are one half-line or an interval,
    taken as not empty where that is not decidable. Convergence is taken for granted where its sign
    condition is not decidable.

    Sources: completion of squares;
    E Phi(a + b x) = Phi((a + b mu)/sqrt(1 + b^2 v)), D. B. Owen, Commun. Stat.
    B 9, 389 (1980), formula 10,010.8; C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine
    Learning (2006), A.2 and 3.9.

    >>> from sympy import Symbol
    >>> y, h, omega = (Symbol(name, real=True) for name in ("y", "h", "omega"))
    >>> V, Delta = Symbol("V", positive=True), Symbol("Delta", positive=True)
    >>> gaussian_closed_form(GaussianAverage(normal_density(y, h, Delta), h, omega, V))
    normal_density(y, omega, Delta + V)
    """
    if avg.variance.is_zero:
        return avg.body.subs(avg.var, avg.mean)
    avg = avg.renamed()
    x, law = avg.var, _Law(avg.mean, avg.variance)
    body = _named(avg.body, x)
    if _has_kinks(body, x):
        body = split_at_kinks(body, x)
    return _sum(body, x, law)


def _named(expr: sp.Expr, x: sp.Symbol) -> sp.Expr:
    """Express erf, erfc, cosh and sinh through the patterns' own functions."""
    names: dict[Any, Any] = {
        sp.erf: lambda u: 2 * cast(Any, ndtr(sp.sqrt(2) * u)) - 1,
        sp.erfc: lambda u: 2 * cast(Any, ndtr(-sp.sqrt(2) * u)),
        sp.cosh: lambda u: (sp.exp(u) + sp.exp(-u)) / 2,
        sp.sinh: lambda u: (sp.exp(u) - sp.exp(-u)) / 2,
    }
    for function, formula in names.items():
        expr = cast(
            sp.Expr,
            expr.replace(
                lambda e, f=function: isinstance(e, f) and e.has_free(x),
                lambda e, g=formula: g(e.args[0]),
            ),
        )
    return expr


def _has_kinks(body: sp.Expr, x: sp.Symbol) -> bool:
    """Whether something switches in x beyond single Heaviside factors."""
    for term in sp.Add.make_args(body):
        forms = switches(cast(sp.Expr, term), x)
        factors = [f for f in sp.Mul.make_args(term) if f.has_free(x)]
        plain = [f for f in factors if _half_line(f, x)]
        others = [f for f in factors if f not in plain]
        if len(plain) == len(forms) == 2 and len(others) == len(factors) - 2 and _interval(plain, x):
            continue
        if len(forms) > len(plain) or len(plain) > 1 or any(switches(cast(sp.Expr, f), x) for f in others):
            return True
    return False


def _half_line(factor: Any, x: sp.Symbol) -> bool:
    return (
        isinstance(factor, sp.Heaviside) and affine_coefficients(cast(sp.Expr, factor.args[0]), x) is not None
    )


def _interval(half_lines: list[Any], x: sp.Symbol) -> bool:
    """Whether two half-lines bound an interval from below and from above."""
    slopes = [affine_coefficients(cast(sp.Expr, f.args[0]), x) for f in half_lines]
    if any(a is None for a in slopes):
        return False
    signs = {a[1].is_positive for a in slopes if a is not None}
    return signs == {True, False}


def _sum(body: sp.Expr, x: sp.Symbol, law: _Law) -> sp.Expr | None:
    total: list[sp.Expr] = []
    for term in sp.Add.make_args(body):
        value = _term(cast(sp.Expr, term), x, law)
        if value is None:
            return None
        total.append(value)
    return cast(sp.Expr, sp.Add(*total))


def _term(term: sp.Expr, x: sp.Symbol, law: _Law) -> sp.Expr | None:
    constant, dependent = term.as_independent(x, as_Add=False)
    pieces = [cast(sp.Expr, f) for f in sp.Mul.make_args(dependent)]
    for i, factor in enumerate(pieces):
        if isinstance(factor, sp.DiracDelta) and len(factor.args) == 1:
            value = _dirac(factor, sp.Mul(*pieces[:i], *pieces[i + 1 :]), x, law)
            return None if value is None else constant * value
    factors: _Factors | None = _Factors()
    for i, factor in enumerate(pieces):
        nested = _expanded(factor, x)
        if nested is not None:
            rest = sp.Mul(*pieces[:i], *pieces[i + 1 :])
            value = _sum(cast(sp.Expr, sp.Add(*(rest * part for part in nested))), x, law)
            return None if value is None else constant * value
        factors = _with_factor(factors, factor, x)
        if factors is None:
            return None
    value = _product(factors, x, law)
    return None if value is None else constant * value


def _expanded(factor: sp.Expr, x: sp.Symbol) -> list[sp.Expr] | None:
    """The terms over which a factor that is a non-polynomial sum, or a power of one, distributes."""
    base, power = factor.as_base_exp() if isinstance(factor, sp.Pow) else (factor, sp.S.One)
    if not base.is_Add or not (power.is_Integer and power.is_positive):
        return None
    if polynomial_coefficients(cast(sp.Expr, base), x) is not None:
        return None
    rest = base ** (power - 1)
    return [cast(sp.Expr, part * rest) for part in base.args]


def _with_factor(factors: _Factors, factor: sp.Expr, x: sp.Symbol) -> _Factors | None:
    """Add one factor to its kind; None where it is of none."""
    coefficients = polynomial_coefficients(factor, x)
    if coefficients is not None:
        product: Coefficients = {}
        for i, a in factors.polynomial.items():
            for j, b in coefficients.items():
                product[i + j] = cast(sp.Expr, product.get(i + j, sp.S.Zero) + a * b)
        return replace(factors, polynomial=product)
    if isinstance(factor, sp.exp):
        return replace(factors, exponent=factors.exponent + factor.exp)
    if isinstance(factor, sp.Pow):
        return _with_power(factors, factor, x)
    if isinstance(factor, normal_density):
        return replace(factors, densities=(*factors.densities, factor))
    if isinstance(factor, npdf):
        density = cast(normal_density, normal_density(factor.args[0], 0, 1))
        return replace(factors, densities=(*factors.densities, density))
    if isinstance(factor, sp.Heaviside | ndtr):
        affine = affine_coefficients(cast(sp.Expr, factor.args[0]), x)
        if affine is None:
            return None
        if isinstance(factor, ndtr):
            return replace(factors, distributions=(*factors.distributions, affine))
        return replace(factors, half_lines=(*factors.half_lines, affine))
    return None


def _with_power(factors: _Factors, factor: sp.Pow, x: sp.Symbol) -> _Factors | None:
    base, power = factor.base, factor.exp
    if power.has_free(x):
        return None
    if isinstance(base, sp.exp) and base.exp.is_real:
        return replace(factors, exponent=factors.exponent + power * base.exp)
    if isinstance(base, sp.Heaviside) and power.is_positive:
        return _with_factor(factors, base, x)
    if isinstance(base, npdf):
        base = cast(sp.Expr, normal_density(base.args[0], 0, 1))
    if isinstance(base, normal_density) and not base.args[2].has_free(x):
        # N(u; m, v)^p = (2 pi v)^((1-p)/2) p^(-1/2) N(u; m, v/p)
        u, mean, variance = cast(tuple[sp.Expr, ...], base.args)
        if power.is_positive:
            scale = (2 * sp.pi * variance) ** ((1 - power) / 2) / sp.sqrt(power)
            density = cast(normal_density, normal_density(u, mean, variance / power))
            return replace(
                factors, constant=factors.constant * scale, densities=(*factors.densities, density)
            )
    return None


def _dirac(delta: sp.DiracDelta, rest: sp.Expr, x: sp.Symbol, law: _Law) -> sp.Expr | None:
    """E[g(x) delta(a + b x)] = g(-a/b) N(-a/b; mean, variance)/|b|."""
    affine = affine_coefficients(cast(sp.Expr, delta.args[0]), x)
    if affine is None or affine[1] == 0 or rest.has(sp.DiracDelta):
        return None
    a, b = affine
    point = -a / b
    return cast(sp.Expr, rest.subs(x, point) * normal_density(point, law.mean, law.variance) / sp.Abs(b))


def _product(factors: _Factors, x: sp.Symbol, law: _Law) -> sp.Expr | None:
    constant = factors.constant
    for density in factors.densities:
        point, mean, variance = cast(tuple[sp.Expr, ...], density.args)
        affine = affine_coefficients(cast(sp.Expr, point - mean), x)
        if affine is None or variance.has_free(x):
            return None
        a, b = affine
        point, mean = point.subs(x, law.mean), mean.subs(x, law.mean)
        constant *= normal_density(point, mean, variance + b**2 * law.variance)
        law = law.times_density(a, b, variance)
    if factors.exponent != 0:
        coefficients = polynomial_coefficients(factors.exponent, x)
        if coefficients is None or max(coefficients, default=0) > 2:
            return None
        c, linear, quadratic = (coefficients.get(k, sp.S.Zero) for k in range(3))
        new = law.tilted(linear, quadratic)
        if new.bottom.is_nonpositive:
            return None
        # E exp(B x + A x^2) = (1 - 2 A v)^(-1/2) exp((A mu^2 + B mu + B^2 v/2)/(1 - 2 A v))
        if quadratic == 0:
            constant *= sp.exp(c + linear * law.mean + linear**2 * law.variance / 2)
        else:
            ratio = law.bottom / new.bottom
            tilt = quadratic * law.mean**2 + linear * law.mean + linear**2 * law.variance / 2
            constant *= sp.sqrt(ratio) * sp.exp(c + tilt * ratio)
        law = new
    value = _polynomial_average(factors, law)
    return None if value is None else cast(sp.Expr, constant * value)


def _polynomial_average(factors: _Factors, law: _Law) -> sp.Expr | None:
    half_lines = _common_half_lines(factors.half_lines)
    if half_lines is None:
        return None
    if _empty(half_lines):
        return sp.S.Zero
    if (half_lines and factors.distributions) or len(factors.distributions) > 1:
        return None
    degree = max(factors.polynomial, default=0)
    if len(half_lines) == 2:
        moments = _interval_moments(half_lines[0], half_lines[1], law, degree)
    elif half_lines:
        moments = _half_line_moments(*half_lines[0], law, degree)
    elif factors.distributions:
        moments = _distribution_moments(*factors.distributions[0], law, degree)
    else:
        moments = [gaussian_moment(k, law.mean, law.variance) for k in range(degree + 1)]
    return cast(sp.Expr, sp.Add(*(c * moments[k] for k, c in factors.polynomial.items())))


def _common_half_lines(half_lines: tuple[Affine, ...]) -> list[Affine] | None:
    """At most one half-line a + b x > 0 upwards and one downwards, in this order, with the same points in
    common; None where it is not decidable which is the shorter of two.
    """
    if len(half_lines) < 2:
        return list(half_lines)
    if any(form[1].is_positive is None for form in half_lines):
        return None
    common: list[Affine] = []
    for upwards in (True, False):
        mine = [form for form in half_lines if form[1].is_positive is upwards]
        if not mine:
            continue
        shortest = mine[0]
        for a, b in mine[1:]:
            beyond = (-a / b + shortest[0] / shortest[1]) * (1 if upwards else -1)
            if beyond.is_nonnegative:
                shortest = (a, b)
            elif not beyond.is_nonpositive:
                return None
        common.append(shortest)
    return common


def _empty(half_lines: list[Affine]) -> bool:
    """Whether nothing is between two half-lines, as far as that is decidable."""
    if len(half_lines) < 2:
        return False
    (a, b), (c, d) = half_lines
    return bool((c / d - a / b).is_nonnegative)


def gaussian_moment(k: int, mean: sp.Expr, variance: sp.Expr) -> sp.Expr:
    """E[x^k] = sum_j binomial(k, 2j) (2j - 1)!! mean^(k - 2j) variance^j.

    >>> from sympy.abc import m, v
    >>> gaussian_moment(4, m, v)
    m**4 + 6*m**2*v + 3*v**2
    """
    return cast(
        sp.Expr,
        sp.Add(
            *(
                sp.binomial(k, 2 * j) * sp.factorial2(2 * j - 1) * mean ** (k - 2 * j) * variance**j
                for j in range(k // 2 + 1)
            )
        ),
    )


def _half_line_moments(a: sp.Expr, b: sp.Expr, law: _Law, degree: int) -> list[Any]:
    """E[x^k Heaviside(a + b x)] by Stein's lemma, with the kink at c = -a/b.

    J_k = mu J_(k-1) + v (k-1) J_(k-2) + sign(b) c^(k-1) v N(c; mu, v).
    """
    t = law.standardised(a, b, noise=0)
    moments: list[Any] = [ndtr(t)]
    even = -t if t.could_extract_minus_sign() else t
    edge = sp.sign(b) * sp.sqrt(law.variance) * npdf(even)
    for k in range(1, degree + 1):
        lower = (k - 1) * moments[k - 2] if k > 1 else sp.S.Zero
        moments.append(
            cast(sp.Expr, law.mean * moments[k - 1] + law.variance * lower + (-a / b) ** (k - 1) * edge)
        )
    return moments


def _interval_moments(lower: Affine, upper: Affine, law: _Law, degree: int) -> list[Any]:
    """E[x^k] on the interval where both forms are positive, by Stein's lemma at both ends."""
    ends = [-law.standardised(*lower, noise=0), law.standardised(*upper, noise=0)]
    moments: list[Any] = [ndtr_interval(*ends)]
    places = [-a / b for a, b in (lower, upper)]
    edges = [sp.sqrt(law.variance) * npdf(end) for end in ends]
    for k in range(1, degree + 1):
        below = (k - 1) * moments[k - 2] if k > 1 else sp.S.Zero
        jump = places[0] ** (k - 1) * edges[0] - places[1] ** (k - 1) * edges[1]
        moments.append(cast(sp.Expr, law.mean * moments[k - 1] + law.variance * below + jump))
    return moments


def _distribution_moments(a: sp.Expr, b: sp.Expr, law: _Law, degree: int) -> list[Any]:
    """E[x^k ndtr(a + b x)] by Stein's lemma.

    I_k = mu I_(k-1) + v ((k-1) I_(k-2) + b E[x^(k-1) phi(a + b x)]).
    """
    moments: list[Any] = [ndtr(law.standardised(a, b, noise=1))]
    weight = normal_density(a + b * law.mean, 0, 1 + b**2 * law.variance)
    narrowed = law.times_density(a, b, sp.S.One)
    for k in range(1, degree + 1):
        lower = (k - 1) * moments[k - 2] if k > 1 else sp.S.Zero
        edge = b * weight * gaussian_moment(k - 1, narrowed.mean, narrowed.variance)
        moments.append(cast(sp.Expr, law.mean * moments[k - 1] + law.variance * (lower + edge)))
    return moments
