"""The three backends do the same: functions at ordinary and extreme arguments, roots, contexts."""

from __future__ import annotations

from fractions import Fraction

import flint
import mpmath
import numpy as np
import pytest

from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP

DIGITS = 40
WITNESS = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sqrt": mpmath.sqrt,
    "tanh": mpmath.tanh,
    "cosh": mpmath.cosh,
    "sinh": mpmath.sinh,
    "abs": abs,
    "sign": mpmath.sign,
    "heaviside": lambda x: (1 + mpmath.sign(x)) / 2,
    "ndtr": mpmath.ncdf,
    "log_ndtr": lambda x: mpmath.log(mpmath.ncdf(x)),
    "npdf": mpmath.npdf,
    "inverse_mills": lambda x: mpmath.npdf(x) / mpmath.ncdf(x),
    "log2cosh": lambda x: mpmath.log(2 * mpmath.cosh(x)),
    "xlogx": lambda x: x * mpmath.log(x) if x else mpmath.mpf(0),
    "expit": lambda x: 1 / (1 + mpmath.exp(-x)),
}
POSITIVE = {"log", "sqrt", "xlogx"}
POINTS = ["1/1000000000", "3/10", "5/2", "17"]
EXTREME = [
    ("log_ndtr", "-40"),
    ("log_ndtr", "-1000"),
    ("log_ndtr", "10"),
    ("log_ndtr", "40"),
    ("inverse_mills", "-1000"),
    ("inverse_mills", "30"),
    ("log2cosh", "800"),
    ("log2cosh", "-800"),
    ("log2cosh", "1/1000000"),
    ("expit", "-700"),
    ("expit", "700"),
    ("expit", "800"),
    ("ndtr", "-30"),
    ("npdf", "-30"),
    ("xlogx", "0"),
    ("heaviside", "0"),
    ("sign", "0"),
    ("tanh", "800"),
]
BACKENDS = {"float64": Float64, "mpmath": lambda: MP(DIGITS), "arb": lambda: Arb(DIGITS)}
CASES = [
    (name, sign * Fraction(point))
    for name in WITNESS
    for point in POINTS
    for sign in (1, -1)
    if sign > 0 or name not in POSITIVE
] + [(name, Fraction(point)) for name, point in EXTREME]


def to_mpf(backend, number):
    """One number of the backend in the caller's mpmath."""
    with mpmath.workdps(DIGITS + 20):
        if backend.name == "arb":
            return mpmath.mpf(number.mid().str(DIGITS + 10, radius=False))
        return mpmath.mpf(float(number)) if backend.name == "float64" else mpmath.mpf(number._mpf_)


def evaluate(backend, name, *points):
    with backend.context():
        value = getattr(backend, name)(*(backend.array([backend.number(p)]) for p in points))
        return to_mpf(backend, np.asarray(value).ravel()[0])


@pytest.mark.parametrize(("name", "point"), CASES, ids=str)
@pytest.mark.parametrize("kind", BACKENDS)
def test_elementwise_functions(kind, name, point):
    backend = BACKENDS[kind]()
    with mpmath.workdps(500):
        exact = WITNESS[name](mpmath.mpf(point.numerator) / point.denominator)
        # the double nearest the argument moves a function by its condition number; 2e-13 covers x up to 1000
        tolerance = mpmath.mpf(2e-13) if kind == "float64" else mpmath.mpf(10) ** (5 - DIGITS)
        floor = mpmath.mpf("1e-300") if kind == "float64" else 0
        value = evaluate(backend, name, point)
        assert mpmath.isfinite(value)
        assert abs(value - exact) <= tolerance * max(abs(exact), floor)


@pytest.mark.parametrize(
    ("a", "b"), [(-800, -801), (800, 801), (0, 0), (5, -2000), (-2000, 5), (Fraction(1, 3), Fraction(-1, 7))]
)
@pytest.mark.parametrize("kind", BACKENDS)
def test_logaddexp(kind, a, b):
    with mpmath.workdps(1000):
        exact = mpmath.log(
            sum(mpmath.exp(mpmath.mpf(Fraction(u).numerator) / Fraction(u).denominator) for u in (a, b))
        )
        tolerance = 1e-14 if kind == "float64" else mpmath.mpf(10) ** (3 - DIGITS)
        assert abs(evaluate(BACKENDS[kind](), "logaddexp", a, b) - exact) <= tolerance * abs(exact)


@pytest.mark.parametrize("kind", BACKENDS)
def test_functions_broadcast(kind):
    backend = BACKENDS[kind]()
    with backend.context():
        grid = backend.array(
            [[backend.rational(k, 3) for k in range(1, 4)], [backend.rational(-k, 3) for k in range(1, 4)]]
        )
        values = backend.to_float(backend.logaddexp(grid, grid[:1]))
        assert values.shape == (2, 3)
        assert values[1, 2] == pytest.approx(np.log(2 * np.cosh(1)))
        assert backend.to_float(backend.tanh(grid)).shape == (2, 3)


@pytest.mark.parametrize("kind", ["mpmath", "arb"])
def test_a_third_is_exact_to_the_working_precision(kind):
    backend = BACKENDS[kind]()
    with backend.context():
        error = to_mpf(backend, 3 * backend.rational(1, 3) - 1)
        third = backend.rational(1, 3)
    assert abs(error) < mpmath.mpf(10) ** -DIGITS
    with mpmath.workdps(60):
        assert abs(to_mpf(backend, third) - mpmath.mpf(1) / 3) < mpmath.mpf(10) ** (1 - DIGITS)


@pytest.mark.parametrize("kind", BACKENDS)
def test_numbers_mean_what_they_print_as(kind):
    backend = BACKENDS[kind]()
    with backend.context():
        for text in ("0.1", "1/3", "-2.5e-3"):
            left = to_mpf(backend, backend.number(text))
            with mpmath.workdps(60):
                exact = mpmath.mpf(Fraction(text).numerator) / Fraction(text).denominator
                assert abs(left - exact) <= abs(exact) * mpmath.mpf(10) ** -(
                    15 if kind == "float64" else DIGITS - 1
                )


# --- roots --------------------------------------------------------------------------------------------------

# coefficients, highest first, and the roots
POLYNOMIALS = {
    "quadratic": ([1, -3, 2], [1, 2]),
    "complex pair": ([1, -2, 5], [1 + 2j, 1 - 2j]),
    "three real": ([2, -12, 22, -12], [1, 2, 3]),
    "mixed": ([1, 0, 1, -10], [2, -1 + 2j, -1 - 2j]),
    "scales": ([1, -1000001, 1000000], [1, 1000000]),
    "double": ([1, -5, 8, -4], [1, 2, 2]),
    "double pair": ([1, -4, 14, -20, 25], [1 + 2j, 1 + 2j, 1 - 2j, 1 - 2j]),
}


def complex_numbers(backend, values):
    return np.array(backend.to_float(values), dtype=complex)


@pytest.mark.parametrize("name", POLYNOMIALS)
@pytest.mark.parametrize("kind", BACKENDS)
def test_roots_of_known_polynomials(kind, name):
    coefficients, expected = POLYNOMIALS[name]
    backend = BACKENDS[kind]()
    with backend.context():
        rows = backend.array([[backend.number(c) for c in coefficients]] * 2)
        found = complex_numbers(backend, backend.roots(rows))
    assert found.shape == (2, len(expected))
    # a double root of a polynomial known to d digits is known to d/2
    tolerance = 3e-7 if "double" in name else 1e-13
    for row in found:
        left, right = (
            sorted(v, key=lambda r: (round(r.real, 5), r.imag)) for v in (row, np.array(expected, complex))
        )
        assert left == pytest.approx(right, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("complex pair", 1 - 2j), ("mixed", -1 - 2j), ("double pair", 1 - 2j), ("quadratic", None)],
)
@pytest.mark.parametrize("kind", BACKENDS)
def test_lowest_root(kind, name, expected):
    backend = BACKENDS[kind]()
    with backend.context():
        rows = backend.array([[backend.number(c) for c in POLYNOMIALS[name][0]]])
        (root,) = complex_numbers(backend, backend.lowest_root(rows))
    if expected is None:
        assert root.imag == pytest.approx(0, abs=1e-12)
    else:
        assert root == pytest.approx(expected, rel=3e-7 if "double" in name else 1e-13)


@pytest.mark.parametrize("kind", ["mpmath", "arb"])
def test_lowest_root_to_all_digits(kind):
    """x^3 = 2: the lowest root is 2^(1/3) exp(-2 pi i/3)."""
    backend = BACKENDS[kind]()
    with backend.context():
        (root,) = backend.lowest_root(backend.array([[backend.number(c) for c in (1, 0, 0, -2)]]))
        real, imaginary = (to_mpf(backend, part(root)) for part in (backend.re, backend.im))
    with mpmath.workdps(60):
        radius = mpmath.mpf(2) ** (mpmath.mpf(1) / 3)
        assert abs(real + radius / 2) < mpmath.mpf(10) ** (3 - DIGITS)
        assert abs(imaginary + radius * mpmath.sqrt(3) / 2) < mpmath.mpf(10) ** (3 - DIGITS)


def test_lowest_root_beside_a_double_root():
    """(x - 1)^2 + 1e-24: the pair 1 +- 1e-12 i is told apart at 40 digits."""
    for kind in ("mpmath", "arb"):
        backend = BACKENDS[kind]()
        with backend.context():
            constant = backend.number(1 + Fraction(1, 10**24))
            (root,) = backend.lowest_root(backend.array([[backend.number(1), backend.number(-2), constant]]))
            assert float(backend.to_float(backend.im(root))) == pytest.approx(-1e-12, rel=1e-10)


# --- contexts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BACKENDS)
def test_contexts_give_the_callers_precision_back(kind):
    bits, dps = flint.ctx.prec, mpmath.mp.dps
    backend = BACKENDS[kind]()
    assert (flint.ctx.prec, mpmath.mp.dps) == (bits, dps)
    with backend.context(), Arb(77).context():
        backend.exp(backend.array([backend.number(1)]))
    assert (flint.ctx.prec, mpmath.mp.dps) == (bits, dps)
    with pytest.raises(ZeroDivisionError, match="inside"), backend.context():
        raise ZeroDivisionError("inside")
    assert (flint.ctx.prec, mpmath.mp.dps) == (bits, dps)


def test_double_context_hides_floating_point_warnings_only_inside():
    backend = Float64()
    with backend.context():
        assert np.isneginf(backend.log(np.array(0.0)))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        np.log(np.array(0.0))


def test_arb_radii_cover_the_rounding():
    low, high = Arb(20), Arb(60)
    for name in ("exp", "log_ndtr", "inverse_mills", "log2cosh"):
        with low.context():
            ball = getattr(low, name)(low.number("-2.7"))
        with high.context():
            assert ball.contains(getattr(high, name)(high.number("-2.7")).mid())


@pytest.mark.parametrize("kind", BACKENDS)
def test_powers_of_numbers_around_zero(kind):
    """A difference that vanishes up to rounding has a square, also as a ball."""
    backend = BACKENDS[kind]()
    with backend.context():
        third = backend.rational(1, 3)
        nothing = third + third + third - 1
        assert abs(float(backend.to_float(backend.power(nothing, 2)))) < 1e-30
        powers = [float(backend.to_float(backend.power(backend.rational(-3, 2), n))) for n in range(6)]
    assert powers == [(-1.5) ** n for n in range(6)]
