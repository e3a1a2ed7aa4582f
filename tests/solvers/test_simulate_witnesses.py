"""Ridge and Gibbs, the estimators that message passing is compared with, against their own witnesses."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate import witnesses
from solvers.simulate.ensemble import mean_and_error
from solvers.simulate.sensing import DenseGaussianSensing
from solvers.simulate.witnesses import gibbs_denoiser, ridge, ridge_mmse
from tests.solvers.simulate_by_hand import (
    gaussian_denoiser,
    one_thread,  # noqa: F401 an autouse fixture
)


def lstsq_ridge(operator, y, strength):
    """By numpy, on the augmented system."""
    matrix = np.concatenate([block for _, block in operator.chunks()]).astype(float)
    matrix /= np.sqrt(matrix.shape[1])
    unknowns = matrix.shape[1]
    augmented = np.concatenate([matrix, np.sqrt(strength) * np.eye(unknowns)])
    return np.linalg.lstsq(augmented, np.concatenate([y, np.zeros(unknowns)]))[0].reshape(operator.shape)


@pytest.mark.parametrize("samples", [40, 200])
@pytest.mark.parametrize("strength", [0.3, 0.0])
@pytest.mark.parametrize("limit", [4000, 0], ids=["direct", "lsqr"])
def test_ridge_is_numpy_least_squares(monkeypatch, samples, strength, limit):
    monkeypatch.setattr(witnesses, "DIRECT_LIMIT", limit)
    operator = DenseGaussianSensing(samples, (9, 12), 4)
    y = np.random.default_rng(0).standard_normal(samples)
    expected = lstsq_ridge(operator, y, strength)
    np.testing.assert_allclose(ridge(operator, y, strength), expected, atol=1e-10 if limit else 1e-4)


@pytest.mark.parametrize(("alpha", "delta"), [(0.5, 0.1), (1.4, 0.3), (0.6, 0.0)])
def test_ridge_reaches_its_large_size_error(alpha, delta):
    shape, errors = (30, 40), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        S = rng.standard_normal(shape)
        operator = DenseGaussianSensing(round(alpha * 1200), shape, rng)
        y = operator.forward(S) + np.sqrt(delta) * rng.standard_normal(operator.samples)
        errors.append(float(np.mean((ridge(operator, y, delta) - S) ** 2)))
    mean, error = mean_and_error(errors)
    assert mean == pytest.approx(ridge_mmse(alpha, delta), abs=3 * error + 1 / 1200)


def test_ridge_mmse_limits():
    assert ridge_mmse(0.25, 0.0) == 0.75
    assert ridge_mmse(1.5, 0.0) == 0.0
    assert ridge_mmse(0.0, 0.7) == pytest.approx(1.0)
    v = ridge_mmse(2.0, 1e-9)
    assert v == pytest.approx(1 / (1 + 2.0 / (1e-9 + v)), rel=1e-12)


def test_ridge_refuses_bad_input():
    operator = DenseGaussianSensing(3, (2, 2), 0)
    for y, strength in ((np.ones(4), 0.1), (np.ones(3), -1.0), (np.ones(3), np.nan)):
        with pytest.raises(InputError):
            ridge(operator, y, strength)
    with pytest.raises(InputError):
        ridge_mmse(-1.0, 0.0)
    with pytest.raises(InputError):
        gibbs_denoiser(np.ones((2, 2)), 0.0, 1, np.random.default_rng(0))


def test_gibbs_tends_to_the_gaussian_prior_at_large_width():
    """At r >> d, L the entries of U V^T / sqrt(r) are iid normal."""
    rng = np.random.default_rng(2)
    R = np.sqrt(2.0) * rng.standard_normal((2, 2))
    sampled = gibbs_denoiser(R, 1.0, 300, rng, sweeps=600, burn_in=50)
    expected, variance = gaussian_denoiser(R, 1.0)
    # 1/r corrections, and the Monte Carlo error
    np.testing.assert_allclose(sampled.estimate, expected, atol=0.08)
    assert sampled.variance == pytest.approx(variance, abs=0.08)
    assert sampled.error < 0.05**2


def test_gibbs_at_one_by_one_is_the_integral():
    """d = L = r = 1: the posterior mean of u v given R by quadrature on a grid."""
    q_hat, R = 1.7, 1.3
    grid = np.linspace(-9.0, 9.0, 1201)
    u, v = grid[:, None], grid[None, :]
    weight = np.exp(-0.5 * u**2 - 0.5 * v**2 - 0.5 * q_hat * (R - u * v) ** 2)
    mean = float(np.sum(weight * u * v) / np.sum(weight))
    variance = float(np.sum(weight * (u * v) ** 2) / np.sum(weight)) - mean**2
    sampled = gibbs_denoiser(np.array([[R]]), q_hat, 1, np.random.default_rng(0), sweeps=10_000, burn_in=100)
    assert sampled.estimate[0, 0] == pytest.approx(mean, abs=0.04)
    assert sampled.variance == pytest.approx(variance, abs=0.04)
