"""Integrals and sums over the outputs of a channel."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica.expr.average import GaussianAverage, MixedOutputs, OutputSum
from replica.expr.logsum import expit
from replica.expr.stable import log_ndtr, ndtr, normal_density
from replica.lowering.program import lower
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP

y, omega, m = sp.symbols("y omega m", real=True)
b, v, q = sp.symbols("b v q", positive=True)
FLOAT = Float64()
LAPLACE = sp.exp(-sp.Abs(y - m) / b) / (2 * b)


def evaluate(expr, level, backend=FLOAT, **point):
    names = {"b": b, "v": v, "q": q, "m": m, "omega": omega}
    program = lower([expr], [names[k] for k in point])
    with backend.context():
        result = program.run(backend, level, list(point.values()))
    return result.values[0], result.error


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e5])
@pytest.mark.parametrize("place", [0.0, -3.0, 1e4])
def test_moments_of_a_laplace_density(scale, place):
    """1, and 2 b^2 for the variance; places and scales far from 0 and 1."""
    for body, exact in ((LAPLACE, 1.0), (LAPLACE * (y - m) ** 2 / b**2, 2.0)):
        for level in (3, 4, 5, 6):
            value, error = evaluate(OutputSum(body, y, sp.S.Reals), level, m=place, b=scale)
            # the density at a place known to eps |place| only
            assert abs(float(value) - exact) <= float(error) + 4e-16 * abs(place / scale), level
        assert abs(float(value) - exact) < 1e-12 + 4e-16 * abs(place / scale)


def test_batches_of_places_and_scales():
    scales, places = np.array([1e-3, 1.0, 30.0]), np.array([5.0, 0.0, -2.0])
    value, error = evaluate(OutputSum(LAPLACE, y, sp.S.Reals), 6, m=places, b=scales)
    assert value == pytest.approx([1, 1, 1], abs=1e-12)
    assert np.all(error < 1e-8)


@pytest.mark.parametrize(
    ("body", "outputs", "exact"),
    [
        (normal_density(y, m, v), sp.Interval(0, sp.oo), lambda m, v: mpmath.ncdf(m / mpmath.sqrt(v))),
        (normal_density(y, m, v), sp.Interval(-sp.oo, 1), lambda m, v: mpmath.ncdf((1 - m) / mpmath.sqrt(v))),
        (
            normal_density(y, m, v),
            sp.Interval(-1, 2),
            lambda m, v: mpmath.ncdf((2 - m) / mpmath.sqrt(v)) - mpmath.ncdf((-1 - m) / mpmath.sqrt(v)),
        ),
        (expit(y - m) * expit(m - y) / sp.sqrt(v), sp.S.Reals, lambda m, v: 1 / mpmath.sqrt(v)),
    ],
    ids=["half-line", "other half-line", "interval", "logistic density"],
)
def test_intervals(body, outputs, exact):
    for var in (1e-6, 0.3, 20.0):
        for level in (3, 4, 5, 6):
            value, error = evaluate(OutputSum(body, y, outputs), level, m=0.4, v=var)
            truth = float(exact(mpmath.mpf("0.4"), mpmath.mpf(var)))
            assert abs(float(value) - truth) <= float(error) + 1e-15 / np.sqrt(var), (var, level)
        assert abs(float(value) - truth) < 1e-12 * max(1, truth)


@pytest.mark.parametrize("make", [lambda: Arb(40), lambda: MP(30)], ids=["arb", "mpmath"])
def test_many_digits(make):
    backend = make()
    expr = OutputSum(LAPLACE * normal_density(y, 0, 1), y, sp.S.Reals)
    with backend.context():
        at = {"m": backend.rational(0, 1), "b": backend.rational(1, 1)}
    value, error = evaluate(expr, 6, backend, **at)
    with mpmath.workdps(50):
        exact = mpmath.exp(0.5) * mpmath.ncdf(-1)
        number = np.asarray(value).reshape(-1)[0]
        number = (
            mpmath.mpf(number.mid().str(45, radius=False))
            if backend.name == "arb"
            else mpmath.mpf(number._mpf_)
        )
        assert abs(number - exact) < mpmath.mpf(10) ** -26
    assert float(np.max(error)) < 1e-22


def test_a_slow_tail_is_not_believed():
    """1/(pi (1 + y^2)): the tail that is cut off is in the estimate."""
    for level in range(3, 8):
        value, error = evaluate(OutputSum(b / sp.pi / (b**2 + y**2), y, sp.S.Reals), level, b=1.0)
        assert abs(float(value) - 1) <= float(error)


def test_an_output_integral_inside_an_average():
    """Laplace noise on a Gaussian field: the entropy of the outputs given the field is log(2 b) + 1, and the
    mean of Z_out(y) with respect to the field is 1.
    """
    z = GaussianAverage(OutputSum(LAPLACE.subs(m, omega), y, sp.S.Reals), omega, 0, q)
    entropy = GaussianAverage(
        OutputSum(-LAPLACE.subs(m, omega) * (-sp.Abs(y - omega) / b - sp.log(2 * b)), y, sp.S.Reals),
        omega,
        0,
        q,
    )
    for scale in (1e-4, 0.5):
        assert float(evaluate(z, 5, b=scale, q=0.7)[0]) == pytest.approx(1, abs=1e-10)
        value, error = evaluate(entropy, 5, b=scale, q=0.7)
        assert abs(float(value) - np.log(2 * scale) - 1) < min(float(error), 1e-9)


def test_finite_outputs_are_summed():
    expr = OutputSum(ndtr(y * m) * log_ndtr(y * m), y, sp.FiniteSet(-1, 1))
    value, error = evaluate(expr, 3, m=0.3)
    p = float(mpmath.ncdf(0.3))
    assert float(value) == pytest.approx(p * np.log(p) + (1 - p) * np.log(1 - p), rel=1e-13)
    assert float(error) == 0


@pytest.mark.parametrize("level", [3, 4, 5])
@pytest.mark.parametrize("mean", [0.01, 3.0, 90.0, 600.0])
def test_a_poisson_law(level, mean):
    """Sum, mean and E log k!, with the error of too few terms announced."""
    law = sp.exp(y * sp.log(b) - b - sp.loggamma(y + 1))
    for body, exact in ((law, 1.0), (law * y, mean), (law * y * (y - 1), mean**2)):
        value, error = evaluate(OutputSum(body, y, sp.S.Naturals0), level, b=mean)
        assert abs(float(value) - exact) <= float(error) + 1e-12 * exact
        assert mean > 400 or level < 5 or float(error) < 1e-9 * exact


def test_counts_to_many_digits_and_by_direct_summation():
    law = OutputSum(sp.exp(y * sp.log(b) - b - sp.loggamma(y + 1)) * log_ndtr(y), y, sp.S.Naturals0)
    for backend in (Arb(40), MP(40)):
        with backend.context():
            three = backend.rational(3, 1)
        number = np.asarray(evaluate(law, 4, backend, b=three)[0]).reshape(-1)[0]
        with mpmath.workdps(50):
            exact = mpmath.nsum(
                lambda k: (
                    mpmath.exp(-3) * mpmath.mpf(3) ** k / mpmath.factorial(k) * mpmath.log(mpmath.ncdf(k))
                ),
                [0, 200],
            )
            text = number.mid().str(45, radius=False) if backend.name == "arb" else number
            assert abs(mpmath.mpf(text) - exact) < mpmath.mpf(10) ** -35
    assert abs(float(sp.N(law.subs(b, 3), 15)) - float(exact)) < 1e-12


def test_atoms_beside_an_interval():
    """y = max(h, 0) for h ~ N(m, v): the probability of 0, and the density of the positive outputs."""
    law = sp.Piecewise((ndtr(-m / sp.sqrt(v)), sp.Eq(y, 0)), (normal_density(y, m, v), True))
    outputs = MixedOutputs(sp.FiniteSet(0), sp.Interval.open(0, sp.oo))
    value, _ = evaluate(OutputSum(law, y, outputs), 6, m=0.3, v=0.7)
    assert float(value) == pytest.approx(1, abs=1e-13)
    value, _ = evaluate(OutputSum(law * y, y, outputs), 6, m=0.3, v=0.7)
    z = 0.3 / np.sqrt(0.7)
    exact = 0.3 * float(mpmath.ncdf(z)) + np.sqrt(0.7) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    assert float(value) == pytest.approx(exact, abs=1e-13)
