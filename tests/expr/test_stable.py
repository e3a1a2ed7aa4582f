"""Stable functions: derivatives, exact and extreme values, precision, LaTeX."""

from __future__ import annotations

import mpmath
import pytest
import sympy as sp

from replica.expr import (
    STABLE,
    inverse_mills,
    log2cosh,
    log_ndtr,
    ndtr,
    normal_density,
    npdf,
    xlogx,
)

x, m = sp.symbols("x m", real=True)
v = sp.Symbol("v", positive=True)

DEFINITIONS = {
    "log2cosh": lambda u: mpmath.log(2 * mpmath.cosh(u)),
    "ndtr": mpmath.ncdf,
    "log_ndtr": lambda u: mpmath.log(mpmath.ncdf(u)),
    "npdf": mpmath.npdf,
    "inverse_mills": lambda u: mpmath.npdf(u) / mpmath.ncdf(u),
    "xlogx": lambda u: u * mpmath.log(u),
}
POINTS = ["1e-9", "0.3", "2.5", "17"]


def mpf(expr, digits):
    return sp.N(expr, digits)._to_mpmath(int(3.4 * digits) + 10)


def agree(left, right, digits):
    with mpmath.workdps(digits + 20):
        return abs(left - right) <= mpmath.mpf(10) ** -digits * abs(right)


@pytest.mark.parametrize(
    ("name", "point", "sign"),
    [(f, p, s) for f in DEFINITIONS for p in POINTS for s in (1, -1) if f != "xlogx" or s > 0],
)
def test_value_at_fifty_digits(name, point, sign):
    with mpmath.workdps(250):
        exact = DEFINITIONS[name](sign * mpmath.mpf(point))
    assert agree(mpf(STABLE[name](sign * sp.Rational(point)), 50), exact, 49)


@pytest.mark.parametrize(
    ("name", "point"),
    [(f, p) for f in DEFINITIONS for p in ("0.3", "2.5", "-1.7") if f != "xlogx" or p != "-1.7"],
)
@pytest.mark.parametrize("order", [1, 2])
def test_derivative_at_fifty_digits(name, point, order):
    with mpmath.workdps(70):
        exact = mpmath.diff(DEFINITIONS[name], mpmath.mpf(point), order)
    derivative = STABLE[name](x).diff(x, order)
    assert agree(mpf(derivative.subs(x, sp.Rational(point)), 50), exact, 45)


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_normal_density_derivatives(argument):
    point = [sp.Rational(7, 10), sp.Rational(-1, 3), sp.Rational(6, 5)]
    symbols = (x, m, v)

    def density(*args):
        return mpmath.npdf(args[0], args[1], mpmath.sqrt(args[2]))

    orders = tuple(int(k == argument) for k in range(3))
    with mpmath.workdps(70):
        exact = mpmath.diff(density, tuple(mpmath.mpf(p.p) / p.q for p in point), orders)
    derivative = normal_density(*symbols).diff(symbols[argument])
    values = dict(zip(symbols, point, strict=True))
    assert agree(mpf(derivative.subs(values), 50), exact, 40)
    assert agree(
        mpf(normal_density(*symbols).rewrite(sp.exp).diff(symbols[argument]).subs(values), 50), exact, 40
    )


def test_normal_density_solves_the_heat_equation():
    density = normal_density(x, m, v)
    assert sp.expand(density.diff(v) - density.diff(m, 2) / 2) == 0


def test_derivatives_stay_stable():
    assert log2cosh(x).diff(x) == sp.tanh(x)
    assert log_ndtr(x).diff(x) == inverse_mills(x)
    assert ndtr(x).diff(x) == npdf(x)
    assert npdf(x).diff(x) == -x * npdf(x)
    assert inverse_mills(x).diff(x) == -inverse_mills(x) * (x + inverse_mills(x))
    assert xlogx(x).diff(x) == sp.log(x) + 1
    assert log_ndtr(2 * x).diff(x) == 2 * inverse_mills(2 * x)


@pytest.mark.parametrize(
    ("expr", "expected", "digits"),
    [
        (log2cosh(10**6), "1e6", 60),
        (log2cosh(-800), "800", 60),
        (inverse_mills(-(10**3)), "1000.0009999980000099999260008", 28),
        (inverse_mills(-(10**8)), "100000000.00000000999999999999999800000000000000099999999999999926", 50),
        (xlogx(sp.Rational(1, 10**40)), "-9.2103403719761827360719658e-39", 25),
    ],
    ids=str,
)
def test_extreme_arguments(expr, expected, digits):
    """Asymptotic series, Abramowitz & Stegun 26.2.12."""
    with mpmath.workdps(80):
        assert agree(mpf(expr, 60), mpmath.mpf(expected), digits)


def test_log_ndtr_far_in_the_tail():
    """log Phi(-x) = -x^2/2 - log(x sqrt(2 pi)) + log(1 - 1/x^2 + 3/x^4 - 15/x^6 + ...) at x = 1000."""
    with mpmath.workdps(60):
        big = mpmath.mpf(1000)
        series = sum((-1) ** k * mpmath.fac2(2 * k - 1) / big ** (2 * k) for k in range(9))
        exact = -(big**2) / 2 - mpmath.log(big * mpmath.sqrt(2 * mpmath.pi)) + mpmath.log(series)
    assert agree(mpf(log_ndtr(-1000), 50), exact, 49)


def test_extreme_tails_are_relative():
    """Phi(-40) to 30 digits: erfc at 200 digits."""
    with mpmath.workdps(200):
        exact = mpmath.erfc(40 / mpmath.sqrt(2)) / 2
        complement = -exact
    assert agree(mpf(ndtr(-40), 30), exact, 29)
    assert agree(mpf(log_ndtr(40), 30), complement, 29)


def test_exact_values():
    assert [f(0) for f in (log2cosh, ndtr, log_ndtr, npdf, inverse_mills, xlogx)] == [
        sp.log(2),
        sp.Rational(1, 2),
        -sp.log(2),
        1 / sp.sqrt(2 * sp.pi),
        sp.sqrt(2 / sp.pi),
        0,
    ]
    assert ndtr(sp.oo) == 1
    assert ndtr(-sp.oo) == 0
    assert log_ndtr(-sp.oo) == -sp.oo
    assert xlogx(1) == 0
    assert ndtr(sp.Rational(1, 3)).func is ndtr
    with pytest.raises(ValueError, match="variance"):
        normal_density(x, 0, -1)


def test_assumptions():
    complex_ = sp.Symbol("c")
    assert ndtr(x).is_positive
    assert log_ndtr(x).is_negative
    assert inverse_mills(x).is_positive
    assert log2cosh(x).is_positive
    assert npdf(x).is_positive
    assert xlogx(v).is_real
    assert xlogx(x).is_real is None
    assert normal_density(x, m, v).is_positive
    assert normal_density(x, m, x).is_positive is None
    assert ndtr(complex_).is_real is None


def test_rewriting_to_elementary_functions():
    point = {x: sp.Rational(3, 7), m: 1, v: 2}
    for stable, target in [
        (ndtr(x), sp.erf),
        (ndtr(x), sp.erfc),
        (npdf(x), sp.exp),
        (normal_density(x, m, v), sp.exp),
        (log2cosh(x), sp.log),
        (log_ndtr(x), sp.log),
    ]:
        rewritten = stable.rewrite(target)
        assert rewritten != stable
        assert agree(mpf(rewritten.subs(point), 30), mpf(stable.subs(point), 30), 28)
    assert normal_density(x, m, v).doit() == normal_density(x, m, v).rewrite(sp.exp)


@pytest.mark.parametrize(
    ("expr", "tex"),
    [
        (log2cosh(x), r"\log 2\cosh\left(x\right)"),
        (log2cosh(x) ** 2, r"\left(\log 2\cosh\left(x\right)\right)^{2}"),
        (ndtr(x), r"\Phi\left(x\right)"),
        (ndtr(x) ** 2, r"\Phi\left(x\right)^{2}"),
        (log_ndtr(x), r"\log\Phi\left(x\right)"),
        (npdf(x), r"\varphi\left(x\right)"),
        (inverse_mills(x), r"\frac{\varphi\left(x\right)}{\Phi\left(x\right)}"),
        (xlogx(x), r"x\log\left(x\right)"),
        (xlogx(x + 1), r"\left(x + 1\right)\log\left(x + 1\right)"),
        (normal_density(x, m, v), r"\mathcal{N}\left(x;m,v\right)"),
    ],
    ids=str,
)
def test_latex(expr, tex):
    assert sp.latex(expr) == tex
