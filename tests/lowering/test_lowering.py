"""Lowering: exact numbers, refusals, averages on three backends, bound variables, shapes."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica import TeacherStudent
from replica.expr.average import GaussianAverage
from replica.expr.logsum import logaddexp
from replica.expr.numeric import mp_function
from replica.expr.spectral import SpectralDensity, SpectralIntegral
from replica.expr.stable import log2cosh, log_ndtr, ndtr, xlogx
from replica.ingredients import Gaussian, ReLU
from replica.ingredients.spectra import gaussian_matrix
from replica.lowering.printer import LoweringError, compile_kernel
from replica.lowering.problem import pair_problem
from replica.lowering.program import lower
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP

x, w, u = sp.symbols("x w u", real=True)
a, q = sp.symbols("a q", positive=True)
A, Q = a, q
g = sp.Symbol("g")
DIGITS = 40
BACKENDS = {"float64": Float64, "mpmath": lambda: MP(DIGITS), "arb": lambda: Arb(DIGITS)}
GOAL = {"float64": 1e-13, "mpmath": 1e-34, "arb": 1e-34}


def as_mpf(backend, value):
    number = np.asarray(value).ravel()[0]
    with mpmath.workdps(DIGITS + 20):
        if backend.name == "arb":
            return mpmath.mpf(number.mid().str(DIGITS + 10, radius=False))
        return mpmath.mpf(float(number)) if backend.name == "float64" else mpmath.mpf(number._mpf_)


def run(kind, expr, level=6, **point):
    backend = BACKENDS[kind]()
    program = lower([expr], [sp.Symbol(name, **ASSUMPTIONS[name]) for name in point])
    with backend.context():
        result = program.run(backend, level, [backend.number(value) for value in point.values()])
    return as_mpf(backend, result.values[0]), float(np.max(result.error))


ASSUMPTIONS = {"x": {"real": True}, "w": {"real": True}, "a": {"positive": True}, "q": {"positive": True}}


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expr", [0.5 * x, x**0.5, sp.Float("0.1", 30) + x, GaussianAverage(sp.Float(2) * x, x, 0, 1)]
)
def test_an_inexact_literal_raises(expr):
    with pytest.raises(LoweringError, match="inexact literal"):
        lower([expr], [x])


@pytest.mark.parametrize(
    "expr",
    [sp.DiracDelta(x), GaussianAverage(sp.DiracDelta(x - w), x, 0, 1), sp.Function("f")(x), sp.gamma(x)],
)
def test_a_node_without_lowering_raises(expr):
    with pytest.raises(LoweringError, match="no lowering for"):
        lower([expr], [x, w])


@pytest.mark.parametrize(
    "expr",
    [
        x + a,
        GaussianAverage(x * a, x, 0, 1),
        GaussianAverage(x, x, 0, a),
        SpectralIntegral(SpectralDensity(g) * a, q, g, gaussian_matrix(1)),
        SpectralIntegral(SpectralDensity(g) * q, q, g, gaussian_matrix(a)),
    ],
    ids=["plain", "in the body", "in the variance", "in a spectral body", "in the law"],
)
def test_a_free_symbol_raises(expr):
    with pytest.raises(LoweringError, match="free symbol a is not an argument"):
        lower([expr], [x])
    lower([expr], [x, a])  # and does not when it is an argument


def test_the_bound_variable_is_not_free_outside():
    with pytest.raises(LoweringError, match="free symbol x"):
        lower([GaussianAverage(x**2, x, 0, 1) + x], [a])


# --- exact numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mpmath", "arb"])
def test_rationals_are_exact(kind):
    value, _ = run(kind, sp.Rational(1, 3) * x, x=1)
    with mpmath.workdps(60):
        assert abs(value - mpmath.mpf(1) / 3) < mpmath.mpf(10) ** (1 - DIGITS)
    value, _ = run(kind, x ** sp.Rational(1, 3) + sp.sqrt(2) + sp.pi + sp.E, x=5)
    with mpmath.workdps(60):
        exact = mpmath.cbrt(5) + mpmath.sqrt(2) + mpmath.pi + mpmath.e
        assert abs(value - exact) < mpmath.mpf(10) ** (2 - DIGITS) * 10


@pytest.mark.parametrize("kind", BACKENDS)
def test_straight_line_code(kind):
    expr = (
        (x + 1) ** 3 / (x**2 + a) ** 2
        - sp.exp(-x) * sp.log(a) / a ** sp.Rational(3, 2)
        + sp.tanh(x) * log2cosh(3 * x)
        + xlogx(a) ** 2
        + log_ndtr(-x)
        + logaddexp(x, -a)
        + sp.Abs(x - 2)
        + sp.sign(x) * sp.Heaviside(a - 1)
    )
    value, error = run(kind, expr, x="7/5", a="3/4")
    with mpmath.workdps(60):
        exact = mp_function(expr, (x, a))(mpmath.mpf(7) / 5, mpmath.mpf(3) / 4)
        assert abs(value - exact) < 10 * GOAL[kind] * abs(exact)
    assert error == 0


# --- averages -----------------------------------------------------------------------------------------------

AVERAGES = {
    "one": GaussianAverage(log2cosh(x), x, a, q),
    "power": GaussianAverage(ndtr(x) ** 3, x, 0, q) ** 2,
    "same name twice": GaussianAverage(sp.tanh(x) ** 2, x, 0, q) - GaussianAverage(sp.tanh(x) ** 2, x, a, q),
    "same name inside": GaussianAverage(sp.tanh(x) * GaussianAverage(sp.tanh(x) ** 2, x, 0, q), x, a, q),
    "log of an average": sp.log(GaussianAverage(sp.exp(x), x, a, q)) / q,
    "average in the variance": GaussianAverage(sp.tanh(x) ** 2, x, 0, GaussianAverage(w**2 + a, w, 0, q)),
    "average of a constant": GaussianAverage(a, x, 0, q),
}


def product(a, q):
    """The inner average does not depend on the outer variable of the same name."""
    factors = (GaussianAverage(sp.tanh(x), x, A, Q), GaussianAverage(sp.tanh(x) ** 2, x, 0, Q))
    return mpmath.fprod(mp_function(f, (A, Q))(a, q) for f in factors)


EXACT = {
    "same name inside": product,
    "log of an average": lambda a, q: (a + q / 2) / q,
    "average of a constant": lambda a, q: a,
}


def nested_by_hand(a, q):
    """E_{w ~ N(0, q)} (E_{x ~ N(w, a)} log 2cosh(x w))^2 by Gauss-Hermite rules."""
    t, weights = np.polynomial.hermite_e.hermegauss(180)
    weights = weights / np.sqrt(2 * np.pi)
    outer = np.sqrt(float(q)) * t
    inner = outer[:, None] + np.sqrt(float(a)) * t[None, :]
    product = np.abs(inner * outer[:, None])
    return (((product + np.log1p(np.exp(-2 * product))) @ weights) ** 2) @ weights


def witness(name, at):
    if name in EXACT:
        return EXACT[name](*at)
    return mp_function(AVERAGES[name], (a, q))(*at)


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("kind", BACKENDS)
def test_averages_against_adaptive_quadrature(kind, name):
    level = 6 if kind == "float64" or "inside" in name else 7
    value, error = run(kind, AVERAGES[name], level, a="3/4", q="7/5")
    with mpmath.workdps(25):
        exact = witness(name, (mpmath.mpf(3) / 4, mpmath.mpf(7) / 5))
        assert abs(value - exact) < max(GOAL[kind], 1e-18) * 10
    assert error < 1e-8


def test_nested_average_against_gauss_hermite():
    nested = GaussianAverage(GaussianAverage(log2cosh(x * w), x, w, a) ** 2, w, 0, q)
    value, error = run("float64", nested, 5, a="3/4", q="7/5")
    assert float(value) == pytest.approx(nested_by_hand(0.75, 1.4), rel=1e-8)
    assert error < 1e-8


@pytest.mark.parametrize("kind", BACKENDS)
def test_nested_average_of_a_polynomial(kind):
    """E_w E_{x ~ N(w, a)} x^4 = 3 (q + a)^2 to all digits."""
    nested = GaussianAverage(GaussianAverage(x**4, x, w, a), w, 0, q)
    value, _ = run(kind, nested, 6, a="1/3", q="1/2")
    with mpmath.workdps(60):
        assert abs(value - 3 * (mpmath.mpf(5) / 6) ** 2) < 100 * GOAL[kind]


def test_two_precise_backends_agree_to_forty_digits():
    expr = GaussianAverage(log2cosh(x) * ndtr(x), x, sp.Rational(1, 3), q)
    (left, _), (right, _) = (run(kind, expr, 8, q="7/5") for kind in ("mpmath", "arb"))
    assert abs(left - right) < mpmath.mpf(10) ** (3 - DIGITS)
    spectral = SpectralIntegral(SpectralDensity(g) * sp.log(q), q, g, gaussian_matrix(sp.Rational(1, 3)))
    (left, _), (right, _) = (run(kind, spectral, 6, a=1) for kind in ("mpmath", "arb"))
    assert abs(left - right) < mpmath.mpf(10) ** (5 - DIGITS)
    # E log x of Marchenko-Pastur: -1 - ((1 - c)/c) log(1 - c)
    with mpmath.workdps(60):
        assert abs(left + 1 + 2 * mpmath.log(mpmath.mpf(2) / 3)) < mpmath.mpf(10) ** (6 - DIGITS)


def test_a_shared_subexpression_of_bound_variables_is_not_lifted():
    """tanh(x)^2 occurs in two averages over different laws and beside them, each with its own x."""
    shared = sp.tanh(x) ** 2
    expr = GaussianAverage(shared, x, 0, q) + 10 * GaussianAverage(shared, x, 2, q) + 100 * shared
    value, _ = run("float64", expr, x="1/2", q="7/5")
    with mpmath.workdps(20):
        body = mp_function(shared, (x,))
        parts = [
            mpmath.quad(lambda t, m=m: body(m + mpmath.sqrt(1.4) * t) * mpmath.npdf(t), [-10, -1, 0, 1, 10])
            for m in (0, 2)
        ]
        exact = parts[0] + 10 * parts[1] + 100 * body(mpmath.mpf("0.5"))
    assert float(value) == pytest.approx(float(exact), rel=1e-13)


def test_renaming_a_bound_variable_changes_nothing():
    plain = GaussianAverage(GaussianAverage(x**2 * w, x, w, a), w, 1, q)
    renamed = GaussianAverage(GaussianAverage(w**2 * x, w, x, a), x, 1, q)
    assert run("float64", plain, a=2, q=3)[0] == run("float64", renamed, a=2, q=3)[0]
    assert float(run("float64", plain, a=2, q=3)[0]) == pytest.approx(1 * (1 + 3 * 3) + 2, rel=1e-13)


# --- shapes -------------------------------------------------------------------------------------------------


def test_arguments_broadcast():
    expr = GaussianAverage(sp.tanh(x + w) ** 2, x, 0, q) * a
    spectral = SpectralIntegral(SpectralDensity(g) * x**2 * w, x, g, gaussian_matrix(a))
    program = lower([expr, spectral, a], [w, a, q])
    backend = Float64()
    ws, values_a, qs = (
        np.array([0.3, 1.2])[:, None, None],
        np.array([0.5, 1.0, 2.0])[None, :, None],
        np.array([0.4, 2.0]),
    )
    with backend.context():
        result = program.run(backend, 5, [ws, values_a, qs])
        first, second, _ = (np.broadcast_to(v, (2, 3, 2)) for v in result.values)
        for index in np.ndindex(2, 3, 2):
            point = [float(np.broadcast_to(v, (2, 3, 2))[index]) for v in (ws, values_a, qs)]
            single = program.run(backend, 5, point).values
            assert first[index] == pytest.approx(float(single[0]), rel=1e-13)
            assert second[index] == pytest.approx(float(single[1]), rel=1e-13)
    assert second[1, :, 0] == pytest.approx(1.2 * (1 + values_a.ravel()), rel=1e-11)  # second moment 1 + c
    assert np.broadcast_shapes(np.shape(result.error), (2, 3, 2)) == (2, 3, 2)


def test_auxiliary_values_do_not_count_in_the_error():
    rough = sp.Abs(x**4 - sp.Rational(1, 3))  # kinks that are no zeros of a form of degree 1 or 2
    steep = GaussianAverage(rough, x, 0, q)
    smooth = GaussianAverage(x**2, x, 0, q)
    backend = Float64()
    with backend.context():
        alone = lower([smooth], [q]).run(backend, 4, [1.0])
        beside = lower([smooth], [q], auxiliary=[steep]).run(backend, 4, [1.0])
        both = lower([smooth, steep], [q]).run(backend, 4, [1.0])
    assert len(beside.values) == 2
    assert float(beside.error) == float(alone.error)
    assert float(both.error) > 1e-6


def test_compiled_source_shares_subexpressions():
    kernel = compile_kernel([sp.tanh(x) + sp.tanh(x) ** 2, sp.tanh(x) * a], [x, a])

    class Counting:
        calls = 0

        def tanh(self, value):
            self.calls += 1
            return np.tanh(value)

        def power(self, value, n):
            return value**n

    counter = Counting()
    first, second = kernel(counter, 0.5, 3)
    assert (first, second) == pytest.approx((np.tanh(0.5) + np.tanh(0.5) ** 2, 3 * np.tanh(0.5)))
    assert counter.calls == 1


def test_a_batch_in_pieces_is_each_of_its_elements():
    """Steps of widths from 1 to 1e-12 take from 40 to 300 nodes: pieces give the values in the order asked for."""
    step = GaussianAverage(ndtr((w - 1) / u), w, 0, 1)
    program = lower([step], [u])
    widths = np.random.default_rng(1).permutation(10.0 ** np.linspace(-12, 0, 400))
    with Float64().context():
        found = program.run(Float64(), 6, [widths]).values[0]
    exact = [float(mpmath.ncdf(-1 / mpmath.sqrt(1 + width**2))) for width in widths]
    assert found == pytest.approx(exact, rel=1e-13)


def test_an_average_inside_another_is_refined_where_it_needs_it():
    """A rectified field with noise of variance 0.0027: 25 of the 125 averages over outputs lack five digits."""
    half = pair_problem(TeacherStudent(prior=Gaussian(), channel=ReLU())).output
    rough, fine = (
        half(Float64(), level, np.array([0.1]), {"alpha": 1.7, "delta": 0.0027}) for level in (5, 8)
    )
    assert rough.error[0] < 1e-11 * rough.value[0]
    assert rough.value == pytest.approx(fine.value, rel=1e-12)


@pytest.mark.parametrize("kind", BACKENDS)
def test_powers_and_differences(kind):
    expressions = [
        a ** sp.Rational(5, 2),
        a ** sp.Rational(-3, 2),
        -a + q,
        -a - q,
        3 - q - a / 2,
        -(a**2) * q,
    ]
    kernel, backend = compile_kernel(expressions, [a, q]), BACKENDS[kind]()
    with backend.context():
        found = kernel(backend, *(backend.array([backend.rational(k, 7)]) for k in (3, 5)))
        found = [as_mpf(backend, value) for value in found]
    exact = [sp.N(e.subs({a: sp.Rational(3, 7), q: sp.Rational(5, 7)}), DIGITS) for e in expressions]
    with mpmath.workdps(DIGITS):
        for value, truth in zip(found, exact, strict=True):
            assert abs(value - mpmath.mpf(str(truth))) < GOAL[kind]
