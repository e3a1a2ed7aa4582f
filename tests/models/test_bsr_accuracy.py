"""solve on bilinear sequence regression to the digits promised: numbers known elsewhere, errors that are believed, bulks
about to merge."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import mpmath
import pytest
import sympy as sp
from bsr_points import BSR, FIRST, KNOWN, at, precise, random_points

from replica import solve
from replica.lowering.problem import pair_problem
from replica.models.bsr_ridge import ridge_mse
from replica.symbols import beta as BETA
from replica.symbols import q_hat as Q_HAT
from replica.symbols import rho as RHO
from solvers.backends.arb import Arb
from solvers.problem import at_level
from solvers.solution import Outcome

# -- numbers known elsewhere --


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


# -- what is believed of the errors --


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


# -- bulks about to merge --


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
