"""Message passing: against exact ridge, against state evolution at each iteration, and each way it can
end."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome, gamp, mean_square_error
from solvers.simulate.ensemble import mean_and_error, run_seeds
from solvers.simulate.instances import bilinear_instance, informed_start, sample_count
from solvers.simulate.rotational import rectangular_denoiser
from solvers.simulate.sensing import DenseGaussianSensing
from solvers.simulate.witnesses import ridge, ridge_mmse
from tests.solvers.simulate_by_hand import (
    POINTS,
    gaussian_channel,
    gaussian_denoiser,
    hilbert,
    mmse,
    one_thread,  # noqa: F401 an autouse fixture
)


def gaussian_problem(alpha, delta, shape, rng):
    S = rng.standard_normal(shape)
    sensing = DenseGaussianSensing(sample_count(alpha, shape), shape, rng)
    y = sensing.forward(S) + np.sqrt(delta) * rng.standard_normal(sensing.samples)
    return S, sensing, y


def bilinear_run(d, alpha, beta, rho, delta, rng, **options):
    L = round(beta * d)
    S = bilinear_instance(d, L, round(rho * d), rng)
    sensing = DenseGaussianSensing(sample_count(alpha, S.shape), S.shape, rng)
    y = sensing.forward(S) + np.sqrt(delta) * rng.standard_normal(sensing.samples)
    transform = hilbert(beta, rho)

    def denoiser(R, q_hat):
        return rectangular_denoiser(R, q_hat, transform)

    return gamp(sensing, y, gaussian_channel(delta), denoiser, truth=S, **options)


@pytest.mark.parametrize(("alpha", "delta"), [(0.6, 0.2), (1.5, 0.05)])
def test_gaussian_prior_gives_the_exact_ridge(alpha, delta):
    """The posterior mean of the Gaussian prior is a ridge. So is the fixed point, on the same data, at any
    size: with V at the fixed point of 1/(1 + alpha/(delta + V)) the two linear equations are the same one.
    """
    for shape in ((12, 12), (20, 30), (48, 48)):
        S, sensing, y = gaussian_problem(alpha, delta, shape, np.random.default_rng(shape[0]))
        run = gamp(sensing, y, gaussian_channel(delta), gaussian_denoiser, truth=S, max_iterations=500)
        assert run.outcome is AmpOutcome.CONVERGED
        exact = ridge(sensing, y, delta)
        np.testing.assert_allclose(run.estimate, exact, atol=1e-4)
        assert run.mse[-1] == pytest.approx(mean_square_error(exact, S), abs=1e-5)
        assert run.variance[-1] == pytest.approx(ridge_mmse(sensing.samples / S.size, delta), rel=1e-5)


def test_state_evolution_at_each_iteration():
    alpha, delta, shape, steps = 0.8, 0.1, (40, 40), 8

    def task(rng):
        S, sensing, y = gaussian_problem(alpha, delta, shape, rng)
        return gamp(
            sensing,
            y,
            gaussian_channel(delta),
            gaussian_denoiser,
            truth=S,
            max_iterations=steps,
            tolerance=1e-12,
        )

    runs = run_seeds(task, 8)
    v = 1.0
    for step in range(steps):
        q_hat = alpha_eff = sample_count(alpha, shape) / 1600 / (delta + v)
        v = 1.0 / (1.0 + q_hat)
        mean, error = mean_and_error(run.mse[step] for run in runs)
        assert mean == pytest.approx(v, abs=3.5 * error + 1 / 1600)
        # a Gaussian channel and a Gaussian prior know V and q_hat without looking at the data
        assert runs[0].q_hat[step] == pytest.approx(alpha_eff, rel=1e-9)
        assert runs[0].variance[step] == pytest.approx(v, rel=1e-9)
    assert all(run.outcome is AmpOutcome.ITERATION_LIMIT for run in runs)
    assert v == pytest.approx(ridge_mmse(alpha, delta), abs=0.05)


@pytest.mark.parametrize("point", [(0.3, 1.0, 0.2, 0.1), (0.37, 1.7, 0.43, 0.23), (0.37, 0.4, 0.3, 0.23)])
def test_bilinear_regression_reaches_its_mmse(point):
    """d = 60, hand-written law. The allowance 0.6/d is the finite-size drift; the error bar is over the
    seeds."""
    d, seeds = 60, 4
    runs = run_seeds(lambda rng: bilinear_run(d, *point, rng, tolerance=1e-4), seeds)
    mean, error = mean_and_error(run.mse[-1] for run in runs)
    assert mean == pytest.approx(POINTS[point], abs=3 * error + 0.6 / d)
    believed, spread = mean_and_error(run.variance[-1] for run in runs)
    assert believed == pytest.approx(POINTS[point], abs=3 * spread + 0.6 / d)


@pytest.mark.slow
@pytest.mark.parametrize("point", list(POINTS))
def test_bilinear_regression_follows_state_evolution(point):
    """d = 100, or 60 where the long side is three times it: mse at each of the first iterations, and at
    the end."""
    alpha, beta, rho, delta = point
    d = 60 if beta == 3.0 else 100
    runs = run_seeds(lambda rng: bilinear_run(d, *point, rng, tolerance=1e-4), 8)
    v = 1.0
    for step in range(10):
        v = mmse(alpha / (delta + v), beta, rho)
        mean, error = mean_and_error(run.mse[step] for run in runs)
        assert mean == pytest.approx(v, abs=3.5 * error + 0.5 / d)
    mean, error = mean_and_error(run.mse[-1] for run in runs)
    assert mean == pytest.approx(POINTS[point], abs=3 * error + 0.5 / d)


def test_state_evolution_by_hand_has_the_published_fixed_points():
    for (alpha, beta, rho, delta), expected in POINTS.items():
        assert mmse(alpha / (delta + expected), beta, rho) == pytest.approx(expected, abs=3e-4)


def test_noiseless_recovery():
    """Over alpha_IT = rho (1 + beta - rho)/beta = 0.51, with a margin for the size: the signal, and no
    nan."""
    run = bilinear_run(32, 0.85, 1.0, 0.3, 0.0, np.random.default_rng(0))
    assert run.outcome.converged, run.outcome.value
    assert run.mse[-1] < 1e-9
    assert np.all(np.isfinite(run.estimate))
    assert np.all(np.isfinite(run.variance))


def test_noiseless_gaussian_prior_below_and_above():
    for alpha, expected in ((0.5, 0.5), (2.0, 0.0)):
        S, sensing, y = gaussian_problem(alpha, 0.0, (40, 40), np.random.default_rng(1))
        run = gamp(sensing, y, gaussian_channel(0.0), gaussian_denoiser, truth=S)
        assert run.outcome.converged
        assert run.mse[-1] == pytest.approx(expected, abs=0.06 if expected else 1e-10)


def sensing_and_outputs():
    S, sensing, y = gaussian_problem(0.5, 0.1, (10, 12), np.random.default_rng(2))
    return S, sensing, y


@pytest.mark.parametrize(
    ("channel", "denoiser", "outcome"),
    [
        (gaussian_channel(0.1), lambda R, q: (R * np.nan, 0.5), AmpOutcome.NOT_FINITE),
        (gaussian_channel(0.1), lambda R, q: (R, np.inf), AmpOutcome.NOT_FINITE),
        (lambda y, w, V: (y / np.zeros_like(y), np.ones_like(y)), gaussian_denoiser, AmpOutcome.NOT_FINITE),
        (gaussian_channel(0.1), lambda R, q: (1e3 * R, 0.5), AmpOutcome.EXPLODED),
        (gaussian_channel(0.1), lambda R, q: (0.5 * R, -0.1), AmpOutcome.NEGATIVE_VARIANCE),
        (gaussian_channel(0.1), lambda R, q: (0.1 * np.sign(R), 3.0), AmpOutcome.VARIANCE),
        (gaussian_channel(0.1), lambda R, q: (0.1 * np.cos(100 * R), 3.0), AmpOutcome.VARIANCE),
        (lambda y, w, V: (y, -np.ones_like(y)), gaussian_denoiser, AmpOutcome.NO_INFORMATION),
    ],
)
def test_divergence_is_an_outcome(channel, denoiser, outcome):
    S, sensing, y = sensing_and_outputs()
    run = gamp(sensing, y, channel, denoiser, truth=S, tolerance=1e-12)
    assert run.outcome is outcome
    assert run.outcome.diverged
    assert not run.outcome.converged
    assert run.outcome.value.startswith("diverged: ")
    for numbers in (run.estimate, run.mse, run.variance, run.q_hat, run.change):
        assert np.all(np.isfinite(numbers))
    assert run.iterations == len(run.mse) == len(run.variance)


def test_the_last_finite_iterate_is_kept():
    S, sensing, y = sensing_and_outputs()
    calls = []

    def denoiser(R, q_hat):
        calls.append(R)
        estimate, variance = gaussian_denoiser(R, q_hat)
        return (estimate, variance) if len(calls) < 4 else (estimate * np.nan, variance)

    run = gamp(sensing, y, gaussian_channel(0.1), denoiser, truth=S)
    good = gamp(sensing, y, gaussian_channel(0.1), gaussian_denoiser, truth=S, max_iterations=3)
    assert run.iterations == 3
    np.testing.assert_array_equal(run.estimate, good.estimate)


def test_interruption_keeps_the_run_so_far():
    S, sensing, y = sensing_and_outputs()

    def callback(step, estimate):
        assert estimate.shape == S.shape
        if step.iteration == 3:
            raise KeyboardInterrupt

    run = gamp(sensing, y, gaussian_channel(0.1), gaussian_denoiser, truth=S, callback=callback)
    assert run.outcome is AmpOutcome.INTERRUPTED
    assert run.iterations == 3
    assert mean_square_error(run.estimate, S) == run.mse[-1]
    assert run_seeds(lambda rng: run, 3) == []


def test_damping_changes_the_path_and_not_the_end():
    S, sensing, y = sensing_and_outputs()
    plain = gamp(sensing, y, gaussian_channel(0.1), gaussian_denoiser, truth=S)
    damped = gamp(sensing, y, gaussian_channel(0.1), gaussian_denoiser, damping=0.3)
    assert plain.outcome is damped.outcome is AmpOutcome.CONVERGED
    assert damped.mse.size == 0
    np.testing.assert_allclose(plain.estimate, damped.estimate, atol=2e-5)


def test_even_channel_up_to_a_sign():
    """y = |h| with a little noise: from an informed start to either sign, the error measured up to the
    sign."""
    delta, rng = 0.05, np.random.default_rng(3)
    S, sensing, y = gaussian_problem(3.0, delta, (24, 24), rng)
    y = np.abs(sensing.forward(S)) + np.sqrt(delta) * rng.standard_normal(sensing.samples)

    def channel(y, omega, V):
        # h = +-|h|, each branch Gaussian; its cut at 0 is left out
        spread = V * delta / (V + delta)
        branches = [(sign, (sign * y * V + omega * delta) / (V + delta)) for sign in (1.0, -1.0)]
        tilt = np.tanh(y * omega / (V + delta))
        mean = 0.5 * ((1 + tilt) * branches[0][1] + (1 - tilt) * branches[1][1])
        second = 0.5 * ((1 + tilt) * branches[0][1] ** 2 + (1 - tilt) * branches[1][1] ** 2) + spread
        return (mean - omega) / V, (1.0 - (second - mean**2) / V) / V

    start, variance = informed_start(S, 0.5, rng)
    for sign in (1.0, -1.0):
        run = gamp(
            sensing,
            y,
            channel,
            gaussian_denoiser,
            truth=S,
            start=sign * start,
            start_variance=variance,
            symmetric=True,
            max_iterations=60,
        )
        assert run.mse[-1] < 0.1
        assert mean_square_error(run.estimate, sign * S) == run.mse[-1]
        assert mean_square_error(run.estimate, -sign * S) > 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"max_iterations": 0},
        {"tolerance": 0.0},
        {"tolerance": float("nan")},
        {"damping": 1.0},
        {"threads": 0},
        {"prior_variance": 0.0},
        {"start_variance": -1.0},
        {"start": np.zeros((2, 2))},
        {"start": np.full((10, 12), np.nan)},
        {"truth": np.zeros((12, 10))},
    ],
)
def test_bad_options(options):
    _, sensing, y = sensing_and_outputs()
    with pytest.raises(InputError):
        gamp(sensing, y, gaussian_channel(0.1), gaussian_denoiser, **options)
    with pytest.raises(InputError, match="y has shape"):
        gamp(sensing, y[:-1], gaussian_channel(0.1), gaussian_denoiser)
