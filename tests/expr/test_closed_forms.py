"""Exact Gaussian averages against quadrature at 30 digits, and the forms they are written in."""

from __future__ import annotations

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.expr import GaussianAverage, gaussian_closed_form, ndtr, normal_density, npdf, split_at_kinks

h, y, omega, s = sp.symbols("h y omega s", real=True)
V, Delta = sp.Symbol("V", positive=True), sp.Symbol("Delta", positive=True)
rationals = st.integers(-9, 9).map(lambda k: sp.Rational(k, 4))
nonzero = rationals.filter(lambda r: r != 0)
positives = st.integers(1, 9).map(lambda k: sp.Rational(k, 4))


def over(body):
    return GaussianAverage(body, h, omega, V)


def agree(left, right, digits=26):
    with mpmath.workdps(45):
        left, right = sp.N(left, 30), sp.N(right, 30)
        assert left.is_number, left
        assert right.is_number, right
        return abs(left - right) <= sp.Float(10, 30) ** -digits * max(1, abs(right))


FACTORS = {
    "one": lambda p, q, r: sp.S.One,
    "heaviside": lambda p, q, r: sp.Heaviside(p + q * h),
    "ndtr": lambda p, q, r: ndtr(p + q * h),
    "abs": lambda p, q, r: sp.Abs(p + q * h),
    "sign": lambda p, q, r: sp.sign(p + q * h),
    "relu": lambda p, q, r: sp.Max(0, p + q * h),
    "piecewise": lambda p, q, r: sp.Piecewise((h**2, p + q * h > 0), (r, True)),
    "interval": lambda p, q, r: sp.Heaviside(p + q * h) * sp.Heaviside(p + r - q * h),
    "half-lines": lambda p, q, r: sp.Heaviside(p + q * h) * sp.Heaviside(r + 2 * q * h),
    "empty": lambda p, q, r: sp.Heaviside(p + q * h) * sp.Heaviside(-p - r - q * h),
    "clipped": lambda p, q, r: (sp.Abs(p + q * h + r) - sp.Abs(p + q * h - r)) / 2,
    "clipped twice": lambda p, q, r: sp.Max(-r, sp.Min(r, q * h)),
}
WEIGHTS = {
    "none": lambda p, q, r: sp.S.One,
    "exponential": lambda p, q, r: sp.exp(p * h + 1),
    "gaussian": lambda p, q, r: sp.exp(-r * h**2 + p * h),
    "density of the mean": lambda p, q, r: normal_density(p, q * h + 1, r),
    "density of the argument": lambda p, q, r: normal_density(h, p, r) * npdf(q * h - p),
    "power of a density": lambda p, q, r: normal_density(p, h, r) ** 2,
    "sum": lambda p, q, r: sp.cosh(p * h) + normal_density(h, q, r),
}


@given(
    factor=st.sampled_from(sorted(FACTORS)),
    weight=st.sampled_from(sorted(WEIGHTS)),
    p=rationals,
    q=nonzero,
    r=positives,
    mean=rationals,
    variance=positives,
    power=st.integers(0, 3),
)
@settings(max_examples=25)
def test_closed_form_is_the_average(factor, weight, p, q, r, mean, variance, power):
    check(factor, weight, p, q, r, mean, variance, power)


@pytest.mark.parametrize(
    ("factor", "weight"),
    [*((f, "exponential") for f in FACTORS), *(("ndtr", w) for w in WEIGHTS if w != "exponential")],
)
def test_closed_form_of_each_kind(factor, weight):
    third = sp.Rational(1, 3)
    check(factor, weight, third, -2 * third, 1 + third, 2 * third, sp.Rational(4, 5), 2)


def check(factor, weight, p, q, r, mean, variance, power):
    body = (h**power + 2) * FACTORS[factor](p, q, r) * WEIGHTS[weight](p + 1, q, r)
    avg = over(body).subs({omega: mean, V: variance})
    closed = gaussian_closed_form(avg)
    assert closed is not None
    assert not closed.has(GaussianAverage)
    assert agree(closed, avg)


@given(mean=rationals, variance=positives, p=rationals, q=nonzero, r=positives)
@settings(max_examples=6)
def test_dirac_is_the_limit_of_a_narrow_density(mean, variance, p, q, r):
    """E[g(h) delta(p - q h)] against a density of width 1e-15: agreement to the square of it."""
    body = sp.tanh(h) * normal_density(h, 1, r)
    exact = GaussianAverage(body * sp.DiracDelta(p - q * h), h, mean, variance).doit()
    law = (body * normal_density(h, mean, variance) / sp.Abs(q)).subs(h, p / q)
    assert agree(exact, law)


def test_symbolic_averages_hold_for_numbers():
    """Symbols first and numbers later is numbers first."""
    body = h**2 * sp.Heaviside(s + 2 * h) * normal_density(y, h, Delta)
    closed = over(body).doit()
    point = {
        y: sp.Rational(7, 10),
        omega: sp.Rational(-3, 10),
        V: sp.Rational(6, 5),
        Delta: sp.Rational(1, 2),
        s: 1,
    }
    assert agree(closed.subs(point), over(body).subs(point))


def test_gaussian_channel():
    assert over(normal_density(y, h, Delta)).doit() == normal_density(y, omega, Delta + V)
    assert over(normal_density(h, y, Delta)).doit() == normal_density(omega, y, Delta + V)


def test_sign_channel():
    channel = over(sp.Heaviside(y * h))
    for label in (-1, 1):
        assert channel.subs(y, label).doit() == ndtr(label * omega / sp.sqrt(V))
        assert channel.doit().subs(y, label) == ndtr(label * omega / sp.sqrt(V))


def test_probit_channel():
    assert over(ndtr(y * h)).subs(y, -1).doit() == ndtr(-omega / sp.sqrt(1 + V))


def test_phase_retrieval_channel():
    t = (V * y + Delta * omega) / sp.sqrt(Delta * V * (Delta + V))
    u = (V * y - Delta * omega) / sp.sqrt(Delta * V * (Delta + V))
    expected = normal_density(y, omega, V + Delta) * ndtr(t) + normal_density(y, -omega, V + Delta) * ndtr(u)
    assert sp.expand(over(normal_density(y, sp.Abs(h), Delta)).doit() - expected) == 0


def test_noiseless_phase_retrieval():
    closed = over(sp.DiracDelta(y - sp.Abs(h))).doit()
    densities = normal_density(y, omega, V) + normal_density(-y, omega, V)
    assert sp.expand(closed - sp.Heaviside(y) * densities) == 0


def test_rectified_moments():
    u = omega / sp.sqrt(V)
    assert sp.expand(over(sp.Max(0, h)).doit() - (omega * ndtr(u) + sp.sqrt(V) * npdf(u))) == 0
    second = (omega**2 + V) * ndtr(u) + omega * sp.sqrt(V) * npdf(u)
    assert sp.expand(over(sp.Max(0, h) ** 2).doit() - second) == 0


def test_moments_and_generating_function():
    assert over(h**4).doit() == omega**4 + 6 * omega**2 * V + 3 * V**2
    assert over(sp.exp(s * h)).doit() == sp.exp(s * omega + s**2 * V / 2)
    assert over(3 * y + y * h).doit() == 3 * y + y * omega


def test_what_has_no_closed_form_stays():
    for body in (
        sp.tanh(h),
        sp.log(h**2),
        ndtr(h) ** 2,
        sp.Heaviside(h) * ndtr(h),
        sp.exp(h**3),
        1 / (1 + h**2),
    ):
        assert gaussian_closed_form(over(body)) is None
        assert over(body).doit() == over(body)
    assert gaussian_closed_form(over(h + sp.tanh(h))) is None


def test_a_divergent_average_is_not_given_a_value():
    assert gaussian_closed_form(GaussianAverage(sp.exp(h**2), h, 0, 1)) is None


def test_the_bound_name_may_be_free_elsewhere():
    """The mean contains the name that is bound: it is another symbol."""
    assert GaussianAverage(h**2, h, h, V).doit() == h**2 + V


@pytest.mark.parametrize(
    "expr",
    [
        sp.exp(-sp.Abs(h - 1)) * sp.sign(h),
        normal_density(2, sp.Abs(h), 1) + sp.Abs(h) * h,
        sp.Max(0, 1 - h) ** 2 + sp.Max(h, 2 * h - 1, 3),
        sp.Min(h, 1) * sp.Heaviside(2 - h),
        sp.Piecewise((h, h < -1), (h**2, h <= 1), (sp.cos(h), True)),
        sp.tanh(sp.sign(3 - 2 * h) * h) / (1 + sp.Abs(h)),
        sp.Piecewise((1, sp.And(h > -1, h < 1)), (0, True)) * sp.Abs(h),
    ],
    ids=str,
)
def test_split_at_kinks_keeps_the_function(expr):
    split = split_at_kinks(expr, h)
    assert not split.has(sp.Abs, sp.sign, sp.Max, sp.Min, sp.Piecewise)
    for k in range(-17, 18):
        point = sp.Rational(2 * k + 1, 11) + sp.Rational(1, 97)
        assert sp.N(split.subs(h, point) - expr.subs(h, point), 20) == pytest.approx(0, abs=1e-15)


def test_split_at_kinks_writes_half_lines():
    f = sp.Function("f")
    split = split_at_kinks(f(sp.Abs(h)), h)
    assert split == f(h) * sp.Heaviside(h) + f(-h) * sp.Heaviside(-h)
    assert split_at_kinks(sp.tanh(h), h) == sp.tanh(h)


def test_split_at_kinks_respects_scope():
    bound = GaussianAverage(sp.Abs(h), h, 0, 1)
    assert split_at_kinks(bound, h) == bound
    moving = GaussianAverage(sp.Abs(h + y), y, 0, 1)
    assert split_at_kinks(moving, h) == moving
    assert split_at_kinks(GaussianAverage(y * sp.Abs(h), y, 0, 1), h) == (
        GaussianAverage(y * h, y, 0, 1) * sp.Heaviside(h)
        + GaussianAverage(-y * h, y, 0, 1) * sp.Heaviside(-h)
    )
