"""Identities of solutions of bilinear sequence regression: symmetry, stationarity, information and error, order."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest
from bsr_points import BSR, at, precise, random_points
from hypothesis import given, settings
from hypothesis import strategies as st

from replica import solve
from replica.lowering.problem import pair_problem
from replica.models.bsr_ridge import ridge_mse
from solvers.backends.arb import Arb
from solvers.problem import at_level

# -- identities --


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


# -- order --

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
