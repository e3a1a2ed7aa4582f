"""Quadrature rules against closed forms on every backend, and the error estimate against the true error."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.quadrature.rules import double_exponential, gaussian_line, nested_sum

DIGITS = 30
BACKENDS = {"float64": Float64, "mpmath": lambda: MP(DIGITS), "arb": lambda: Arb(DIGITS)}
GOAL = {"float64": 1e-13, "mpmath": 1e-26, "arb": 1e-26}
LEVEL = {"float64": 5, "mpmath": 6, "arb": 6}


def as_mpf(backend, value):
    number = np.asarray(value)[()]
    with mpmath.workdps(60):
        if backend.name == "arb":
            return mpmath.mpf(number.mid().str(DIGITS + 10, radius=False))
        return mpmath.mpf(float(number)) if backend.name == "float64" else mpmath.mpf(number._mpf_)


def unit_interval(backend, level, integrand):
    """The sum and its estimate; the integrand is a function of (backend, x, 1 - x)."""
    with backend.context():
        rule = double_exponential(backend, level)
        estimate = nested_sum(backend, integrand(backend, rule.left, rule.right) * rule.weights)
    return as_mpf(backend, estimate.value), float(np.asarray(estimate.error))


def line(backend, level, integrand):
    with backend.context():
        nodes, weights = gaussian_line(backend, level)
        estimate = nested_sum(backend, integrand(backend, nodes) * weights)
    return as_mpf(backend, estimate.value), float(np.asarray(estimate.error))


ENDPOINTS = {
    "constant": (lambda m, x, y: x + y, 1),
    "log": (lambda m, x, y: m.log(x), -1),
    "x^2 log x": (lambda m, x, y: x * x * m.log(x), mpmath.mpf(-1) / 9),
    "sqrt x log x": (lambda m, x, y: m.sqrt(x) * m.log(x), mpmath.mpf(-4) / 9),
    "x^(3/2) log(1-x)": (lambda m, x, y: x * m.sqrt(x) * m.log(y), None),
    "sqrt(x(1-x))": (lambda m, x, y: m.sqrt(x * y), None),
    "one over sqrt x": (lambda m, x, y: 1 / m.sqrt(x), 2),
    "arcsine": (lambda m, x, y: 1 / m.sqrt(x * y), None),
    "arcsine times log": (lambda m, x, y: m.log(x) / m.sqrt(x * y), None),
}
EXACT = {
    "sqrt(x(1-x))": lambda: mpmath.pi / 8,
    "arcsine": lambda: +mpmath.pi,
    "arcsine times log": lambda: -2 * mpmath.pi * mpmath.log(2),
    # d/db B(5/2, b) at b = 1
    "x^(3/2) log(1-x)": lambda: (
        mpmath.beta(mpmath.mpf(5) / 2, 1) * (mpmath.digamma(1) - mpmath.digamma(mpmath.mpf(7) / 2))
    ),
    "x^2 log x": lambda: -mpmath.mpf(1) / 9,
    "sqrt x log x": lambda: -mpmath.mpf(4) / 9,
}


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("kind", BACKENDS)
def test_endpoint_singularities_cost_nothing(kind, name):
    integrand, exact = ENDPOINTS[name]
    value, _ = unit_interval(BACKENDS[kind](), LEVEL[kind], integrand)
    with mpmath.workdps(50):
        exact = EXACT[name]() if name in EXACT else mpmath.mpf(exact)
        # 1/sqrt x loses half the digits at the last node: the mass beyond it is the square root of the cut
        goal = 10.0 ** (-BACKENDS[kind]().digits / 2) if "arcsine" in name or "over" in name else GOAL[kind]
        assert abs(value - exact) < goal * abs(exact)


def test_nodes_near_an_end_keep_their_digits():
    rule = double_exponential(Float64(), 6)
    assert 0 < rule.left[0] < 1e-15
    assert 0 < rule.right[-1] < 1e-15
    assert rule.left == pytest.approx(rule.right[::-1], rel=1e-13)
    assert rule.left + rule.right == pytest.approx(np.ones_like(rule.left), abs=1e-15)
    assert np.all(np.diff(rule.left) >= 0)


@pytest.mark.parametrize("power", [0, 2, 4, 6, 10])
@pytest.mark.parametrize("kind", BACKENDS)
def test_gaussian_moments(kind, power):
    value, _ = line(BACKENDS[kind](), LEVEL[kind], lambda m, t: t**power + 0 * t)
    assert abs(value - mpmath.fac2(power - 1)) < 10 * GOAL[kind] * mpmath.fac2(power - 1)
    odd, _ = line(BACKENDS[kind](), LEVEL[kind], lambda m, t: t ** (power + 1))
    assert abs(odd) < 10 * GOAL[kind] * mpmath.fac2(power + 1)


@pytest.mark.parametrize("kind", BACKENDS)
def test_gaussian_average_of_an_exponential(kind):
    value, _ = line(BACKENDS[kind](), LEVEL[kind], lambda m, t: m.exp(t * m.rational(3, 2)))
    with mpmath.workdps(50):
        assert abs(value / mpmath.exp(mpmath.mpf(9) / 8) - 1) < 100 * GOAL[kind]


@pytest.mark.parametrize("kind", BACKENDS)
def test_gaussian_average_of_a_steep_step(kind):
    """E Phi(a t)^2 = 1/4 + arcsin(a^2/(1 + a^2))/(2 pi), with the structure inside |t| < 1/a."""
    value, error = line(BACKENDS[kind](), LEVEL[kind] + 3, lambda m, t: m.ndtr(30 * t) ** 2)
    with mpmath.workdps(50):
        exact = mpmath.mpf(1) / 4 + mpmath.asin(mpmath.mpf(900) / 901) / (2 * mpmath.pi)
        assert abs(value - exact) < 1e-12
        assert abs(value - exact) <= error


# --- the error estimate -------------------------------------------------------------------------------------

INTEGRANDS = {
    # name: (on [0, 1] or the line, integrand, exact value)
    "polynomial": (unit_interval, lambda m, x, y: x * x, lambda: mpmath.mpf(1) / 3),
    "pole nearby": (unit_interval, lambda m, x, y: 1 / (1 + 25 * (x - y) ** 2), lambda: mpmath.atan(5) / 5),
    "logarithm": (unit_interval, lambda m, x, y: m.log(x) * m.log(y), lambda: 2 - mpmath.pi**2 / 6),
    "kink": (unit_interval, lambda m, x, y: m.abs(x - m.rational(1, 3)), lambda: mpmath.mpf(5) / 18),
    "smooth average": (line, lambda m, t: 1 / m.cosh(t) ** 2, None),
    "kinked average": (line, lambda m, t: m.abs(t - m.rational(1, 2)), None),
    "step average": (line, lambda m, t: m.heaviside(t - m.rational(1, 2)), None),
    "steep average": (line, lambda m, t: m.tanh(20 * t) ** 2, None),
    "growing average": (line, lambda m, t: m.exp(2 * t), lambda: mpmath.exp(2)),
}


KINKED = {"kink", "kinked average", "step average"}


def exact_average(name):
    half = mpmath.mpf(1) / 2
    integrands = {
        "smooth average": (lambda t: mpmath.sech(t) ** 2, [-12, 0, 12]),
        "steep average": (lambda t: mpmath.tanh(20 * t) ** 2, [-12, -1, -0.1, 0, 0.1, 1, 12]),
    }
    if name == "kinked average":
        return 2 * mpmath.npdf(half) + half * (2 * mpmath.ncdf(half) - 1)
    if name == "step average":
        return mpmath.ncdf(-half)
    f, points = integrands[name]
    return mpmath.quad(lambda t: f(t) * mpmath.npdf(t), points)


@pytest.mark.parametrize("name", INTEGRANDS)
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("level", [3, 4, 5, 6])
def test_the_estimate_is_above_the_error_and_not_absurd(kind, name, level):
    rule, integrand, exact = INTEGRANDS[name]
    backend = BACKENDS[kind]()
    value, estimate = rule(backend, level, integrand)
    with mpmath.workdps(40):
        true = float(abs(value - (exact() if exact else exact_average(name))))
    # at a kink inside, the error jumps about from level to level and two differences may both be small:
    # averages are split at their kinks before they come here, and the estimate is held to a factor 100
    accident = 100 if name in KINKED else 1
    assert true <= accident * estimate
    # never more than the error two levels below, within a factor of 100, or than a thousand roundings
    coarse, _ = rule(backend, level - 2, integrand)
    with mpmath.workdps(40):
        before = float(abs(coarse - (exact() if exact else exact_average(name))))
    size = max(1.0, float(abs(value)))
    assert estimate <= max(
        100 * before, 1e3 * size * 10.0**-backend.digits, 1e-14 * size if kind == "float64" else 0
    )


@pytest.mark.parametrize("kind", BACKENDS)
def test_nested_sum_of_a_batch(kind):
    backend = BACKENDS[kind]()
    with backend.context():
        rule = double_exponential(backend, 5)
        terms = np.stack([rule.left * rule.weights, rule.left**2 * rule.weights, 0 * rule.weights])
        estimate = nested_sum(backend, terms)
        values = backend.to_float(estimate.value)
    assert values == pytest.approx([1 / 2, 1 / 3, 0], abs=1e-13)
    assert np.shape(estimate.error) == (3,)
    assert estimate.error[2] <= 1e-13
    assert np.all(np.asarray(estimate.error, dtype=float) >= 0)
