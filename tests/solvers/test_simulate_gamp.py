"""Message passing on vectors: functions written by hand, against exact posteriors and state evolution by
hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import log_ndtr

from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome, gamp, separable
from solvers.simulate.ensemble import mean_and_error, run_seeds
from solvers.simulate.instances import informed_start
from solvers.simulate.sensing import DenseGaussianSensing
from tests.solvers.simulate_by_hand import (
    gaussian_channel,
    one_thread,  # noqa: F401 an autouse fixture
)

PLUS_MINUS = separable(lambda A, B: (np.tanh(B), 1 / np.cosh(B) ** 2))


def gaussian_prior(mean, variance):
    def posterior(A, B):
        precision = A + 1 / variance
        return (B + mean / variance) / precision, np.full_like(B, 1 / precision)

    return separable(posterior)


def sign_channel(y, omega, V):
    u = y * omega / np.sqrt(V)
    ratio = np.exp(-(u**2) / 2 - np.log(2 * np.pi) / 2 - log_ndtr(u))
    return y * ratio / np.sqrt(V), ratio * (ratio + u) / V


def matrix_of(sensing):
    """F, entries N(0, 1/N)."""
    rows = np.concatenate([np.array(block, dtype=float) for _, block in sensing.chunks()])
    return rows / np.sqrt(rows.shape[1])


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.5, 0.3), (20.0, 1.0)])
@pytest.mark.parametrize(("N", "M", "delta"), [(300, 200, 0.1), (150, 300, 0.5)])
def test_a_gaussian_prior_gives_the_exact_posterior_mean(mean, variance, N, M, delta):
    """m + (F^T F/delta + 1/v)^-1 F^T (y - F m)/delta, solved on the same data."""
    rng = np.random.default_rng(N)
    x = mean + np.sqrt(variance) * rng.standard_normal((N, 1))
    sensing = DenseGaussianSensing(M, (N, 1), rng, dtype=np.float64)
    y = sensing.forward(x) + np.sqrt(delta) * rng.standard_normal(M)
    run = gamp(
        sensing,
        y,
        gaussian_channel(delta),
        gaussian_prior(mean, variance),
        truth=x,
        max_iterations=1000,
        tolerance=1e-9,
        prior_mean=mean,
        prior_variance=variance,
    )
    F = matrix_of(sensing)
    precision = F.T @ F / delta + np.eye(N) / variance
    exact = mean + np.linalg.solve(precision, F.T @ (y - F @ np.full(N, mean)) / delta)
    assert run.outcome is AmpOutcome.CONVERGED
    np.testing.assert_allclose(run.estimate[:, 0], exact, rtol=0, atol=1e-6 * np.sqrt(variance))
    # the mean of the exact posterior variance is V up to the fluctuation of its trace
    assert run.variance[-1] == pytest.approx(np.mean(np.diag(np.linalg.inv(precision))), rel=0.05)


def test_without_its_onsager_terms_it_would_not_be_the_posterior():
    """The witness above is sharp: x_hat = f(F^T(y - F x_hat)) iterated plainly does not even converge."""
    rng = np.random.default_rng(0)
    sensing = DenseGaussianSensing(600, (300, 1), rng, dtype=np.float64)
    F, delta = matrix_of(sensing), 0.1
    y = F @ rng.standard_normal(300) + np.sqrt(delta) * rng.standard_normal(600)
    v, estimate = 1.0, np.zeros(300)
    for _ in range(50):
        q_hat = 2.0 / (delta + v)
        estimate = q_hat / (1 + q_hat) * (estimate + F.T @ (y - F @ estimate) / 2.0)
        v = 1 / (1 + q_hat)
    exact = np.linalg.solve(F.T @ F + delta * np.eye(300), F.T @ y)
    assert np.max(np.abs(estimate - exact)) > 1e-2


def test_each_iteration_follows_state_evolution_by_hand():
    """+-1 with Gaussian noise: v = 1 - E tanh(q_hat + sqrt(q_hat) z), q_hat = alpha/(delta + v)."""
    N, alpha, delta, steps = 1000, 1.2, 0.5, 8

    def task(rng):
        x = rng.choice([-1.0, 1.0], size=(N, 1))
        sensing = DenseGaussianSensing(int(alpha * N), (N, 1), rng)
        y = sensing.forward(x) + np.sqrt(delta) * rng.standard_normal(sensing.samples)
        return gamp(
            sensing, y, gaussian_channel(delta), PLUS_MINUS, truth=x, max_iterations=steps, tolerance=1e-12
        )

    runs = run_seeds(task, 12)
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    v = 1.0
    for step in range(steps):
        q_hat = alpha / (delta + v)
        v = 1 - float(weights @ np.tanh(q_hat + np.sqrt(q_hat) * nodes))
        mse = mean_and_error([run.mse[step] for run in runs])
        assert abs(mse.mean - v) < 4.5 * mse.error + 2 / N
        variance = mean_and_error([run.variance[step] for run in runs])
        assert abs(variance.mean - v) < 4.5 * variance.error + 2 / N


def against_enumeration(kind, N, M, instances, delta=0.7):
    """Means over instances: mse of message passing, of the exact posterior mean, their distance, the norm of
    the exact one, the share converged.
    """
    states = np.array(list(itertools.product([-1.0, 1.0], repeat=N)))
    channel = gaussian_channel(delta) if kind == "gaussian" else sign_channel

    def task(rng):
        x = rng.choice([-1.0, 1.0], size=(N, 1))
        sensing = DenseGaussianSensing(M, (N, 1), rng, dtype=np.float64)
        h = sensing.forward(x)
        fields = states @ matrix_of(sensing).T
        if kind == "gaussian":
            y = h + np.sqrt(delta) * rng.standard_normal(M)
            log_weight = -np.sum((y - fields) ** 2, axis=1) / (2 * delta)
        else:
            y = np.sign(h)
            log_weight = np.where(np.all(np.sign(fields) == y, axis=1), 0.0, -np.inf)
        weight = np.exp(log_weight - log_weight.max())
        exact = weight @ states / weight.sum()
        run = gamp(sensing, y, channel, PLUS_MINUS, truth=x, max_iterations=500, tolerance=1e-6, damping=0.3)
        best, apart = np.mean((x[:, 0] - exact) ** 2), np.mean((run.estimate[:, 0] - exact) ** 2)
        return run.mse[-1], best, apart, np.mean(exact**2), run.outcome.converged

    return np.mean(run_seeds(task, instances), axis=0)


@pytest.mark.parametrize(("kind", "close"), [("gaussian", 0.015), ("sign", 0.06)])
def test_magnetisations_are_those_of_the_enumerated_posterior(kind, close):
    """All 2^12 vectors: message passing is nearly as good as the exact posterior mean, and nearly equal to
    it. At N = 6 the two differ by more: the distance falls as N grows.
    """
    mse, best, apart, norm, converged = against_enumeration(kind, 12, 8, 120)
    assert converged > 0.95
    assert norm > 0.3
    assert best < mse < best + close
    assert apart < close
    assert apart < 0.75 * against_enumeration(kind, 6, 4, 240)[2]


def test_a_start_of_any_mean_and_variance_looks_like_a_posterior_mean():
    rng = np.random.default_rng(0)
    x = 3 + 0.5 * rng.standard_normal((200_000, 1))
    start, v = informed_start(x, 0.3, rng, prior_mean=3.0, prior_variance=0.25)
    assert v == pytest.approx(0.25 * 0.7)
    assert np.mean((x - start) ** 2) == pytest.approx(v, rel=0.02)
    assert np.mean((start - 3) * (x - start)) == pytest.approx(0, abs=1e-3)


def test_a_prior_far_from_zero_is_no_divergence():
    """|x_hat|^2 is 400 prior variances: what counts is the distance to the prior mean."""
    rng = np.random.default_rng(1)
    x = 20 + rng.standard_normal((80, 1))
    sensing = DenseGaussianSensing(120, (80, 1), rng, dtype=np.float64)
    y = sensing.forward(x)
    options = {"truth": x, "max_iterations": 300}
    run = gamp(sensing, y, gaussian_channel(0.1), gaussian_prior(20.0, 1.0), prior_mean=20.0, **options)
    assert run.outcome.converged
    started = gamp(sensing, y, gaussian_channel(0.1), gaussian_prior(20.0, 1.0), **options)
    assert started.outcome is AmpOutcome.EXPLODED
    with pytest.raises(InputError, match="prior_mean is finite"):
        gamp(sensing, y, gaussian_channel(0.1), PLUS_MINUS, prior_mean=np.inf)


def test_discrete_coordinates_are_recovered_from_their_signs():
    """Once no output is near its threshold q_hat falls to zero: the end of a recovery, no lack of information."""

    def task(rng):
        x = rng.choice([-1.0, 1.0], size=(500, 1))
        sensing = DenseGaussianSensing(1500, (500, 1), rng)
        return gamp(sensing, np.sign(sensing.forward(x)), sign_channel, PLUS_MINUS, truth=x)

    runs = run_seeds(task, 10)
    assert all(run.outcome.converged and run.mse[-1] < 1e-9 for run in runs)
    assert any(run.outcome is AmpOutcome.RECOVERED for run in runs)
