"""Logistic function and log-sum: derivatives at 50 digits, stability, and the stable logarithm of an
expression.
"""

from __future__ import annotations

import math

import mpmath
import pytest
import sympy as sp

from replica.expr.logsum import expit, logaddexp, stable_log
from replica.expr.stable import log2cosh, ndtr, normal_density
from replica.lowering.program import lower
from solvers.backends.float64 import Float64

x, y, a, b = sp.symbols("x y a b", real=True)


def digits(expr, prec=60):
    return sp.N(expr, prec)._to_mpmath(250)


def close(left, right, accuracy):
    with mpmath.workdps(70):
        return abs(left - right) <= mpmath.mpf(10) ** -accuracy * max(1, abs(right))


@pytest.mark.parametrize("point", ["0.3", "-2.5", "17"])
@pytest.mark.parametrize("order", [1, 2])
def test_expit_derivatives_at_fifty_digits(point, order):
    with mpmath.workdps(80):
        exact = mpmath.diff(lambda u: 1 / (1 + mpmath.exp(-u)), mpmath.mpf(point), order)
    value = digits(expit(x).diff(x, order).subs(x, sp.Rational(point)))
    assert close(value, exact, 50)


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (1, 1), (2, 0)])
def test_logaddexp_derivatives_at_fifty_digits(orders):
    point = (sp.Rational(7, 5), sp.Rational(-2, 3))
    with mpmath.workdps(80):
        exact = mpmath.diff(
            lambda u, v: mpmath.log(mpmath.exp(u) + mpmath.exp(v)),
            tuple(mpmath.mpf(p.p) / p.q for p in point),
            orders,
        )
    derivative = logaddexp(a, b)
    for symbol, order in zip((a, b), orders, strict=True):
        derivative = derivative.diff(symbol, order)
    assert close(digits(derivative.subs({a: point[0], b: point[1]})), exact, 50)


def test_exact_values():
    assert expit(0) == sp.Rational(1, 2)
    assert sp.simplify(expit(x).rewrite(sp.exp) + expit(-x).rewrite(sp.exp)) == 1
    assert logaddexp(a, b).rewrite(sp.log) == sp.log(sp.exp(a) + sp.exp(b))


@pytest.mark.parametrize(
    ("left", "right", "value"),
    [
        (800, 800, 800 + math.log(2)),
        (-800, -800, -800 + math.log(2)),
        (800, -800, 800.0),
        (-800, -801, -800 + math.log1p(math.exp(-1))),
        (-801, 800, 800.0),
    ],
)
def test_no_overflow_at_eight_hundred(left, right, value):
    program = lower([logaddexp(a, b), logaddexp(a, b).diff(a), expit(a), expit(-a)], [a, b])
    backend = Float64()
    with backend.context():
        total, weight, up, down = program.run(backend, 4, [float(left), float(right)]).values
    assert total == pytest.approx(value, rel=1e-15)
    assert weight == pytest.approx(1 / (1 + math.exp(min(right - left, 700))), rel=1e-14, abs=1e-300)
    assert up + down == pytest.approx(1, abs=1e-15)
    assert 0 <= min(up, down) <= 1


@pytest.mark.parametrize(
    "expr",
    [
        ndtr(x) * normal_density(x, a, 2),
        3 * ndtr(x) ** 2 + normal_density(x, a, 1) * sp.exp(-(x**2)),
        ndtr(x) * normal_density(x, a, 1) + ndtr(-x) * normal_density(x, -a, 1) + sp.exp(a),
    ],
    ids=["product", "power and sum", "three terms"],
)
def test_stable_log_is_the_log(expr):
    point = {x: sp.Rational(3, 5), a: sp.Rational(-4, 3)}
    stable = stable_log(expr).rewrite(sp.log).subs(point)
    assert close(digits(stable), digits(sp.log(expr.subs(point))), 50)


def test_stable_log_far_in_the_tail():
    """log[Phi(-100) N(-100; 0, 1)] is finite where the product underflows; by the asymptotic series."""
    program = lower([stable_log(ndtr(x) * normal_density(x, 0, 1))], [x])
    backend = Float64()
    with backend.context():
        (value,) = program.run(backend, 4, [-100.0]).values
    series = math.log1p(-1e-4 + 3e-8 - 15e-12)
    assert value == pytest.approx(-10000 - math.log(2 * math.pi) - math.log(100) + series, rel=1e-14)


# -- mirror images --


def test_mirror_images_become_a_hyperbolic_cosine():
    """Z_in of +-1, exp(-b/2) cosh(x): one log2cosh, whose slope is a tanh."""
    logarithm = stable_log(sp.exp(x - b / 2) / 2 + sp.exp(-x - b / 2) / 2)
    assert logarithm == log2cosh(x) - b / 2 - sp.log(2)
    assert logarithm.diff(x) == sp.tanh(x)


def test_densities_that_are_mirror_images():
    """As for y = |h| without noise: N(y; a, 2) + N(y; -a, 2)."""
    logarithm = stable_log(normal_density(y, a, 2) + normal_density(y, -a, 2))
    assert logarithm.has(log2cosh)
    assert not logarithm.has(logaddexp)
    point = {y: sp.Rational(3, 5), a: sp.Rational(-4, 3)}
    direct = sp.log(normal_density(y, a, 2) + normal_density(y, -a, 2)).subs(point)
    assert close(digits(logarithm.subs(point)), digits(direct), 50)


@pytest.mark.parametrize(
    ("expr", "cosines", "sums"),
    [
        # two pairs, added up by one logaddexp
        (sp.exp(x) + sp.exp(-x) + sp.exp(3 * x) / 2 + sp.exp(-3 * x) / 2, 2, 1),
        # a pair and a constant, as for atoms at +-c and 0
        (sp.exp(x) + sp.exp(-x) + 5, 1, 1),
        # unlike weights are no mirror images
        (2 * sp.exp(x) + sp.exp(-x), 0, 1),
        # of three terms one has no partner
        (sp.exp(x + a) + sp.exp(a - x) + sp.exp(2 * x), 1, 1),
        # the logs of cumulative functions are no plain exponents
        (ndtr(x) + ndtr(-x) * sp.exp(a), 0, 1),
    ],
)
def test_which_terms_pair(expr, cosines, sums):
    logarithm = stable_log(expr)
    assert len(logarithm.atoms(log2cosh)) == cosines
    assert len(logarithm.atoms(logaddexp)) == sums
    point = {x: sp.Rational(7, 5), a: sp.Rational(-2, 3)}
    assert close(digits(logarithm.rewrite(sp.log).subs(point)), digits(sp.log(expr.subs(point))), 45)


def test_mirror_images_far_out():
    """exp(+-900) overflows, the logarithm and its slope do not; at 0 the slope is exactly 0."""
    logarithm = stable_log(sp.exp(x) / 2 + sp.exp(-x) / 2 + 1)
    program = lower([logarithm, logarithm.diff(x)], [x])
    backend = Float64()
    with backend.context():
        value, slope = program.run(backend, 4, [-900.0]).values
        _, at_zero = program.run(backend, 4, [0.0]).values
    assert value == pytest.approx(900 - math.log(2), rel=1e-15)
    assert slope == pytest.approx(-1, rel=1e-15)
    assert at_zero == 0


def test_latex():
    assert sp.latex(expit(x) ** 2) == r"\sigma^{2}\left(x\right)"
    assert sp.latex(logaddexp(a, b)) == r"\log\left(e^{a}+e^{b}\right)"
    assert sp.latex(logaddexp(a, b) ** 2) == r"\log\left(e^{a}+e^{b}\right)^{2}"
