"""Each named rule, verified numerically."""

from __future__ import annotations

import mpmath
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.expr import (
    GaussianAverage,
    OutputSum,
    heat_equation,
    hubbard_stratonovich,
    normal_density,
    npdf,
    output_integral_to_average,
    price,
    replica_limit,
    stein,
    xlogx,
)
from replica.expr.numeric import mp_function
from replica.expr.rules import reflected

x, y, z, m = sp.symbols("x y z m", real=True)
q, v = sp.Symbol("q", positive=True), sp.Symbol("v", positive=True)
n = sp.Symbol("n", nonnegative=True)
rationals = st.integers(-8, 8).map(lambda k: sp.Rational(k, 5))
positives = st.integers(1, 8).map(lambda k: sp.Rational(k, 5))
few = settings(max_examples=2)


def agree(left, right, digits=25):
    left, right = sp.N(left, 30), sp.N(right, 30)
    assert left.is_number, left
    assert right.is_number, right
    return abs(left - right) <= sp.Float(10, 30) ** -digits * max(1, abs(right))


# -- Stein and Price --


@given(rationals, positives, rationals)
@few
def test_stein(mean, variance, slope):
    for body in ((x - mean) * sp.tanh(slope * x + 1), x**2 * npdf(x), (2 * x + 1) * sp.exp(slope * x)):
        avg = GaussianAverage(body, x, mean, variance)
        rewritten = stein(avg)
        assert rewritten != avg
        assert agree(rewritten, avg)


def test_stein_takes_the_form_of_the_lemma():
    g = sp.Function("g")
    by_parts = stein(GaussianAverage((x - m) * g(x), x, m, v))
    assert by_parts == v * GaussianAverage(g(x).diff(x), x, m, v)
    assert stein(GaussianAverage(x, x, x, v)) == x
    with pytest.raises(ValueError, match="affine"):
        stein(GaussianAverage(sp.tanh(x), x, m, v))


def test_price_is_the_heat_equation_in_the_variance():
    f = sp.Function("f")
    avg = GaussianAverage(f(x), x, m, v)
    assert price(avg, v) == GaussianAverage(f(x).diff(x, 2), x, m, v) / 2
    assert price(avg, m) == GaussianAverage(f(x).diff(x), x, m, v)


def test_heat_equation_of_a_channel():
    """On the probit-like Z = N(y; omega, V + 1), both sides of every rewritten derivative agree."""
    omega, V = sp.Symbol("omega", real=True), sp.Symbol("V", positive=True)
    Z = sp.Function("Z")(y, omega, V)
    expr = Z.diff(V, 2) * y + sp.log(Z).diff(V) + Z.diff(omega, V, y) + Z.diff(y)
    rewritten = heat_equation(expr, Z, omega, V)
    assert not [d for d in rewritten.atoms(sp.Derivative) if V in d.variables]
    assert rewritten.coeff(y).has(sp.Derivative(Z, (omega, 4)))
    channel, point = normal_density(y, omega, V + 1), {y: 1, omega: sp.Rational(2, 3), V: sp.Rational(1, 5)}
    values = [sp.N(e.subs(Z, channel).doit().subs(point), 30) for e in (expr, rewritten)]
    assert agree(*values)
    with pytest.raises(ValueError, match="undefined function"):
        heat_equation(expr, channel, omega, V)


def test_heat_equation_backwards():
    """On Z_in(A, B) of +-1, exp(-A/2) cosh B, and of N(0, 1), exp(B^2/2/(1 + A))/sqrt(1 + A)."""
    A, B = sp.Symbol("A", positive=True), sp.Symbol("B", real=True)
    Z = sp.Function("Z")(A, B)
    expr = Z.diff(A, 2) + B * sp.log(Z).diff(A) + 3 * Z.diff(A, B) + Z.diff(B)
    rewritten = heat_equation(expr, Z, B, A, sign=-1)
    assert heat_equation(Z.diff(A), Z, B, A, sign=-1) == -Z.diff(B, 2) / 2
    assert heat_equation(Z.diff(A, 2), Z, B, A, sign=-1) == Z.diff(B, 4) / 4
    assert not [d for d in rewritten.atoms(sp.Derivative) if A in d.variables]
    point = {A: sp.Rational(3, 5), B: sp.Rational(-2, 3)}
    for law in (sp.exp(-A / 2) * sp.cosh(B), sp.exp(B**2 / (2 * (1 + A))) / sp.sqrt(1 + A)):
        values = [sp.N(e.subs(Z, law).doit().subs(point), 30) for e in (expr, rewritten)]
        assert agree(*values)
    forwards = heat_equation(expr, Z, B, A)
    law = sp.exp(-A / 2) * sp.cosh(B)
    assert not agree(*(sp.N(e.subs(Z, law).doit().subs(point), 30) for e in (expr, forwards)))


# -- mirror images --


def test_reflected_averages_add_up():
    body = sp.log(1 + x**2) * sp.tanh(x) ** 2  # even
    pair = GaussianAverage(body, x, m, v) / 2 + GaussianAverage(body, x, -m, v) / 2
    assert reflected(pair) == GaussianAverage(body, x, m, v)


def test_reflected_keeps_the_value():
    """An odd part changes sign with the mean: E_{x ~ N(-m, v)} f(x) = E_{x ~ N(m, v)} f(-x)."""
    average = GaussianAverage(sp.exp(x) * sp.tanh(x - 1), x, -m, v)
    mirrored = reflected(average)
    assert mirrored.mean == m
    assert mirrored != average.with_body(average.body)
    for centre in (sp.Rational(2, 5), sp.Rational(-3, 2)):
        point = {m: centre, v: sp.Rational(4, 5)}
        assert agree(mirrored.subs(point), average.subs(point))


def test_reflected_leaves_the_others():
    for average in (GaussianAverage(sp.tanh(x), x, m, v), GaussianAverage(sp.tanh(x), x, 0, v)):
        assert reflected(average) == average


def test_reflected_inside_an_average():
    """The mean of an inner average may hold the outer variable: it is reflected at each of its values."""
    inner = GaussianAverage(sp.tanh(x * y), x, -y, v)
    mirrored = reflected(GaussianAverage(inner**2, y, 0, q))
    assert all(not a.mean.could_extract_minus_sign() for a in mirrored.atoms(GaussianAverage))
    point = {v: sp.Rational(1, 2), y: sp.Rational(2, 3)}
    assert agree(reflected(inner).subs(point), inner.subs(point))


# -- integrals over outputs --


@pytest.mark.parametrize(
    "density",
    [
        normal_density(y, m, v),
        normal_density(m, y, v),
        normal_density(1 - 2 * y, m, v),
        normal_density(m, 3 * y, v),
    ],
    ids=str,
)
def test_output_integral_to_average(density):
    point = {m: sp.Rational(-1, 3), v: sp.Rational(4, 5)}
    integral = OutputSum((density + 2 * normal_density(y, 1, v)) * sp.log(1 + y**2), y, sp.S.Reals)
    average = output_integral_to_average(integral)
    assert not average.has(OutputSum)
    assert agree(average.subs(point), integral.subs(point), 22)


def test_output_entropy_of_a_mixture_of_densities():
    """int dy X log X with X a mixture, as for noisy phase retrieval; the logarithm is not expanded."""
    mixture = normal_density(y, 1, v) / 2 + normal_density(y, -1, v) / 2
    for body in (mixture * sp.log(mixture), xlogx(mixture)):
        average = output_integral_to_average(OutputSum(body, y, sp.S.Reals))
        assert {a.mean for a in average.atoms(GaussianAverage)} == {sp.S.One, sp.S.NegativeOne}
        assert all(a.body.has(sp.log(mixture)) for a in average.atoms(GaussianAverage))


def test_output_integral_of_a_square_keeps_one_density():
    average = output_integral_to_average(OutputSum(normal_density(y, m, v) ** 2, y, sp.S.Reals))
    assert average == GaussianAverage(normal_density(y, m, v), y, m, v)


def test_output_integral_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="no Gaussian density"):
        output_integral_to_average(OutputSum(normal_density(y, m, v) + sp.exp(-(y**2)), y, sp.S.Reals))
    with pytest.raises(ValueError, match="Reals"):
        output_integral_to_average(OutputSum(normal_density(y, m, v), y, sp.Interval(0, sp.oo)))


@given(positives, rationals)
@few
def test_hubbard_stratonovich(c, u):
    average = hubbard_stratonovich(c, u, z)
    assert agree(average, sp.exp(c * u**2 / 2))


def test_hubbard_stratonovich_needs_a_fresh_symbol():
    assert hubbard_stratonovich(q, m, z).doit() == sp.exp(q * m**2 / 2)
    with pytest.raises(ValueError, match="fresh"):
        hubbard_stratonovich(q, z * x, z)


# -- the replica limit --

POSITIVE = 2 + sp.tanh(z)
BINARY = (1 + y * sp.tanh(z) / 2) / 2
LIMITS = {
    "polynomial": n * (n - 1) * q / 2 + 3 * n * v - v + n**3,
    "prefactor": v * n * q - (n + 1) * n * q**2 / 4,
    "annealed": sp.log(GaussianAverage(POSITIVE**n, z, m, v)),
    "one-step": sp.log(GaussianAverage(POSITIVE ** (n / 3), z, m, v)) / q,
    "planted": sp.log(OutputSum(GaussianAverage(BINARY ** (n + 1), z, m, v), y, sp.FiniteSet(-1, 1))),
    "teacher": sp.log(OutputSum(GaussianAverage((1 + y) / 2 * BINARY**n, z, m, v), y, sp.FiniteSet(-1, 1))),
    "unnormalised": sp.log(OutputSum(GaussianAverage(POSITIVE**n, z, m, v), y, sp.FiniteSet(-1, 1))),
    "exponential": sp.log(GaussianAverage(sp.exp(n * z + n**2 * q) * POSITIVE**n, z, m, v)),
    "product": (n + 2) * sp.log(GaussianAverage(POSITIVE**n, z, m, v)),
    "determinant": (n - 1) * sp.log(v) + sp.log(v + n * q),
}


@pytest.mark.parametrize("name", LIMITS)
def test_replica_limit_is_the_derivative_at_zero(name):
    expr = LIMITS[name].subs({q: sp.Rational(2, 7), v: sp.Rational(3, 5), m: sp.Rational(1, 4)})
    limit = replica_limit(expr, n)
    assert not limit.has(n)
    with mpmath.workdps(30):
        function, h = mp_function(expr, (n,)), mpmath.mpf("1e-4")
        # 4 (f(h) - f(-h))/(6h) - (f(2h) - f(-2h))/(12 h): error of order h^4
        numeric = (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)
        assert abs(numeric - sp.N(limit, 25)._to_mpmath(90)) < 1e-13


def test_replica_limit_of_a_nest_in_named_form():
    X = sp.Function("X", positive=True)(y, z)
    planted = sp.log(OutputSum(GaussianAverage(X ** (n + 1), z, 0, q), y, sp.S.Reals))
    assert replica_limit(3 * planted, n) == 3 * OutputSum(
        GaussianAverage(X * sp.log(X), z, 0, q), y, sp.S.Reals
    )
    assert replica_limit(sp.log(GaussianAverage(X**n, z, 0, q)), n) == GaussianAverage(sp.log(X), z, 0, q)


@pytest.mark.parametrize(
    "expr",
    [
        sp.sin(n),
        1 / (n + 1),
        sp.log(GaussianAverage(sp.tanh(z + n) ** 2, z, 0, q)),
        sp.log(GaussianAverage(POSITIVE**n, z, n, q)),
        sp.log(GaussianAverage(POSITIVE**n, z, 0, q + n)),
        n**n,
        sp.log(n),
    ],
    ids=str,
)
def test_replica_limit_refuses_any_other_dependence(expr):
    with pytest.raises(ValueError, match=r"no rule|diverges"):
        replica_limit(q * n + expr, n)


def test_replica_limit_refuses_an_unnormalised_integral():
    expr = sp.log(OutputSum(GaussianAverage(POSITIVE**n, z, 0, q), y, sp.S.Reals))
    with pytest.raises(ValueError, match="diverges"):
        replica_limit(expr, n)
