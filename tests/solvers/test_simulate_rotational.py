"""The rotationally invariant denoiser against sampling, and its variance against a random probe."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate.ensemble import mean_and_error
from solvers.simulate.instances import bilinear_instance
from solvers.simulate.rotational import (
    divergence_variance,
    empirical_hilbert,
    neighbour_slopes,
    rectangular_denoiser,
    shrink,
    spectrum,
    sure_variance,
)
from solvers.simulate.witnesses import gibbs_denoiser
from tests.solvers.simulate_by_hand import (
    gaussian_denoiser,
    hilbert,
    mmse,
    one_thread,  # noqa: F401 an autouse fixture
)


def observe(d, L, r, q_hat, rng):
    S = bilinear_instance(d, L, r, rng)
    return S, S + rng.standard_normal((d, L)) / np.sqrt(q_hat)


def marchenko_pastur_hilbert(beta):
    """Law of Y Y^T / L for Y iid of variance v = 1 + 1/q_hat: in the bulk H = (x - v (1 - 1/beta)) beta /
    (2 v x)."""

    def transform(x, q_hat):
        v, c = 1.0 + 1.0 / q_hat, 1.0 / beta
        b = x - v * (1.0 - c)
        outside = np.sqrt(np.maximum(b**2 - 4.0 * c * v * x, 0.0)) * np.sign(x - v * (1.0 + c))
        return (b - outside) / (2.0 * c * v * x)

    return transform


@pytest.mark.parametrize("shape", [(40, 40), (30, 75), (75, 30)])
def test_gaussian_prior_is_shrunk_evenly(shape):
    """For S iid N(0, 1) the denoiser must be R q_hat/(1 + q_hat), singular value by singular value."""
    q_hat, rng = 1.3, np.random.default_rng(0)
    R = rng.standard_normal(shape) * np.sqrt(1.0 + 1.0 / q_hat)
    estimate, variance = rectangular_denoiser(R, q_hat, marchenko_pastur_hilbert(max(shape) / min(shape)))
    expected, expected_variance = gaussian_denoiser(R, q_hat)
    # exact in the bulk; a singular value that fluctuates past the edge at finite size differs
    assert np.mean((estimate - expected) ** 2) < 5e-4
    assert variance == pytest.approx(expected_variance, abs=5e-3)


def test_transposition_and_units():
    rng = np.random.default_rng(1)
    _, R = observe(24, 40, 8, 2.0, rng)
    transform = hilbert(40 / 24, 8 / 24)
    estimate, variance = rectangular_denoiser(R, 2.0, transform)
    flipped, flipped_variance = rectangular_denoiser(R.T, 2.0, transform)
    np.testing.assert_allclose(flipped, estimate.T, atol=1e-12)
    assert flipped_variance == pytest.approx(variance, rel=1e-12)
    left, values, right, transposed = spectrum(R.T)
    assert transposed
    np.testing.assert_allclose(np.sqrt(40) * (left * values) @ right, R, atol=1e-12)


def test_variance_is_the_divergence():
    """Against a probe: <Z, f(R + eps Z) - f(R)> / eps averages to div f."""
    rng = np.random.default_rng(2)
    q_hat, shape = 1.5, (12, 18)
    _, R = observe(*shape, 4, q_hat, rng)
    transform = hilbert(1.5, 1 / 3)
    _, values, _, _ = spectrum(R)
    eps = 1e-6

    def shrinkage(sv):
        return shrink(sv, q_hat, 1.5, transform)

    slopes = (shrinkage(values + eps) - shrinkage(values - eps)) / (2 * eps)
    exact = divergence_variance(values, shrinkage(values), slopes, q_hat, 1.5)
    total = 0.0
    for row in range(shape[0]):
        for column in range(shape[1]):
            move = np.zeros(shape)
            move[row, column] = eps
            up, _ = rectangular_denoiser(R + move, q_hat, transform)
            down, _ = rectangular_denoiser(R - move, q_hat, transform)
            total += (up - down)[row, column] / (2 * eps)
    assert exact == pytest.approx(total / (q_hat * R.size), rel=1e-5)
    near = neighbour_slopes(values, shrinkage(values))
    quick = divergence_variance(values, shrinkage(values), near, q_hat, 1.5)
    assert quick == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    ("beta", "rho", "q_hat"), [(1.0, 0.2, 0.5), (1.7, 0.43, 2.0), (3.0, 1.5, 2.0), (0.4, 0.3, 8.0)]
)
def test_error_at_large_size(beta, rho, q_hat):
    """mse, its two internal estimates, and the integral over the law agree; the points' own law does nearly
    as well."""
    d = 150
    L, r = round(beta * d), round(rho * d)
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(4):
        S, R = observe(d, L, r, q_hat, rng)
        estimate, variance = rectangular_denoiser(R, q_hat, hilbert(beta, rho))
        own, _ = rectangular_denoiser(R, q_hat, lambda x, q: empirical_hilbert(x))
        _, values, _, _ = spectrum(R)
        shrunk = shrink(values, q_hat, max(beta, 1 / beta), hilbert(beta, rho))
        truth = float(np.mean((estimate - S) ** 2))
        rows.append((truth, variance, sure_variance(values, shrunk, q_hat), float(np.mean((own - S) ** 2))))
    theory = mmse(q_hat, beta, rho)
    columns = np.array(rows).T
    for column in columns[:3]:
        mean, error = mean_and_error(column)
        assert mean == pytest.approx(theory, abs=3 * error + 0.5 / d)
    assert 0.995 < np.mean(columns[3]) / np.mean(columns[0]) < 1.06


def test_bare_leave_one_out_fails():
    """Why `empirical_hilbert` smooths: the bare sum never converges."""
    rng = np.random.default_rng(4)
    S, R = observe(200, 200, 40, 0.5, rng)
    bare, _ = rectangular_denoiser(R, 0.5, lambda x, q: empirical_hilbert(x, neighbours=0))
    smooth, _ = rectangular_denoiser(R, 0.5, lambda x, q: empirical_hilbert(x))
    assert np.mean((bare - S) ** 2) > 2 * np.mean((smooth - S) ** 2)


@pytest.mark.parametrize(("d", "beta", "rho", "q_hat"), [(20, 1.0, 0.5, 2.0), (30, 1.5, 0.2, 1.0)])
def test_denoiser_against_the_sampled_posterior(d, beta, rho, q_hat):
    """Exact Gibbs sampling, no asymptotics: the same error up to the drift in 1/d, and nearly the same
    matrix."""
    L, r = round(beta * d), round(rho * d)
    rng = np.random.default_rng(5)
    excess, distance, sampled_errors = [], [], []
    for _ in range(5):
        S, R = observe(d, L, r, q_hat, rng)
        sampled = gibbs_denoiser(R, q_hat, r, rng, sweeps=800, burn_in=200)
        estimate, _ = rectangular_denoiser(R, q_hat, hilbert(beta, rho))
        sampled_error = float(np.mean((sampled.estimate - S) ** 2))
        assert sampled.error < 0.01
        assert sampled_error == pytest.approx(sampled.variance, rel=0.3)
        excess.append(float(np.mean((estimate - S) ** 2)) - sampled_error)
        distance.append(float(np.mean((estimate - sampled.estimate) ** 2)))
        sampled_errors.append(sampled_error)
    mean, error = mean_and_error(excess)
    assert -3 * error < mean < 1.0 / d + 3 * error
    # posterior mean + something orthogonal: the excess error is the distance
    assert np.mean(distance) < 1.5 / d
    assert np.mean(distance) < 0.2 * np.mean(sampled_errors)


def test_degenerate_input():
    zero, variance = rectangular_denoiser(np.zeros((3, 5)), 1.0, lambda x, q: np.zeros_like(x))
    assert not zero.any()
    assert variance == 0.0
    scalar, _ = rectangular_denoiser(np.ones((1, 1)), 1.0, lambda x, q: np.zeros_like(x))
    assert scalar.shape == (1, 1)
    for bad in (
        lambda: spectrum(np.ones(3)),
        lambda: spectrum(np.full((2, 2), np.nan)),
        lambda: shrink(np.ones(2), 1.0, 0.5, lambda x, q: x),
        lambda: shrink(np.ones(2), 0.0, 2.0, lambda x, q: x),
    ):
        with pytest.raises(InputError):
            bad()
