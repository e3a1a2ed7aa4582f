"""An iteration of message passing costs its two products and its SVD, and little else."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.linalg

from solvers.simulate.amp import gamp
from solvers.simulate.instances import bilinear_instance, sample_count
from solvers.simulate.rotational import rectangular_denoiser
from solvers.simulate.sensing import DenseGaussianSensing
from solvers.simulate.threads import blas_threads
from tests.solvers.simulate_by_hand import gaussian_channel, hilbert

ALLOWED = 1.5
COUNT = 10


def seconds(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("d", "alpha", "beta", "rho", "delta"), [(100, 0.3, 1.0, 0.2, 0.1), (100, 0.37, 1.7, 0.43, 0.23)]
)
def test_iteration_against_its_parts(d, alpha, beta, rho, delta):
    rng = np.random.default_rng(0)
    S = bilinear_instance(d, round(beta * d), round(rho * d), rng)
    sensing = DenseGaussianSensing(sample_count(alpha, S.shape), S.shape, rng)
    y = sensing.forward(S) + np.sqrt(delta) * rng.standard_normal(sensing.samples)
    matrix = np.concatenate([block for _, block in sensing.chunks()])
    signal, residual, R = S.ravel().astype(np.float32), y.astype(np.float32), S + rng.standard_normal(S.shape)
    transform = hilbert(beta, rho)

    def parts():
        for _ in range(COUNT):
            matrix @ signal
            residual @ matrix
            scipy.linalg.svd(R, full_matrices=False)

    def iterations():
        gamp(
            sensing,
            y,
            gaussian_channel(delta),
            lambda R, q_hat: rectangular_denoiser(R, q_hat, transform),
            truth=S,
            max_iterations=COUNT,
            tolerance=1e-12,
        )

    with blas_threads(1):  # as `gamp` does
        parts()
        # in turn, so that whatever else the machine does falls on both; the best of each
        pairs = [(seconds(parts), seconds(iterations)) for _ in range(8)]
    baseline, iteration = (min(times) / COUNT for times in zip(*pairs, strict=True))
    ratio = iteration / baseline
    print(f"\niteration {1e3 * iteration:.1f} ms, its parts {1e3 * baseline:.1f} ms, ratio {ratio:.2f}")
    assert ratio < ALLOWED
