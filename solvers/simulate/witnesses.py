"""Estimators that share nothing with message passing: exact ridge, and the posterior mean by sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from solvers.errors import InputError
from solvers.simulate.sensing import FloatArray, RowSensing, Sensing
from solvers.simulate.threads import blas_threads

DIRECT_LIMIT = 4000
"""Up to this size of the smaller side a dense factorisation (128 MB, seconds); beyond it, lsqr."""


def ridge(sensing: Sensing, y: FloatArray, strength: float) -> FloatArray:
    """Ridge regression on the vectorised tokens: argmin |y - F S|^2 + strength |S|^2.

    For y = h + sqrt(Delta) z and entries of S of unit variance, strength = Delta is optimal over all
    ridges: it is the posterior mean of the iid Gaussian prior. At strength 0 it is the interpolator of
    least norm.

    Args:
        sensing: the operator F = X / sqrt(d L). When its rows can be read (`chunks`) and the smaller of n
            and d L is at most DIRECT_LIMIT, the dual (n x n) or the normal (d L x d L) equations are solved
            in float64; otherwise lsqr iterates on the products.
        y: outputs, shape (n,).
        strength: at least 0.

    Returns:
        the estimate, shape (d, L).

    Raises:
        InputError: outputs of another shape, or a strength that is negative or not finite.
    """
    if y.shape != (sensing.samples,):
        raise InputError(f"y has shape {y.shape}, expected {(sensing.samples,)}")
    if not (strength >= 0.0 and np.isfinite(strength)):
        raise InputError(f"a ridge strength is at least 0, got {strength}")
    unknowns = sensing.shape[0] * sensing.shape[1]
    if isinstance(sensing, RowSensing) and min(sensing.samples, unknowns) <= DIRECT_LIMIT:
        return _direct_ridge(_rows(sensing), y, strength).reshape(sensing.shape)
    return _iterative_ridge(sensing, y, strength)


def _rows(sensing: RowSensing) -> FloatArray:
    matrix = np.empty((sensing.samples, sensing.shape[0] * sensing.shape[1]))
    for rows, block in sensing.chunks():
        matrix[rows] = block
    matrix /= np.sqrt(matrix.shape[1])
    return matrix


def _direct_ridge(matrix: FloatArray, y: FloatArray, strength: float) -> FloatArray:
    samples, unknowns = matrix.shape
    if strength == 0.0:
        return np.asarray(np.linalg.lstsq(matrix, y)[0], dtype=np.float64)
    if samples <= unknowns:
        gram = matrix @ matrix.T
        gram[np.diag_indices(samples)] += strength
        return matrix.T @ scipy.linalg.solve(gram, y, assume_a="pos")
    gram = matrix.T @ matrix
    gram[np.diag_indices(unknowns)] += strength
    return np.asarray(scipy.linalg.solve(gram, matrix.T @ y, assume_a="pos"))


def _iterative_ridge(sensing: Sensing, y: FloatArray, strength: float) -> FloatArray:
    shape = sensing.shape
    build = cast(Any, scipy.sparse.linalg.LinearOperator)  # its stubs know only `shape` and `dtype`
    operator = build(
        (sensing.samples, shape[0] * shape[1]),
        matvec=lambda vector: sensing.forward(vector.reshape(shape)),
        rmatvec=lambda vector: sensing.adjoint(vector.ravel()).ravel(),
        dtype=np.float64,
    )
    # tighter than a float32 product is exact would only iterate on its rounding
    solution = scipy.sparse.linalg.lsqr(operator, y, damp=float(np.sqrt(strength)), atol=1e-7, btol=1e-7)
    return np.asarray(solution[0]).reshape(shape)


def ridge_mmse(alpha: float, delta: float) -> float:
    """Large-size mean square error per entry of the optimal ridge, for entries of unit variance and noise
    Delta.

    The positive root v of v^2 + v (alpha + Delta - 1) - Delta = 0, from q_hat = alpha/(Delta + v), v = 1/(1
    + q_hat); max(0, 1 - alpha) with no noise.

    Raises:
        InputError: a negative alpha or delta.

    >>> ridge_mmse(0.25, 0.0)
    0.75
    """
    if not (alpha >= 0.0 and delta >= 0.0):
        raise InputError(f"alpha and delta are at least 0, got {alpha} and {delta}")
    half = 0.5 * (1.0 - alpha - delta)
    root = float(np.hypot(half, np.sqrt(delta)))
    # the form without cancellation on each side of zero
    if half >= 0.0:
        return half + root
    return delta / (root - half)


@dataclass(frozen=True)
class SampledPosterior:
    """A posterior mean by sampling.

    Attributes:
        estimate: mean of S over the chain, shape (d, L).
        variance: posterior variance per entry seen by the chain.
        error: mean square Monte Carlo error per entry of `estimate`, from the two halves of the chain.
        sweeps: how many were averaged.
    """

    estimate: FloatArray = field(repr=False)
    variance: float
    error: float
    sweeps: int


def gibbs_denoiser(
    R: FloatArray, q_hat: float, r: int, rng: np.random.Generator, *, sweeps: int = 2000, burn_in: int = 500
) -> SampledPosterior:
    """Posterior mean of S = U V^T / sqrt(r) given R = S + Z / sqrt(q_hat), by exact Gibbs sampling of the
    factors.

    Given V the rows of U are independent Gaussians, of precision I + q_hat V^T V / r and mean
    precision^-1 V^T R_i q_hat / sqrt(r), and the same with U and V exchanged. The mean of S averages
    E[U | V] V^T / sqrt(r) rather than U V^T / sqrt(r) (Rao-Blackwell). No asymptotics, no spectrum: at
    small size it is what a rotationally invariant denoiser must come close to.

    Args:
        R: shape (d, L).
        q_hat: inverse variance of the noise, positive.
        r: width of the factors.
        rng: where the chain and its start, a draw from the prior, come from.
        sweeps: number averaged, at least 2.
        burn_in: number thrown away first.

    Raises:
        InputError: sizes out of range.
    """
    if r < 1 or sweeps < 2 or burn_in < 0 or not q_hat > 0.0:
        raise InputError(
            f"gibbs needs r >= 1, sweeps >= 2, burn_in >= 0, q_hat > 0; got {r}, {sweeps}, {burn_in}, {q_hat}"
        )
    rows, columns = R.shape
    right = rng.standard_normal((columns, r))
    halves = np.zeros((2, rows, columns))
    counts = np.zeros(2)
    second_moment = 0.0
    with blas_threads(1):
        for sweep in range(-burn_in, sweeps):
            mean, left = _conditional_factor(R, right, q_hat, rng)
            if sweep >= 0:
                signal = left @ right.T / np.sqrt(r)
                half = int(2 * sweep >= sweeps)
                halves[half] += mean @ right.T / np.sqrt(r)
                counts[half] += 1
                second_moment += float(np.mean(signal**2))
            _, right = _conditional_factor(R.T, left, q_hat, rng)
    estimate = halves.sum(axis=0) / sweeps
    first, second = halves[0] / counts[0], halves[1] / counts[1]
    return SampledPosterior(
        estimate=estimate,
        variance=second_moment / sweeps - float(np.mean(estimate**2)),
        error=float(np.mean((first - second) ** 2)) / 4.0,
        sweeps=sweeps,
    )


def _conditional_factor(
    R: FloatArray, other: FloatArray, q_hat: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Mean and one draw of the factor of shape (R rows, r) given the other, of shape (R columns, r)."""
    r = other.shape[1]
    precision = np.eye(r) + (q_hat / r) * (other.T @ other)
    lower = np.linalg.cholesky(precision)
    field_ = (q_hat / np.sqrt(r)) * (R @ other)
    mean = scipy.linalg.cho_solve((lower, True), field_.T).T
    # covariance precision^-1 = lower^-T lower^-1
    noise = scipy.linalg.solve_triangular(lower, rng.standard_normal((r, R.shape[0])), lower=True, trans=1).T
    return mean, mean + noise
