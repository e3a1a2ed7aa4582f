"""Counts and real outputs without closed evidence: brute sums, limits in closed form, derivatives."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.special import gammaln
from scipy.stats import norm

from replica import TeacherStudent, solve
from replica.expr.stable import normal_density
from replica.ingredients import ExpressionChannel, PoissonNoise, Rademacher
from replica.lowering.problem import pair_problem
from solvers.backends.float64 import Float64
from solvers.problem import evaluate_batch
from solvers.quadrature.counts import block_error, count_block

BACKEND = Float64()
RARE = 14
"""Minus the logarithm of the typical rate."""
RARELY = ExpressionChannel(
    lambda y, h: sp.exp(y * (h - RARE) - sp.exp(h - RARE) - sp.loggamma(y + 1)), sp.S.Naturals0
)
GEOMETRIC = ExpressionChannel(lambda y, h: sp.exp(h * y) / (1 + sp.exp(h)) ** (y + 1), sp.S.Naturals0)
WAITING = ExpressionChannel(lambda y, h: sp.exp(-h - y * sp.exp(-h)), sp.Interval(0, sp.oo))
CUBIC = ExpressionChannel(lambda y, h: normal_density(y, h**3, 1), sp.Reals)


def conjugate(channel, v, tolerance=1e-11):
    problem = pair_problem(TeacherStudent(Rademacher(), channel))
    return evaluate_batch(problem.output, BACKEND, np.array([v]), {"alpha": np.ones(1)}, tolerance)


def brute(likelihood, outputs, weights, v, nodes=241):
    """E_omega sum_y (E_h P h')^2/E_h P, with h' = (h - omega)/v, by plain sums."""
    t = np.linspace(-9, 9, nodes)
    gauss = norm.pdf(t) * (t[1] - t[0])
    omega, field = np.sqrt(1 - v) * t, np.sqrt(v) * t
    total = 0.0
    for y, weight in zip(outputs, weights, strict=True):
        p = likelihood(y, omega[:, None] + field)
        z, slope = p @ gauss, p @ (gauss * t) / np.sqrt(v)
        total += weight * (gauss @ np.where(z > 1e-290, slope**2 / np.maximum(z, 1e-290), 0.0))
    return total


def poisson(y, h):
    return np.exp(y * h - np.exp(h) - gammaln(y + 1))


@pytest.mark.parametrize("v", [0.3, 0.8])
@pytest.mark.parametrize(
    ("channel", "likelihood", "last"),
    [
        (PoissonNoise(), poisson, 500),
        (GEOMETRIC, lambda y, h: np.exp(y * h - (y + 1) * np.logaddexp(0, h)), 1500),
    ],
    ids=["poisson", "geometric"],
)
def test_counts_against_plain_sums(channel, likelihood, last, v):
    found = conjugate(channel, v)
    # the counts left out have a probability of 1e-9 at most
    assert found.value[0] == pytest.approx(brute(likelihood, np.arange(last), np.ones(last), v), rel=1e-7)
    assert found.error[0] < 1e-10


def test_real_outputs_against_plain_sums():
    u = np.linspace(-7, 7, 301)
    y, weights = np.sinh(u), np.cosh(u) * (u[1] - u[0])
    expected = brute(lambda y, h: norm.pdf(y, h**3, 1), y, weights, 0.6, nodes=481)
    found = conjugate(CUBIC, 0.6, 1e-9)
    assert found.value[0] == pytest.approx(expected, rel=1e-10)
    assert found.error[0] < 1e-7


def test_waiting_times_know_their_information_at_full_overlap():
    """At v -> 0 q_hat is the Fisher information E (d log P/dh)^2: 1 for a scale."""
    assert conjugate(WAITING, 1e-10).value[0] == pytest.approx(1, abs=1e-8)


def test_poisson_information_at_full_overlap():
    """E e^h = e^(1/2)."""
    assert conjugate(PoissonNoise(), 1e-10).value[0] == pytest.approx(np.exp(0.5), rel=1e-8)


@pytest.mark.parametrize("v", [0.1, 0.9])
def test_rare_counts_say_as_much_as_their_rate(v):
    """At y = 1, Z = r E e^h and g_out = 1: q_hat = r e^(1/2) as the rate r vanishes, at any overlap."""
    expected = np.exp(0.5 - RARE)
    assert conjugate(RARELY, v).value[0] == pytest.approx(expected, rel=30 * np.exp(-RARE))


@pytest.mark.parametrize(
    "channel",
    [pytest.param(PoissonNoise(), id="poisson"), pytest.param(WAITING, id="waiting", marks=pytest.mark.slow)],
)
def test_the_derivatives_of_phi_and_of_q_hat(channel):
    """dPhi/dq = (output(q) - q_hat)/2 at fixed q_hat, and the slope of output, by differences."""
    problem = pair_problem(TeacherStudent(Rademacher(), channel))
    alpha, v, step = {"alpha": np.ones(1)}, 0.4, 1e-3
    offsets = step * np.array([-2, -1, 1, 2])
    weights = np.array([1, -8, 8, -1]) / (12 * step)

    def phi(at):
        return problem.free_entropy(BACKEND, 6, np.array([0.7]), np.array([at]), alpha).value[0]

    slope = weights @ [phi(v + d) for d in offsets]  # dv = -dq
    output = problem.output(BACKEND, 6, v + offsets, {"alpha": np.ones(4)})
    here = problem.output(BACKEND, 6, np.array([v]), alpha)
    assert -slope == pytest.approx((here.value[0] - 0.7) / 2, abs=1e-9)
    assert here.slope[0] == pytest.approx(weights @ output.value, rel=1e-8)


def test_gauss_rules_for_sums_are_exact_for_polynomials():
    whole, block = count_block(0, 4, None), count_block(0, 4, 6)
    for power in range(12):
        exact = (whole.nodes / 200) ** power
        values = (block.nodes / 200) ** power
        assert block.weights @ values == pytest.approx(exact.sum(), rel=1e-12)
    decay = np.exp(-block.nodes / 20)
    missed = abs(block.weights @ decay - np.exp(-whole.nodes / 20).sum())
    assert missed < block_error(block, decay) < 0.1 * (block.weights @ decay)


def test_a_likelihood_far_in_the_tails_of_the_field():
    """At small v a large count pulls the field many deviations: nothing is 0/0."""
    program = conjugate(PoissonNoise(), 1e-4)
    with mpmath.workdps(20):
        information = mpmath.exp(0.5)
    assert 0 < float(information) - program.value[0] < 1e-2


def test_own_counts_solve():
    solution = solve(TeacherStudent(Rademacher(), GEOMETRIC), alpha=2)
    assert solution.outcome.converged
    expected = solve(TeacherStudent(Rademacher(), PoissonNoise()), alpha=2)
    assert solution["mmse"] > expected["mmse"]  # the mean is the same, the noise larger
    assert solution.errors.total < 1e-10


@pytest.mark.slow
def test_own_real_outputs_solve():
    solution = solve(TeacherStudent(Rademacher(), CUBIC), alpha=0.5)
    assert solution.outcome.converged
    assert solution.errors.total < 1e-9
