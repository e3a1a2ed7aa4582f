"""solve and sweep on bilinear sequence regression: numbers known elsewhere, identities, limits, refusals."""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from functools import lru_cache
from multiprocessing import get_context

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import log_ndtr

from replica import cli, simulate, solve, sweep, validate
from replica.lowering.problem import pair_problem
from replica.models import BilinearSequenceRegression, build
from replica.models.bsr_low_rank import low_rank_mmse
from replica.models.bsr_ridge import ridge_mse
from replica.models.bsr_wide import wide_mmse
from replica.symbols import beta as BETA
from replica.symbols import q_hat as Q_HAT
from replica.symbols import rho as RHO
from solvers.backends.arb import Arb
from solvers.errors import InputError, NotConvergedError
from solvers.problem import at_level
from solvers.solution import Outcome
from tests.solvers.simulate_by_hand import mmse as mmse_by_hand

BSR = BilinearSequenceRegression()
SIGN = build("bsr", {"channel": "sign"})
ABS = build("bsr", {"channel": "abs"})

# (alpha, beta, rho, delta) -> mmse, computed independently of this library
KNOWN = {
    ("0.3", "1", "0.2", "0.1"): "0.51399239074024007128",
    ("0.37", "1.7", "0.43", "0.23"): "0.6271666481799545106775406",
    ("0.37", "0.4", "0.3", "0.23"): "0.67145133752025898528",
    ("0.37", "2.5", "0.75", "0.23"): "0.67145133752025898528",
    ("0.8", "3", "1.5", "0.05"): "0.259592394594928740229435183531",
}
FIRST = {"alpha": 0.3, "beta": 1, "rho": 0.2, "delta": 0.1}


def at(point):
    return dict(zip(("alpha", "beta", "rho", "delta"), point, strict=True))


def random_points(seed, count):
    """Points of three decimals, beta on both sides of 1, rho on both sides of min(1, beta)."""
    rng = np.random.default_rng(seed)
    low, high = np.log([0.05, 0.2, 0.05, 0.005]), np.log([2.0, 5.0, 3.0, 1.0])
    return [tuple(f"{x:.3f}" for x in np.exp(rng.uniform(low, high))) for _ in range(count)]


@lru_cache(maxsize=64)
def precise(point, digits=30):
    return solve(BSR, digits=digits, **at(point))


# --- numbers known elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", KNOWN, ids=",".join)
def test_the_known_errors_in_double_precision(point):
    solution = solve(BSR, **{name: float(x) for name, x in at(point).items()})
    assert abs(solution["mmse"] - float(KNOWN[point])) < 1e-10
    assert solution.outcome is Outcome.CONVERGED
    assert solution["q"] == 1 - solution["mmse"]
    assert isinstance(solution["mmse"], float)
    assert solution.backend == "float64"


@pytest.mark.parametrize("point", KNOWN, ids=",".join)
@pytest.mark.parametrize("digits", [20, 25, 30])
def test_the_known_errors_to_all_digits(point, digits):
    solution = precise(point, digits)
    known = KNOWN[point]
    places = min(digits, len(known) - 2)
    with mpmath.workdps(40):
        assert abs(mpmath.mpf(solution["mmse"]) - mpmath.mpf(known)) <= mpmath.mpf(10) ** -places
    printed = str(solution["mmse"])
    assert printed[: places + 1] == known[: places + 1]  # all but the last digit, which may be rounded
    assert len(printed.rstrip("0")) <= digits + 2


def test_fifty_digits_against_sixty():
    fifty, sixty = (precise(("3/10", "1", "1/5", "1/10"), digits) for digits in (50, 60))
    for name in ("q", "q_hat", "mmse"):
        with mpmath.workdps(70):
            assert abs(fifty[name] / sixty[name] - 1) < mpmath.mpf(10) ** -49
    with mpmath.workdps(70):
        assert abs(fifty.free_entropy / sixty.free_entropy - 1) < mpmath.mpf(10) ** -48
    assert str(fifty["mmse"]).startswith("0.51399239074024007127506065103800363950562124262")


@pytest.mark.slow
def test_two_precise_backends_agree():
    point = ("0.37", "1.7", "0.43", "0.23")
    other, mine = solve(BSR, digits=20, backend="mpmath", **at(point)), precise(point)
    assert (other.backend, mine.backend) == ("mpmath", "arb")
    with mpmath.workdps(40):
        for name in ("q", "q_hat", "mmse"):
            assert abs(other[name] - mine[name]) < mpmath.mpf(10) ** -19
        assert abs(other.free_entropy - mine.free_entropy) < mpmath.mpf(10) ** -19


def test_strings_and_floats_mean_the_same_decimal():
    assert solve(BSR, **FIRST)["mmse"] == solve(BSR, alpha="3/10", beta="1", rho="1/5", delta="1e-1")["mmse"]
    assert solve(BSR, **FIRST).params == {k: Fraction(str(v)) for k, v in FIRST.items()}


# --- what is believed of the errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("point", random_points(1, 10), ids=",".join)
def test_double_precision_and_its_error_estimate(point):
    fast, exact = solve(BSR, **at(point)), precise(point)
    gap = abs(fast["mmse"] - float(exact["mmse"]))
    assert gap < 1e-10
    assert gap <= 10 * fast.errors.total + 1e-15
    assert abs(fast.free_entropy - float(exact.free_entropy)) < 1e-10
    assert abs(fast["q_hat"] / float(exact["q_hat"]) - 1) < 1e-9
    assert fast["mmse"] < float(ridge_mse(point[0], point[3]))


@pytest.mark.parametrize(
    "point",
    [
        ("1e-3", "1.3", "2", "0.1"),
        ("1e-4", "1.3", "2", "0.1"),
        ("1e-4", "3", "0.05", "0.1"),
        ("30", "1", "0.2", "0.1"),
        ("0.5", "1", "0.2", "1e-8"),
        ("0.5", "1", "0.2", "1e-10"),
        ("0.5", "1", "0.2", "1e-12"),
        ("0.1", "1", "0.2", "1e-10"),
    ],
    ids=",".join,
)
def test_far_corners(point):
    """v = 1/q_hat - I/q_hat^2: an error of the integral I counts 1/q_hat^2 times, much for few data, nothing for many."""
    fast, exact = solve(BSR, **at(point)), precise(point, 30)
    gap = abs(fast["mmse"] - float(exact["mmse"]))
    assert gap < 1e-10 * float(min(1, 10 * exact["mmse"]))
    assert gap <= 10 * fast.errors.total + 1e-15


# --- identities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", random_points(2, 4), ids=",".join)
def test_exchanging_tokens_and_dimension(point):
    """(beta, rho) -> (1/beta, rho/beta): error, overlap, conjugate and free entropy stay."""
    one = solve(BSR, **at(point))
    b, r = Fraction(point[1]), Fraction(point[2])
    other = solve(BSR, alpha=point[0], beta=1 / b, rho=r / b, delta=point[3])
    for name in ("q", "q_hat", "mmse"):
        assert one[name] == pytest.approx(other[name], rel=1e-12)
    assert one.free_entropy == pytest.approx(other.free_entropy, rel=1e-12)


def phi(point, q_hat, v, backend):
    """The lowered free entropy; the quadrature below 1e-26."""
    problem = pair_problem(BSR)
    numbers = {
        name: backend.number(x)
        for name, x in BSR.canonical({k: Fraction(x) for k, x in at(point).items()}).items()
    }
    with backend.context():
        result, _ = at_level(lambda k: problem.free_entropy(backend, k, q_hat, v, numbers), 1e-26)
    return backend.to_fraction(backend.midpoint(result.value))


@pytest.mark.parametrize(
    "point",
    [
        ("0.37", "0.4", "0.3", "0.23"),
        *(
            pytest.param(p, marks=pytest.mark.slow)
            for p in (("0.3", "1", "0.2", "0.1"), ("0.8", "3", "1.5", "0.05"))
        ),
    ],
    ids=",".join,
)
def test_the_solution_is_stationary(point):
    solution = precise(point)
    backend = Arb(45)
    h = Fraction(1, 10**9)
    q_hat, v = (Fraction(str(solution[name])) for name in ("q_hat", "mmse"))
    number = backend.number
    in_q = (
        phi(point, number(q_hat), number(v - h), backend) - phi(point, number(q_hat), number(v + h), backend)
    ) / (2 * h)
    in_q_hat = (
        phi(point, number(q_hat + h), number(v), backend) - phi(point, number(q_hat - h), number(v), backend)
    ) / (2 * h)
    assert abs(in_q) < 1e-10
    assert abs(in_q_hat) < 1e-10
    middle = phi(point, number(q_hat), number(v), backend)
    assert abs(float(middle) - float(solution.free_entropy)) < 1e-14


@pytest.mark.parametrize("point", [("0.3", "1", "0.2", "0.1"), ("0.37", "0.4", "0.3", "0.23")], ids=",".join)
def test_information_and_error(point):
    """d/d(1/Delta) of the mutual information is half the error of the fields of the samples themselves.

    Phi is E log of the evidence over dL, a density in y, and given S the outputs have entropy (n/2) log(2 pi e Delta); so
    the mutual information of S and y over dL is I = -Phi - (alpha/2) log(2 pi e Delta), and (Guo, Shamai, Verdu 2005)
    dI/d(1/Delta) = (alpha/2) E (h - E[h|data])^2. The field h of a sample that belongs to the data has, given the others, a
    Gaussian posterior of variance mmse (fields of unit variance: the error of a new field is that of S); its own output
    reduces it to mmse Delta/(Delta + mmse).
    """
    step = Fraction(1, 10**8)
    inverse = 1 / Fraction(point[3])

    def information(x):
        values = {**at(point), "delta": 1 / x}
        entropy = solve(BSR, digits=30, **values).free_entropy
        with mpmath.workdps(40):
            noise = mpmath.mpf(x.denominator) / x.numerator
            return -entropy - mpmath.mpf(point[0]) / 2 * mpmath.log(2 * mpmath.pi * mpmath.e * noise)

    with mpmath.workdps(40):
        derivative = float(
            (information(inverse + step) - information(inverse - step)) / (2 * mpmath.mpf(1) / 10**8)
        )
    v, delta = float(precise(point)["mmse"]), float(point[3])
    assert abs(derivative - float(point[0]) / 2 * v * delta / (delta + v)) < 1e-8


# --- no noise -----------------------------------------------------------------------------------------------------

SHAPES = [("1", "0.2"), ("2", "0.5"), ("2", "1.2"), ("0.5", "0.3"), ("0.5", "0.6"), ("3", "0.1"), ("1", "1")]


def threshold(b, r):
    b, r = Fraction(b), Fraction(r)
    return r * (1 + b - r) / b if r < min(1, b) else Fraction(1)


@pytest.mark.parametrize(("b", "r"), SHAPES)
@pytest.mark.parametrize("factor", ["1", "1.000001", "1.5"])
def test_at_and_above_the_threshold_recovery_is_exact(b, r, factor):
    alpha = threshold(b, r) * Fraction(factor)
    solution = solve(BSR, alpha=alpha, beta=b, rho=r, delta=0)
    assert solution.outcome is Outcome.PERFECT_RECOVERY
    assert solution["mmse"] == 0
    assert solution["q"] == 1
    assert solution["q_hat"] == math.inf
    assert solve(BSR, alpha=alpha, beta=b, rho=r, delta=0, digits=30)["mmse"] == 0
    assert max(solution.branches) == 1
    assert len(solution.branches) == 1  # no other solution, and none made of rounding


@pytest.mark.parametrize(
    ("b", "r"),
    [shape if shape == SHAPES[0] else pytest.param(*shape, marks=pytest.mark.slow) for shape in SHAPES],
)
def test_below_the_threshold_it_is_not(b, r):
    """The error tends to 0 linearly at the threshold; a millionth below it has six digits less than 1."""
    errors = []
    for gap in (Fraction(1, 10), Fraction(1, 10**6), Fraction(1, 2 * 10**6)):
        solution = solve(BSR, alpha=threshold(b, r) * (1 - gap), beta=b, rho=r, delta=0)
        assert solution.outcome is Outcome.CONVERGED
        errors.append(solution["mmse"])
    assert 0 < errors[1] < 1e-5 < errors[0] < 1
    # linear up to higher powers of the gap, which are larger where the edge of the signal's law is hard
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.35)


def test_just_below_the_threshold_in_thirty_digits():
    alpha = Fraction(36, 100) * (1 - Fraction(1, 10**6))
    fast, exact = (solve(BSR, alpha=alpha, beta=1, rho="0.2", delta=0, digits=k) for k in (None, 30))
    assert fast["mmse"] == pytest.approx(float(exact["mmse"]), rel=1e-10)


# --- limits -------------------------------------------------------------------------------------------------------


def test_no_data():
    q = [solve(BSR, **{**FIRST, "alpha": alpha})["q"] for alpha in ("1e-3", "1e-5")]
    assert q[0] == pytest.approx(1e-3 / 1.1, rel=1e-2)
    assert q[1] == pytest.approx(1e-5 / 1.1, rel=1e-4)


def test_infinite_noise():
    assert solve(BSR, **{**FIRST, "delta": "1e4"})["q"] == pytest.approx(0.3 / (1e4 + 1), rel=1e-3)


@pytest.mark.parametrize(
    ("alpha", "beta", "delta"), [("0.3", "1", "0.1"), ("0.8", "2.5", "0.05"), ("0.6", "0.4", "0")]
)
def test_many_factors_are_ridge_regression(alpha, beta, delta):
    """S tends to an iid Gaussian matrix as rho -> infinity: the best linear estimate is the best, up to O(1/rho^2)."""
    ridge = float(ridge_mse(alpha, delta))
    gaps = [ridge - solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] for rho in (100, 1000)]
    assert 0 < gaps[1] < 1e-6
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("alpha", "rho", "delta"), [("0.3", "0.5", "0.1"), ("0.4", "1.5", "0.02"), ("0.3", "0.5", "0")]
)
def test_many_tokens_are_the_wide_limit(alpha, rho, delta):
    wide = float(wide_mmse(alpha, rho, delta))
    gaps = [
        abs(solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] - wide) for beta in (1000, 10000)
    ]
    assert gaps[1] < 1e-3
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("alpha_lr", "beta", "delta"), [("0.7", "1", "0"), ("0.8", "2", "0.1"), ("1.5", "0.5", "0.3")]
)
def test_few_factors_are_the_low_rank_limit(alpha_lr, beta, delta):
    low = float(low_rank_mmse(alpha_lr, beta, delta))
    gaps = []
    for rho in (Fraction(1, 100), Fraction(1, 1000)):
        alpha = Fraction(alpha_lr) * rho * (1 + Fraction(beta)) / Fraction(beta)
        gaps.append(abs(solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"] - low))
    assert gaps[1] < 5e-3
    assert gaps[0] > 3 * gaps[1]


# --- bulks about to merge -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def merging_conjugate():
    """q_hat at which the two bulks at beta = 2, rho = 1/2 meet, by counting real branch points exactly."""
    law = BSR.prior.observed_law(Q_HAT)
    x = sp.Symbol("x")

    def edges(q_hat):
        values = {Q_HAT: sp.Rational(q_hat.numerator, q_hat.denominator), BETA: 2, RHO: sp.Rational(1, 2)}
        coefficients = [sp.sympify(c).subs(values) for c in law.branch_polynomial]
        return sp.Poly(coefficients, x).count_roots(0, sp.oo)

    low, high = Fraction(1, 100), Fraction(1000)
    few, many = edges(low), edges(high)
    assert many > few
    while (high - low) / low > Fraction(1, 10**15):
        middle = Fraction((low + high) / 2).limit_denominator(10**20)
        low, high = (middle, high) if edges(middle) == few else (low, middle)
    return low


DISTANCES = [
    *(pytest.param(d, marks=pytest.mark.slow) for d in ("1e-3", "1e-7", "0", "-1e-7", "-1e-3")),
    "1e-12",
    "-1e-12",
]


@pytest.mark.parametrize("distance", DISTANCES)
def test_bulks_about_to_merge(distance):
    """alpha chosen such that the solution lies at a relative distance from the q_hat at which the bulks meet."""
    q_hat = merging_conjugate() * (1 + Fraction(distance))
    backend, delta = Arb(40), Fraction(1, 10)
    numbers = {"beta": backend.number(Fraction(2)), "rho": backend.number(Fraction(1, 2))}
    with backend.context():
        signal, _ = at_level(
            lambda k: pair_problem(BSR).signal(backend, k, backend.number(q_hat), numbers), 1e-24
        )
    v = backend.to_fraction(backend.midpoint(signal.value))
    alpha = Fraction(mpmath_text(q_hat * (delta + v)))
    fast, exact = (solve(BSR, alpha=alpha, beta=2, rho="1/2", delta=delta, digits=k) for k in (None, 30))
    assert abs(float(exact["q_hat"]) / float(q_hat) - 1) < 1e-13
    assert abs(fast["mmse"] - float(exact["mmse"])) < 1e-10
    assert abs(fast["mmse"] - float(exact["mmse"])) <= 10 * fast.errors.total + 1e-15
    assert abs(fast.free_entropy - float(exact.free_entropy)) < 1e-10


def mpmath_text(value):
    with mpmath.workdps(22):
        return mpmath.nstr(mpmath.mpf(value.numerator) / value.denominator, 20)


# --- order ----------------------------------------------------------------------------------------------------------

NUMBERS = st.integers(1, 40).map(lambda k: Fraction(k, 20))


@settings(max_examples=12)
@given(alpha=NUMBERS, beta=NUMBERS, rho=NUMBERS, delta=NUMBERS, more=st.integers(1, 10))
def test_monotone_and_below_ridge(alpha, beta, rho, delta, more):
    """More samples help, more noise hurts, and linear estimation is worse."""
    here = solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta)["mmse"]
    samples = solve(BSR, alpha=alpha * (1 + Fraction(more, 10)), beta=beta, rho=rho, delta=delta)["mmse"]
    noise = solve(BSR, alpha=alpha, beta=beta, rho=rho, delta=delta * (1 + Fraction(more, 10)))["mmse"]
    assert 0 < samples < here < noise < 1
    assert here < float(ridge_mse(alpha, delta))


# --- other channels -----------------------------------------------------------------------------------------------------


def sign_potential(q):
    r"""Psi_out of y = sign(h): E_w sum_y H(y w/sqrt(V)) log H, w ~ N(0, q), V = 1 - q; by adaptive quadrature."""

    def integrand(t):
        u = math.sqrt(q / (1 - q)) * t
        return 2 * math.exp(log_ndtr(u) - t * t / 2) / math.sqrt(2 * math.pi) * log_ndtr(u)

    return quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-13, limit=400)[0]


def abs_potential(q, delta):
    """Psi_out of y = |h| + noise: E_w int dy Z log Z, Z from h > 0 and h < 0 by hand, on plain grids."""
    t = np.linspace(-8, 8, 641)
    weight = np.exp(-(t**2) / 2) * (t[1] - t[0]) / math.sqrt(2 * math.pi)
    y = np.linspace(-9, 12, 2101)
    w, V = math.sqrt(q) * t[:, None], 1 - q
    total, spread = V + delta, math.sqrt(V * delta / (V + delta))

    def half(sign):
        mean = (V * y + delta * sign * w) / total  # of |h| on this side, before it is cut at 0
        gauss = -((y - sign * w) ** 2) / (2 * total) - 0.5 * math.log(2 * math.pi * total)
        return gauss + log_ndtr(mean / spread)

    log_z = np.logaddexp(half(1), half(-1))
    return float((np.exp(log_z) * log_z).sum(axis=1) @ weight) * (y[1] - y[0])


def test_sign_outputs_against_a_fixed_point_by_hand():
    """q_hat(q) by adaptive quadrature of the textbook formula, MMSE from the eigenvalues of a companion matrix."""
    alpha, beta, rho = 0.3, 1.7, 0.43

    def conjugate(v):
        def integrand(t):
            u = math.sqrt((1 - v) / v) * t
            return 2 * math.exp(-t * t / 2 - u * u - log_ndtr(u)) / (2 * math.pi) ** 1.5

        return alpha / v * quad(integrand, -10, 10, epsabs=1e-12, limit=400)[0]

    v = brentq(lambda v: mmse_by_hand(conjugate(v), beta, rho, 8000) - v, 0.3, 0.95, xtol=1e-9)
    solution = solve(SIGN, alpha=alpha, beta=beta, rho=rho)
    assert solution["mmse"] == pytest.approx(v, abs=2e-5)
    assert solution["q_hat"] == pytest.approx(conjugate(solution["mmse"]), rel=1e-9)
    h = 1e-4
    q = solution["q"]
    slope = (sign_potential(q + h) - sign_potential(q - h)) / (2 * h)
    assert solution["q_hat"] == pytest.approx(2 * alpha * slope, rel=1e-5)


def test_sign_outputs_in_twenty_digits():
    point = {"alpha": "0.4", "beta": "0.7", "rho": "0.3"}
    fast, exact = solve(SIGN, **point), solve(SIGN, digits=20, **point)
    assert abs(fast["mmse"] - float(exact["mmse"])) < 1e-10
    assert abs(fast["mmse"] - float(exact["mmse"])) <= 10 * fast.errors.total + 1e-15


def test_absolute_outputs_against_a_derivative_by_hand():
    alpha, delta, h = 0.8, 0.1, 1e-3
    solution = solve(ABS, alpha=alpha, beta=1, rho=0.2, delta=delta)
    q = solution["q"]
    # central differences of order 4
    near, far = (
        (abs_potential(q + k * h, delta) - abs_potential(q - k * h, delta)) / (2 * k * h) for k in (1, 2)
    )
    assert solution["q_hat"] == pytest.approx(2 * alpha * (4 * near - far) / 3, rel=1e-6)
    assert solution["mmse"] == pytest.approx(mmse_by_hand(solution["q_hat"], 1.0, 0.2, 8000), abs=2e-5)
    assert solution.branches[0] == 0


def test_where_an_even_channel_starts_from_matters():
    """q = 0 is a solution and attracts, at these alpha, iteration from q = 0; an informed start finds another."""
    point = {"alpha": 0.8, "beta": 1, "rho": 0.2, "delta": 0.1}
    silent = solve(ABS, start="uninformed", **point)
    told = solve(ABS, start="informed", **point)
    best = solve(ABS, **point)
    assert best.free_entropy == max(silent.free_entropy, told.free_entropy)
    assert told["mmse"] <= best["mmse"] <= silent["mmse"]
    assert told["mmse"] < 0.5
    none = solve(ABS, **{**point, "alpha": 0.3})
    assert none.outcome is Outcome.UNINFORMATIVE
    assert (none["q"], none["mmse"], none["q_hat"]) == (0, 1, 0)
    # Phi is then that of independent outputs
    assert none.free_entropy == pytest.approx(0.3 * abs_potential(1e-12, 0.1), abs=1e-9)


# --- sweeps ---------------------------------------------------------------------------------------------------------------

GRID = {"alpha": [0.1, 0.3, 0.5], "beta": 1, "rho": np.array([0.2, 0.4]), "delta": "1/10"}


@pytest.fixture(scope="module")
def table():
    return sweep(BSR, **GRID)


def test_a_sweep_is_a_labelled_table(table):
    assert table["mmse"].dims == ("alpha", "rho")
    assert dict(table.sizes) == {"alpha": 3, "rho": 2}
    assert set(table.data_vars) == {"mmse", "q", "q_hat", "free_entropy", "residual", "error", "outcome"}
    assert table["alpha"].values.tolist() == [0.1, 0.3, 0.5]
    assert (float(table["beta"]), float(table["delta"])) == (1, 0.1)
    assert table.attrs["interrupted"] == 0
    assert table.attrs["computed"] == 6
    for alpha in table["alpha"].values:
        for rho in table["rho"].values:
            point, alone = (
                table.sel(alpha=alpha, rho=rho),
                solve(BSR, alpha=alpha, beta=1, rho=rho, delta=0.1),
            )
            for name in ("mmse", "q", "q_hat"):
                assert float(point[name]) == pytest.approx(alone[name], rel=1e-11)
            assert float(point["free_entropy"]) == pytest.approx(alone.free_entropy, rel=1e-11)
            assert str(point["outcome"].values) == alone.outcome.value


def test_the_order_of_the_dimensions_is_the_order_given():
    swapped = sweep(BSR, rho=[0.2, 0.4], delta=0.1, alpha=(0.1, 0.3, 0.5), beta=1)
    assert swapped["mmse"].dims == ("rho", "alpha")


def test_a_sweep_of_no_sequence_is_one_point():
    point = sweep(BSR, **FIRST)
    assert point["mmse"].dims == ()
    assert float(point["mmse"]) == pytest.approx(solve(BSR, **FIRST)["mmse"], rel=1e-12)


def test_a_sweep_across_the_threshold():
    """Several recovered points in one batch, at the threshold and above."""
    table = sweep(BSR, alpha=["0.2", "0.36", "0.4", "0.5"], beta=1, rho=0.2, delta=0)
    assert table["mmse"].values[1:].tolist() == [0, 0, 0]
    assert table["q_hat"].values[1:].tolist() == [math.inf] * 3
    assert float(table["mmse"][0]) == pytest.approx(
        solve(BSR, alpha=0.2, beta=1, rho=0.2, delta=0)["mmse"], rel=1e-11
    )
    assert list(table["outcome"].values[1:]) == [Outcome.PERFECT_RECOVERY.value] * 3
    both = sweep(BSR, alpha=0.5, beta=[0.5, 1, 2], rho=0.2, delta=[0, 0.1])
    assert not np.isnan(both["mmse"].values).any()


def test_progress_counts_points():
    seen = []
    sweep(BSR, progress=lambda done, total: seen.append((done, total)), **GRID)
    assert seen[-1] == (6, 6)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_an_executor_changes_nothing(kind, table):
    make = (
        (lambda: ThreadPoolExecutor(2))
        if kind == "threads"
        else (lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")))
    )
    with make() as executor:
        other = sweep(BSR, executor=executor, **GRID)
    assert other.identical(table)


def test_an_interruption_keeps_what_is_computed(table):
    def stop(done, total):
        raise KeyboardInterrupt

    kept = sweep(BSR, progress=stop, **GRID)
    assert kept.attrs["interrupted"] == 1
    assert kept.attrs["computed"] == 3
    assert np.isnan(kept["mmse"].sel(rho=0.4)).all()
    assert kept["mmse"].sel(rho=0.2).values.tolist() == table["mmse"].sel(rho=0.2).values.tolist()
    assert set(kept["outcome"].sel(rho=0.4).values) == {"not computed: interrupted"}


# --- plain data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"digits": 30},
        {"alpha": "0.5", "delta": 0},
        {"alpha": "0.5", "delta": 0, "digits": 30},
        {"digits": 3},
    ],
)
def test_a_solution_is_plain_data(options):
    solution = solve(BSR, **{**FIRST, **options})
    fields = json.loads(json.dumps(solution.to_dict(), allow_nan=False), parse_constant=pytest.fail)
    assert float(fields["mmse"]) == float(solution["mmse"])
    assert fields["outcome"] == solution.outcome.value
    assert set(fields["params"]) == {"alpha", "beta", "rho", "delta"}
    if options == {"digits": 30}:
        assert fields["mmse"] == str(solution["mmse"])
        assert len(fields["mmse"]) == 32
    with pytest.raises(KeyError, match="there are: q, q_hat, mmse"):
        solution["m"]


# --- refusals -----------------------------------------------------------------------------------------------------------------

BAD = [
    ({"delta": -0.1}, "delta must be >= 0, got -0.1"),
    ({"alpha": -1}, "alpha must be > 0, got -1"),
    ({"alpha": 0}, "alpha must be > 0, got 0"),
    ({"beta": 0}, "beta must be > 0"),
    ({"rho": 0}, "the limit rho -> 0 has its own equations"),
    ({"gamma": 1}, "unknown parameter 'gamma'"),
    ({"detla": 1}, "did you mean delta"),
    ({"alpha": math.nan}, "alpha must be a finite number"),
    ({"alpha": math.inf}, "alpha must be a finite number"),
    ({"alpha": np.float64("nan")}, "alpha must be a finite number"),
    ({"alpha": True}, "alpha must be a finite number"),
    ({"alpha": "abc"}, "alpha must be a finite number"),
    ({"alpha": "1/0"}, "alpha must be a finite number"),
    ({"alpha": None}, "alpha must be a finite number"),
    ({"alpha": 1j}, "alpha must be a finite number"),
    ({"alpha": "a\nb"}, "alpha must be a finite number"),
    ({"alpha": 1e400}, "alpha must be a finite number"),
    ({"alpha": 10**400}, "alpha must be 0 or between"),
]
OPTIONS = [
    ({"digits": 0}, "digits must be an integer from 1"),
    ({"digits": -3}, "digits must be an integer from 1"),
    ({"digits": "x"}, "digits must be an integer from 1"),
    ({"digits": 2.5}, "digits must be an integer from 1"),
    ({"digits": True}, "digits must be an integer from 1"),
    ({"digits": 10**6}, "digits must be an integer from 1"),
    ({"start": "x"}, "start must be one of"),
    ({"start": 3}, "start must be one of"),
    ({"backend": "x"}, "backend must be one of"),
    ({"backend": "float64", "digits": 30}, "float64 holds 15 digits"),
]


def refused(call, message, **options):
    with pytest.raises(InputError) as caught:
        call(**options)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize(
    ("change", "message"), [*BAD, *OPTIONS, ({"alpha": [0.1, 0.2]}, "alpha must be a finite number")]
)
def test_solve_refuses(change, message):
    refused(lambda **k: solve(BSR, **k), message, **{**FIRST, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD,
        ({"alpha": []}, "non-empty one-dimensional sequence"),
        ({"alpha": [[0.1, 0.2]]}, "non-empty one-dimensional sequence"),
        ({"alpha": [0.1, -0.2]}, "alpha must be > 0, got -0.2"),
        ({"alpha": ["0.1", "x"]}, "alpha must be a finite number"),
        ({"start": "x"}, "start must be one of"),
    ],
)
def test_sweep_refuses(change, message):
    refused(lambda **k: sweep(BSR, **k), message, **{**FIRST, **change})


@pytest.mark.parametrize("call", [solve, sweep, simulate, validate])
def test_a_missing_parameter_is_named(call):
    refused(lambda **k: call(BSR, **k), "missing parameter delta", alpha=0.3, beta=1, rho=0.2)
    refused(lambda **k: call(BSR, **k), "missing parameters beta, rho, delta", alpha=0.3)


@pytest.mark.parametrize("call", [simulate, validate])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        *BAD,
        ({"d": 1}, "d must be an integer of at least 2"),
        ({"d": 10.5}, "d must be an integer of at least 2"),
        ({"d": "x"}, "d must be an integer of at least 2"),
        ({"d": True}, "d must be an integer of at least 2"),
        ({"seeds": 1}, "seeds must be an integer of at least 2"),
        ({"seeds": 0}, "seeds must be an integer of at least 2"),
        ({"d": 100000}, "GiB of memory"),
        ({"d": 10**9}, "GiB of memory"),
        ({"rho": 10**9}, "GiB of memory"),
        ({"d": 2000}, "the budget is 4 GiB"),
        ({"memory_budget": 0}, "the budget is"),
        ({"max_iterations": 0}, "max_iterations is at least 1"),
        ({"tolerance": 0}, "tolerance is positive"),
        ({"damping": 1}, "damping lies in [0, 1)"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_simulations_refuse(call, change, message):
    refused(lambda **k: call(BSR, **k), message, **{**FIRST, "d": 20, "seeds": 2, **change})


def test_the_noise_of_an_even_channel_is_optional():
    point = {name: value for name, value in FIRST.items() if name != "delta"}
    assert solve(ABS, **point)["q"] == solve(ABS, delta=0, **point)["q"]
    refused(lambda **k: solve(ABS, **k), "delta must be >= 0, got -1", **{**FIRST, "delta": -1})
    refused(lambda **k: solve(SIGN, **k), "unknown parameter 'delta'", **FIRST)


def test_the_command_line_refuses_in_one_line(capsys):
    words = ["solve", "bsr", "beta=1", "rho=0.2"]
    for change in (
        ["alpha=0.3", "delta=-1"],
        ["alpha=nan", "delta=1"],
        ["alpha=0.3"],
        ["alpha=0.3", "delta=1", "digits=0"],
    ):
        assert cli.main([*words, *change]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("replica: error: ")
        assert captured.err.count("\n") == 1
        assert "Traceback" not in captured.err
        assert captured.out == ""
    assert cli.main([*words, "channel=abs", "alpha=0.3", "delta=-1"]) == 2


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, None])
def test_a_polish_that_fails_leaves_no_number(monkeypatch, error):
    """More digits are asked of a double; what comes out of it raises, or does not converge."""
    from replica import api

    refined = api.refine

    def failing(*arguments):
        if error is not None:
            raise error("no number")
        return refined(*arguments)._replace(converged=False)

    monkeypatch.setattr(api, "refine", failing)
    failed = solve(BSR, digits=20, throw=False, **FIRST)
    assert failed.outcome is (Outcome.QUADRATURE if error is None else Outcome.RESIDUAL)
    assert failed.values == {}
    with pytest.raises(NotConvergedError):
        solve(BSR, digits=20, **FIRST)


def test_without_a_solution_nothing_is_returned_unless_asked(monkeypatch):
    from replica import api, sweeping
    from solvers.fixed_point.pair import PointResult, _choose

    nothing = PointResult(_choose([], "global"), (), 0)
    monkeypatch.setattr(api, "_solve_group", lambda *_: [nothing])
    monkeypatch.setattr(sweeping, "solve_group", lambda *_: [nothing])
    with pytest.raises(NotConvergedError, match="no solution was bracketed"):
        solve(BSR, **FIRST)
    failed = solve(BSR, throw=False, **FIRST)
    assert failed.outcome is Outcome.NO_SOLUTION
    assert failed.values == {}
    numbers = [failed.free_entropy, failed.residual, failed.errors.total, failed.stability, *failed.branches]
    assert not np.isnan(numbers).any()
    assert np.isnan(sweep(BSR, **FIRST)["mmse"])
