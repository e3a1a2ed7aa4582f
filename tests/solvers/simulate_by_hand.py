"""Hand-written pieces for the simulation tests, sharing no code with the library's own derivations.

The law of Y Y^T / L for Y = U V^T / sqrt(r) + Z / sqrt(q_hat) is that of a sample covariance: given U the L
columns of Y are independent with covariance U U^T / r + 1/q_hat, whose law is a shifted Marchenko-Pastur.
Silverstein's equation for the companion Stieltjes transform, in u = 1/m, is then a quartic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from solvers.simulate.rotational import Hilbert
from solvers.simulate.threads import blas_threads

Array = NDArray[np.float64]
POINTS = {  # (alpha, beta, rho, delta) -> mmse, issue 2
    (0.3, 1.0, 0.2, 0.1): 0.513992,
    (0.37, 1.7, 0.43, 0.23): 0.627167,
    (0.37, 0.4, 0.3, 0.23): 0.671451,
    (0.8, 3.0, 1.5, 0.05): 0.259592,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For every test of a module that imports it."""
    with blas_threads(1):
        yield


def gaussian_channel(delta: float) -> Callable[[Array, Array, float], tuple[Array, Array]]:
    """y = h + sqrt(delta) z: g = (y - omega)/(V + delta)."""

    def channel(y: Array, omega: Array, V: float) -> tuple[Array, Array]:
        return (y - omega) / (V + delta), np.full_like(y, 1.0 / (V + delta))

    return channel


def gaussian_denoiser(R: Array, q_hat: float) -> tuple[Array, float]:
    """Entries iid N(0, 1)."""
    return R * q_hat / (1.0 + q_hat), 1.0 / (1.0 + q_hat)


def stieltjes(x: Array, q_hat: float, beta: float, rho: float) -> NDArray[np.complex128]:
    """int rho(t) / (t - x - i0) dt for the law of Y Y^T / L, beta = L/d >= 1."""
    z = x * (1.0 + 1e-7j)
    c, noise = 1.0 / rho, 1.0 / q_hat
    p, s, k = 1.0 - beta, -beta * z, c - 1.0 - noise
    # N = p u + s; u^4 + (k - u) N u^2 - c (u + noise) N^2 = 0
    poly = np.zeros((x.size, 5), dtype=np.complex128)
    poly[:, 0] = 1.0 - p
    poly[:, 1] = k * p - s - c * p**2
    poly[:, 2] = k * s - c * (2.0 * p * s + noise * p**2)
    poly[:, 3] = -c * (s**2 + 2.0 * noise * p * s)
    poly[:, 4] = -c * noise * s**2
    companion = np.zeros((x.size, 4, 4), dtype=np.complex128)
    companion[:, 0, :] = -poly[:, 1:] / poly[:, :1]
    companion[:, [1, 2, 3], [0, 1, 2]] = 1.0
    u = np.linalg.eigvals(companion)
    m = 1.0 / u
    g = (p * u + s[:, None]) / u**2
    # both are Stieltjes transforms of laws, at points of the upper half plane
    physical = np.argmax(np.minimum(m.imag, g.imag), axis=1)
    return beta * (m[np.arange(x.size), physical] + (1.0 - 1.0 / beta) / z)


def oriented(beta: float, rho: float) -> tuple[float, float]:
    """(beta, rho) of the same model with rows <= columns."""
    return (beta, rho) if beta >= 1.0 else (1.0 / beta, rho / beta)


def hilbert(beta: float, rho: float) -> Hilbert:
    beta, rho = oriented(beta, rho)
    return lambda x, q_hat: -stieltjes(x, q_hat, beta, rho).real


def mmse(q_hat: float, beta: float, rho: float, nodes: int = 4000) -> float:
    """1/q_hat - int (2 sv H / beta + (1 - 1/beta)/sv)^2 rho / q_hat^2, by midpoints in sqrt(sv)."""
    beta, rho = oriented(beta, rho)
    top = 1.5 * (1.0 + beta**-0.5) * (q_hat**-0.5 + 1.0 + rho**-0.5)
    # a hard edge at 0 holds mass (beta = 1); otherwise nothing is there, and the quartic degenerates
    angle = np.arange(1 if beta == 1.0 else nodes // 100, nodes) / nodes
    values = top * angle**2
    transform = stieltjes(values**2, q_hat, beta, rho)
    weight = np.maximum(transform.imag, 0.0) * values * angle
    score = -(2.0 / beta) * values * transform.real + (1.0 - 1.0 / beta) / values
    return 1.0 / q_hat - float(np.sum(weight * score**2) / np.sum(weight)) / q_hat**2
