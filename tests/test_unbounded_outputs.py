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
from solvers.errors import InputError
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def binary_error(q_hat):
    """E (1 - tanh(q_hat + sqrt(q_hat) z))."""
    t = np.linspace(-12, 12, 4001)
    return float((norm.pdf(t) * (1 - np.tanh(q_hat + np.sqrt(q_hat) * t))).sum() * (t[1] - t[0]))


QUARTIC = ExpressionChannel(lambda y, h: normal_density(y, h**4, 1), sp.Reals)


def real_outputs(power, v, nodes):
    """``brute`` for y = h^power + noise; the outputs on nodes that are dense at 0."""
    u = np.linspace(-10, 10, 401)
    y, weights = np.sinh(u), np.cosh(u) * (u[1] - u[0])
    return brute(lambda y, h: norm.pdf(y, h**power, 1), y, weights, v, nodes=nodes)


@pytest.mark.parametrize(
    ("channel", "power", "alpha"),
    [
        pytest.param(CUBIC, 3, "0.5", marks=pytest.mark.slow),
        pytest.param(QUARTIC, 4, "0.25", marks=pytest.mark.slow),
    ],
    ids=["cubic", "quartic"],
)
def test_own_real_outputs_solve(channel, power, alpha):
    """Both equations hold, by plain sums."""
    solution = solve(TeacherStudent(Rademacher(), channel), alpha=alpha)
    assert solution.outcome.converged
    assert solution.errors.total < 1e-9
    v, q_hat = solution.values["mmse"], solution.values["q_hat"]
    assert v == pytest.approx(binary_error(q_hat), rel=1e-9, abs=1e-13)
    if v > 0.05:  # the sums follow no narrower law of h
        assert q_hat == pytest.approx(float(alpha) * real_outputs(power, v, 481), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("channel", "information"), [(CUBIC, 27), (QUARTIC, 240)], ids=["cubic", "quartic"])
def test_many_outputs_leave_an_error_that_the_fisher_information_tells(channel, information):
    """At v -> 0 q_hat = alpha E g'(h)^2, however small v is."""
    solution = solve(TeacherStudent(Rademacher(), channel), alpha=2)
    assert solution.values["q_hat"] == pytest.approx(2 * information, rel=1e-6)
    assert solution.outcome.converged
    if channel is CUBIC:  # an observable that no quadrature follows is passed over, in seconds
        assert {"log_loss", "mutual_information"} <= set(solution.values)


@pytest.mark.parametrize("v", [1e-9, 1e-16, 1e-40, 1e-105])
def test_real_outputs_at_any_small_error(v):
    """The information at full overlap, E 9 h^4 = 27, less a term linear in v."""
    found = conjugate(CUBIC, v, 1e-6)
    assert found.value[0] == pytest.approx(27, abs=1e-6 + 1e5 * v)
    assert found.error[0] < 1e-4


def test_outputs_of_two_fields_against_plain_sums():
    """y = h^2 + noise: two peaks in h, and fields that share their outputs."""
    channel = ExpressionChannel(lambda y, h: normal_density(y, h**2, sp.Rational(1, 4)), sp.Reals)
    u = np.linspace(-5.5, 5.5, 221)
    y, weights = np.sinh(u), np.cosh(u) * (u[1] - u[0])
    expected = brute(lambda y, h: norm.pdf(y, h**2, 0.5), y, weights, 0.4, nodes=301)
    found = conjugate(channel, 0.4, 1e-9)
    assert found.value[0] == pytest.approx(expected, rel=1e-9)
    assert found.error[0] < 1e-6


SAME_LAWS = {
    "a geometric law of mean e^h": [
        lambda y, h: sp.exp(h * y) / (1 + sp.exp(h)) ** (y + 1),
        lambda y, h: (1 - 1 / (1 + sp.exp(h))) ** y / (1 + sp.exp(h)),
    ],
    "one of mean e^-h": [lambda y, h: sp.exp(h) / (1 + sp.exp(h)) * (1 - sp.exp(h) / (1 + sp.exp(h))) ** y],
    "waiting times in whole units": [
        lambda y, h: (1 - sp.exp(-sp.exp(h))) * sp.exp(-y * sp.exp(h)),
        lambda y, h: (1 - sp.exp(-sp.exp(-h))) * sp.exp(-y * sp.exp(-h)),
    ],
    "a Poisson law": [
        lambda y, h: sp.exp(y * h - sp.exp(h)) / sp.factorial(y),
        lambda y, h: sp.exp(y * h - sp.exp(h) - sp.loggamma(y + 1)),
    ],
}
EXACT = {
    "a geometric law of mean e^h": lambda y, h: np.exp(y * h - (y + 1) * np.logaddexp(0, h)),
    "one of mean e^-h": lambda y, h: np.exp(y * h - (y + 1) * np.logaddexp(0, h)),
    "waiting times in whole units": lambda y, h: -np.expm1(-np.exp(h)) * np.exp(-y * np.exp(h)),
    "a Poisson law": poisson,
}


@pytest.mark.parametrize("name", SAME_LAWS)
def test_a_law_of_counts_however_it_is_written(name):
    """The same law, or its mirror image in h: what cancels or overflows as it is written does not here."""
    v, last = 0.4, 1500
    expected = brute(EXACT[name], np.arange(last), np.ones(last), v, nodes=101)
    for density in SAME_LAWS[name]:
        found = conjugate(ExpressionChannel(density, sp.S.Naturals0), v)
        assert found.value[0] == pytest.approx(expected, rel=1e-7)
        assert found.error[0] < 1e-9


@pytest.mark.parametrize("shift", [0, 3, 6])
def test_long_tails_of_counts_are_normalised(shift):
    """A geometric law of mean e^(h + shift), up to a thousand."""

    def law(y, h, factor=1):
        return factor * (1 - 1 / (1 + sp.exp(h + shift))) ** y / (1 + sp.exp(h + shift))

    ExpressionChannel(law, sp.S.Naturals0)
    with pytest.raises(InputError, match="sum or integrate to 1"):
        ExpressionChannel(lambda y, h: law(y, h, sp.Rational(1000001, 1000000)), sp.S.Naturals0)
