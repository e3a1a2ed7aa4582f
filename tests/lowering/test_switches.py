"""Steep bodies: nodes cluster where functions switch, and the error estimate is never below the error."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.logsum import expit, logaddexp
from replica.expr.stable import log2cosh, log_ndtr, ndtr, npdf
from replica.lowering.parity import is_even
from replica.lowering.pathwise import path_derivative
from replica.lowering.program import lower
from replica.lowering.switches import switches_of
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP

x, w, c1, c2, b1, b2, m = sp.symbols("x w c1 c2 b1 b2 m", real=True)
a, v, q = sp.symbols("a v q", positive=True)
FLOAT = Float64()


def evaluate(program, level, *arguments, backend=FLOAT):
    with backend.context():
        return program.run(backend, level, list(arguments))


# --- bodies whose averages are known ------------------------------------------------------------------------


def gauss(z):
    return mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)


def step(k, b, mean, var):
    """E ndtr(b (x - k)) = ndtr(b (mean - k)/sqrt(1 + b^2 var))."""
    return mpmath.ncdf(b * (mean - k) / mpmath.sqrt(1 + b * b * var))


def jump(k, mean, var):
    return mpmath.ncdf((mean - k) / mpmath.sqrt(var))


def corner(k, mean, var):
    """E |x - k|."""
    s = mpmath.sqrt(var)
    z = (mean - k) / s
    return s * (z * (2 * mpmath.ncdf(z) - 1) + 2 * gauss(z))


def peak(k, b, mean, var):
    """E b npdf(b (x - k))."""
    s = mpmath.sqrt(var + 1 / mpmath.mpf(b) ** 2)
    return gauss((mean - k) / s) / s


BODIES = {
    "two steps": (
        ndtr(b1 * (x - c1)) - ndtr(b2 * (x - c2)) / 2,
        lambda c1, c2, b1, b2, m, v: step(c1, b1, m, v) - step(c2, b2, m, v) / 2,
    ),
    "a jump and a step": (
        sp.Heaviside(x - c1) + 2 * ndtr(b2 * (x - c2)),
        lambda c1, c2, b1, b2, m, v: jump(c1, m, v) + 2 * step(c2, b2, m, v),
    ),
    "a corner and a jump": (
        sp.Abs(x - c1) + sp.sign(x - c2),
        lambda c1, c2, b1, b2, m, v: corner(c1, m, v) + 2 * jump(c2, m, v) - 1,
    ),
    "a peak and a corner": (
        b1 * npdf(b1 * (x - c1)) + sp.Abs(x - c2),
        lambda c1, c2, b1, b2, m, v: peak(c1, b1, m, v) + corner(c2, m, v),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_estimate_bounds_the_error_at_every_level(name):
    """Random places, steepness from 1e-3 to 1e6, random means and variances, all in one batch."""
    body, exact = BODIES[name]
    rng = np.random.default_rng(7)
    size = 60
    places = rng.normal(0, 1.5, (2, size))
    slopes = 10 ** rng.uniform(-3, 6, (2, size))
    mean, variance = rng.normal(0, 1, size), 10 ** rng.uniform(-3, 1, size)
    point = [*places, *slopes, mean, variance]
    program = lower([GaussianAverage(body, x, m, v)], [c1, c2, b1, b2, m, v])
    with mpmath.workdps(30):
        truth = np.array([float(exact(*map(mpmath.mpf, at))) for at in np.transpose(point)])
    for level in range(3, 8):
        result = evaluate(program, level, *point)
        wrong = np.abs(result.values[0] - truth)
        assert np.all(wrong <= result.error + 1e-15 * np.abs(truth)), level
    # a place has 16 digits, so a flank of slope b loses b
    assert np.all(wrong < 1e-13 * (1 + np.abs(truth)) + 1e-16 * slopes.max(axis=0))


@pytest.mark.parametrize("slope", [1, 1000, 10**6])
@pytest.mark.parametrize(
    "body",
    [expit(b1 * x - 3), sp.tanh(b1 * (x - 1)) ** 2, log_ndtr(b1 * x) / b1, log2cosh(b1 * (x + 1)) / b1],
)
def test_steep_functions_against_adaptive_quadrature(body, slope):
    program = lower([GaussianAverage(body, x, m, v)], [b1, m, v])
    result = evaluate(program, 6, float(slope), 0.3, 1.5)
    from replica.expr.numeric import mp_function

    with mpmath.workdps(20):
        function = mp_function(body, (x, b1))
        mean, s = mpmath.mpf("0.3"), mpmath.sqrt(mpmath.mpf("1.5"))
        cuts = {
            k + sign * d / mpmath.mpf(slope) for k in (-1, 0, 1) for sign in (-1, 1) for d in (0, 3, 12, 50)
        }
        cuts = sorted({-15, 15, *(cut for cut in cuts if -15 < cut < 15)})
        truth = mpmath.quad(lambda t: function(t, slope) * gauss((t - mean) / s) / s, cuts)
        assert abs(float(result.values[0]) - truth) < 1e-13 * abs(truth) + 1e-14
    assert float(result.error) < 1e-9 * (1 + abs(float(truth)))


@pytest.mark.parametrize("width", [1, 30, 3000])
@pytest.mark.parametrize("odds", [-2, 4, 60])
@pytest.mark.parametrize("form", ["quadratic", "shifted", "log2cosh"])
def test_log_odds_that_are_zero_on_both_sides_against_a_plain_sum(form, odds, width):
    """Posterior odds of a sparse signal: x^2/2 or log 2 cosh x, less their size in the middle."""
    bend = {"quadratic": x**2 / 2, "shifted": x * (x - 1) / 2, "log2cosh": log2cosh(x)}[form]
    program = lower([GaussianAverage(x**2 * expit(bend - c1) * expit(c1 - bend), x, 0, v)], [c1, v])
    t, step = np.linspace(-40 * np.sqrt(width), 40 * np.sqrt(width), 2**18, retstep=True)
    value = {"quadratic": t**2 / 2, "shifted": t * (t - 1) / 2, "log2cosh": np.logaddexp(t, -t)}[form]
    d = np.abs(value - odds)
    terms = t**2 * np.exp(-d - t**2 / (2 * width)) / (1 + np.exp(-d)) ** 2
    truth = terms.sum() * step / np.sqrt(2 * np.pi * width)
    for level, accuracy in ((5, 1e-8), (6, 1e-12), (7, 1e-13)):
        result = evaluate(program, level, float(odds), float(width))
        wrong = abs(float(result.values[0]) - truth)
        assert wrong <= float(result.error) + 5e-14 * truth
        assert wrong < accuracy * truth


@pytest.mark.parametrize(
    "make",
    [lambda: Arb(40), pytest.param(lambda: MP(40), marks=pytest.mark.slow)],
    ids=["arb", "mpmath"],
)
def test_thirty_digits_at_a_corner_and_a_steep_step(make):
    backend = make()
    body = sp.Abs(x - sp.Rational(1, 3)) + ndtr(1000 * (x + 1)) + sp.Heaviside(x - 2)
    program = lower([GaussianAverage(body, x, 0, v)], [v])
    with backend.context():
        variance = backend.rational(7, 5)
    result = evaluate(program, 6, variance, backend=backend)
    with mpmath.workdps(60):
        third, var = mpmath.mpf(1) / 3, mpmath.mpf(7) / 5
        truth = corner(third, 0, var) + step(-1, 1000, 0, var) + jump(2, 0, var)
        number = np.asarray(result.values[0]).reshape(-1)[0]
        value = (
            mpmath.mpf(number.mid().str(50, radius=False))
            if backend.name == "arb"
            else mpmath.mpf(number._mpf_)
        )
        assert abs(value - truth) < mpmath.mpf(10) ** -35
    assert float(np.max(result.error)) < 1e-30


# --- nested averages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1e-12, 1e-6, 1e-3, 1.0])
def test_an_inner_step_is_found_by_the_outer_average(noise):
    """E_w E_{x ~ N(w, v)} ndtr(x/sqrt a) = 1/2, and squared: the orthant probability of two correlated
    Gaussians, 1/4 + arcsin(q/(q + v + a))/(2 pi) (W. F. Sheppard, 1899).
    """
    inner = GaussianAverage(ndtr(x / sp.sqrt(a)), x, w, v)
    program = lower([GaussianAverage(inner, w, 0, q), GaussianAverage(inner**2, w, 0, q)], [a, v, q])
    for variance in (1e-10, 1e-2, 3.0):
        result = evaluate(program, 6, noise, variance, 1.7)
        more = variance + noise
        exact = 0.5 - np.arctan2(np.sqrt(more * (2 * 1.7 + more)), 1.7) / (2 * np.pi)
        assert float(result.values[0]) == pytest.approx(0.5, abs=1e-14)
        assert abs(float(result.values[1]) - exact) < min(1e-12, float(result.error) + 1e-15)


def test_memory_of_nested_averages_does_not_grow_with_the_batch():
    import tracemalloc

    program = lower([GaussianAverage(GaussianAverage(sp.tanh(x * w), x, w, v) ** 2, w, 0, q)], [v, q])
    peaks = []
    for size in (4, 64):
        tracemalloc.start()
        evaluate(program, 5, np.full(size, 0.3), np.linspace(0.5, 1.5, size))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 10**7


def test_a_point_of_a_batch_does_not_depend_on_the_others():
    program = lower([GaussianAverage(sp.tanh(x / a) ** 2, x, m, v)], [a, m, v])
    scales = np.array([1e-6, 1.0, 1e-2])
    together = evaluate(program, 6, scales, 0.2, 1.1).values[0]
    alone = [float(evaluate(program, 6, s, 0.2, 1.1).values[0]) for s in scales]
    assert together == pytest.approx(alone, rel=1e-14)


def test_noiseless_phase_retrieval_with_a_gaussian_signal():
    """y = |h| and x ~ N(0, 1): q_hat = alpha E_omega E_{y ~ N(omega, v)} g^2 with
    g = (y tanh(omega y/v) - omega)/v, and v = 1/(1 + q_hat).  It equals
    alpha [1/v - E z^2 sech^2(omega z/v)/v^2] with z ~ N(omega, v) (J. Barbier et al., PNAS 116, 5451 (2019)).
    """
    error = sp.Symbol("error", positive=True)
    g = (x * sp.tanh(w * x / error) - w) / error
    output = GaussianAverage(GaussianAverage(g**2, x, w, error), w, 0, 1 - error)
    sech2 = x**2 * (1 - sp.tanh(w * x / error) ** 2)
    other = 1 / error - GaussianAverage(GaussianAverage(sech2, x, w, error), w, 0, 1 - error) / error**2
    program, witness = lower([output], [error]), lower([other], [error])
    errors = np.array([0.9, 0.5, 1e-2, 1e-5])
    value, expected = (evaluate(p, 6, errors).values[0] for p in (program, witness))
    assert value == pytest.approx(expected, rel=1e-10)
    for alpha, overlap in ((0.8, 0.21622749029566), (1.0, 0.47626358549746184)):
        q_hat = alpha * float(evaluate(program, 6, 1 - overlap).values[0])
        assert q_hat / (1 + q_hat) == pytest.approx(overlap, abs=3e-13)


# --- the rules ----------------------------------------------------------------------------------------------


def test_switches_of_an_inner_average_are_smeared():
    inner = GaussianAverage(ndtr(3 * x - 1) * sp.Abs(x), x, w, v)
    places = {(s.centre, s.width) for s in switches_of([inner * log2cosh(5 * w)], w)}
    assert places == {
        (sp.Rational(1, 3), sp.sqrt(9 * v + 1) / 3),
        (sp.S.Zero, sp.sqrt(v)),
        (sp.S.Zero, sp.Rational(1, 5)),
    }
    (found,) = switches_of([logaddexp(-((x - w) ** 2) / a, -((x + w) ** 2) / a)], x)
    assert found.centre == 0
    assert sp.simplify(found.width - a / (4 * sp.Abs(w))) == 0


@pytest.mark.parametrize(
    ("body", "even"),
    [
        (sp.tanh(x) ** 2 * log2cosh(a * x), True),
        (ndtr(x) * expit(-x) ** 2 + ndtr(-x) * expit(x) ** 2, True),
        (
            GaussianAverage(log_ndtr(w + a * x), w, x, v) + GaussianAverage(log_ndtr(a * x - w), w, x, v),
            False,
        ),
        (
            GaussianAverage(log_ndtr(w + a * x), w, x, v) + GaussianAverage(log_ndtr(w - a * x), w, -x, v),
            True,
        ),
        (GaussianAverage(log_ndtr(w + a * x) + log_ndtr(-w - a * x), w, x, v), True),
        ((1 - x) ** 2, False),
        (sp.exp(x), False),
    ],
)
def test_even_bodies(body, even):
    assert is_even(lower([body], [a, v, x]), 2) is even


def test_half_of_an_even_average_is_enough():
    even = GaussianAverage(sp.tanh(1000 * x) ** 2 * sp.Abs(x), x, 0, v)
    shifted = GaussianAverage(even.body, x, m, v)  # not known to be even
    (block,) = lower([even], [v]).blocks
    assert block.geometry.even
    for level in range(3, 7):
        half, whole = (
            evaluate(lower([even], [v]), level, 2.0),
            evaluate(lower([shifted], [m, v]), level, 0.0, 2.0),
        )
        assert abs(float(half.values[0]) - float(whole.values[0])) <= float(half.error + whole.error)


def test_the_derivative_along_the_nodes_is_the_derivative():
    """Against Price's theorem, with a mean and variances that all move."""
    inner = GaussianAverage(log2cosh(x * a) + w * ndtr(x), x, a * w, a + 1)
    expr = a * GaussianAverage(inner**2, w, sp.sqrt(a), 1 / a)
    program = lower([path_derivative(expr, a), expr.diff(a)], [a])
    result = evaluate(program, 7, 0.8)
    assert float(result.values[0]) == pytest.approx(float(result.values[1]), rel=1e-11)
