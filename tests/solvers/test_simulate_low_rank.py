"""Low-rank AMP: a tanh iteration by hand, exact enumeration of the posterior, state evolution by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from replica import solve
from replica.ingredients.priors import Gaussian, Rademacher
from replica.lowering.message_passing import input_functions
from replica.models.spiked_matrix import SpikedMatrix
from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome
from solvers.simulate.low_rank import low_rank_amp, rectangular_spike, symmetric_spike
from tests.solvers.simulate_by_hand import one_thread  # noqa: F401 an autouse fixture


def posterior(prior):
    functions = input_functions(prior)
    return lambda A, B: functions(A, B, {})


def start(x, rng, overlap=0.1):
    return overlap * x + np.sqrt(overlap * (1 - overlap)) * rng.standard_normal(len(x)), 1 - overlap


def test_the_generated_denoiser_is_the_tanh_iteration():
    """Rademacher coordinates: x_hat = tanh(B), V = 1 - mean x_hat^2, written out; every iteration the same."""
    rng, N, lam = np.random.default_rng(0), 300, 2.3
    x = rng.choice([-1.0, 1.0], N)
    Y = symmetric_spike(x, lam, rng)
    first = start(x, rng)
    run = low_rank_amp(Y, lam, [posterior(Rademacher())], first, truth=x, tolerance=1e-12, max_iterations=25)
    m, before, onsager = first[0], np.zeros(N), first[1]
    for t in range(25):
        m, before = np.tanh(np.sqrt(lam / N) * Y @ m - lam * onsager * before), m
        onsager = 1 - np.mean(m**2)
        assert run.mse[t] == pytest.approx(np.mean((x - m) ** 2), abs=1e-12)
        assert run.variance[t] == pytest.approx(onsager, abs=1e-12)
    np.testing.assert_allclose(run.estimate, m, atol=1e-12)


def test_a_rectangular_iteration_by_hand():
    """u Gaussian, v Rademacher: B/(1 + A) and tanh(B), each with its Onsager term."""
    rng, N, M, lam = np.random.default_rng(1), 240, 150, 3.0
    u, v = rng.standard_normal(N), rng.choice([-1.0, 1.0], M)
    Y = rectangular_spike(u, v, lam, rng)
    first = start(u, rng)
    run = low_rank_amp(
        Y,
        lam,
        [posterior(Gaussian()), posterior(Rademacher())],
        first,
        truth=u,
        tolerance=1e-14,
        max_iterations=12,
    )
    (a, spread), b = first, np.zeros(M)
    for _ in range(12):
        b = np.tanh(np.sqrt(lam / N) * Y.T @ a - lam * spread * b)
        precision = lam * (b @ b) / N
        a = (np.sqrt(lam / N) * Y @ b - lam / N * np.sum(1 - b**2) * a) / (1 + precision)
        spread = 1 / (1 + precision)
    np.testing.assert_allclose(run.estimate, a, atol=1e-12)
    np.testing.assert_allclose(run.other, b, atol=1e-12)
    assert run.q_hat[-1] == pytest.approx(precision, rel=1e-12)


def test_the_matrix_is_what_is_stated():
    rng, N, lam = np.random.default_rng(2), 400, 2.0
    x = rng.standard_normal(N)
    noise = symmetric_spike(x, lam, rng) - np.sqrt(lam / N) * np.outer(x, x)
    np.testing.assert_array_equal(noise - np.diag(np.diag(noise)), (noise - np.diag(np.diag(noise))).T)
    above = noise[np.triu_indices(N, 1)]
    assert np.mean(above) == pytest.approx(0, abs=4 / np.sqrt(above.size))
    assert np.mean(above**2) == pytest.approx(1, abs=6 / np.sqrt(above.size))
    v = rng.standard_normal(300)
    rectangle = rectangular_spike(x, v, lam, rng) - np.sqrt(lam / N) * np.outer(x, v)
    assert np.mean(rectangle**2) == pytest.approx(1, abs=6 / np.sqrt(rectangle.size))


# --- exact enumeration ----------------------------------------------------------------------------------------


def exact_posterior(Y, lam):
    """E[x_i x_j | Y] of Rademacher coordinates for the pairs i < j, for a batch of matrices, by summing over
    all configurations up to the global sign.
    """
    N = Y.shape[-1]
    spins = np.array(list(itertools.product((1.0, -1.0), repeat=N - 1)))
    spins = np.hstack([np.ones((len(spins), 1)), spins])
    i, j = np.triu_indices(N, 1)
    pairs = spins[:, i] * spins[:, j]
    energy = np.sqrt(lam / N) * Y[:, i, j] @ pairs.T
    weight = np.exp(energy - energy.max(axis=1, keepdims=True))
    return (weight / weight.sum(axis=1, keepdims=True)) @ pairs


def draw(N, lam, seeds, rng):
    x = rng.choice([-1.0, 1.0], (seeds, N))
    return x, np.array([symmetric_spike(one, lam, rng) for one in x])


def exact_errors(N, lam, seeds):
    """The mse of the exact posterior mean of x x^T, off the diagonal, for each seed."""
    i, j = np.triu_indices(N, 1)
    rng, found = np.random.default_rng(N), []
    for _ in range(seeds // 100):
        x, Y = draw(N, lam, 100, rng)
        found.append(np.mean((x[:, i] * x[:, j] - exact_posterior(Y, lam)) ** 2, axis=1))
    return np.concatenate(found)


@pytest.mark.parametrize("lam", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_exact_enumeration_drifts_to_the_theory(lam):
    """The exact mmse at N = 8, 11 and 14, continued linearly in 1/N to N = infinity."""
    theory = solve(SpikedMatrix(), lam=lam)["matrix_mmse"]
    sizes, means, bars = np.array([8, 11, 14]), [], []
    for N, seeds in zip(sizes, (6000, 6000, 2500), strict=True):
        errors = exact_errors(N, lam, seeds)
        means.append(errors.mean())
        bars.append(errors.std(ddof=1) / np.sqrt(errors.size))
    (_, limit), covariance = np.polyfit(1 / sizes, means, 1, w=1 / np.array(bars), cov="unscaled")
    error = np.sqrt(covariance[1, 1])
    print(
        f"theory {theory:.4f}, {np.round(means, 4)} +- {np.round(bars, 4)}, limit {limit:.4f} +- {error:.4f}"
    )
    assert error < 0.04
    assert abs(limit - theory) < 3.5 * error


def test_exact_enumeration_bounds_message_passing():
    """On the same matrices, strong signal: the posterior mean is at least as good as AMP on average, which is
    close to it.
    """
    N, lam, seeds = 14, 6.0, 80
    i, j = np.triu_indices(N, 1)
    rng = np.random.default_rng(3)
    x, Y = draw(N, lam, seeds, rng)
    exact = exact_posterior(Y, lam)
    found = []
    for one, matrix in zip(x, Y, strict=True):
        run = low_rank_amp(
            matrix, lam, [posterior(Rademacher())], start(one, rng, 0.5), max_iterations=20, tolerance=1e-3
        )
        found.append(run.estimate[i] * run.estimate[j])
    truth = x[:, i] * x[:, j]
    best, passed = np.mean((truth - exact) ** 2), np.mean((truth - np.array(found)) ** 2)
    apart = np.median(np.mean((exact - np.array(found)) ** 2, axis=1))
    print(f"exact {best:.4f}, AMP {passed:.4f}, median distance {apart:.2e}")
    assert best < passed < best + 0.15
    assert apart < 0.02


# --- limits -----------------------------------------------------------------------------------------------------


def test_gaussian_coordinates_above_and_below_the_threshold():
    """q = 1 - 1/lambda above lambda = 1, nothing below: the top eigenvector, by AMP."""
    rng, N = np.random.default_rng(4), 1500
    x = rng.standard_normal(N)
    run = low_rank_amp(symmetric_spike(x, 4.0, rng), 4.0, [posterior(Gaussian())], start(x, rng), truth=x)
    assert run.outcome is AmpOutcome.CONVERGED
    assert run.estimate @ x / N == pytest.approx(0.75, abs=0.06)
    Y = symmetric_spike(x, 4.0, np.random.default_rng(5))
    again = low_rank_amp(Y, 4.0, [posterior(Gaussian())], start(x, rng), tolerance=1e-9)
    top = np.linalg.eigh(Y)[1][:, -1]
    assert abs(top @ again.estimate) / np.linalg.norm(again.estimate) == pytest.approx(1, abs=1e-6)
    weak = low_rank_amp(symmetric_spike(x, 0.5, rng), 0.5, [posterior(Gaussian())], start(x, rng), truth=x)
    assert weak.outcome is AmpOutcome.CONVERGED
    assert np.mean(weak.estimate**2) < 1e-8


def test_bad_input_is_one_line():
    Y, one = np.zeros((4, 4)), [posterior(Gaussian())]
    begin = (np.ones(4), 1.0)
    for arguments, options, words in (
        ((np.zeros((4, 3)), 1.0, one, begin), {}, "one posterior needs a square matrix"),
        ((Y, 1.0, one, (np.ones(3), 1.0)), {}, "start has shape"),
        ((Y, -1.0, one, begin), {}, "signal-to-noise ratio"),
        ((np.full((4, 4), np.nan), 1.0, one, begin), {}, "not finite"),
        ((Y, 1.0, one, begin), {"max_iterations": 0}, "max_iterations is at least 1"),
        ((Y, 1.0, one, begin), {"tolerance": 0.0}, "tolerance is positive"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            low_rank_amp(*arguments, **options)
        assert "\n" not in str(caught.value)
    broken = low_rank_amp(Y, 1.0, [lambda A, B: (np.full(4, np.nan), np.ones(4))], begin)
    assert broken.outcome is AmpOutcome.NOT_FINITE
    assert broken.iterations == 0
