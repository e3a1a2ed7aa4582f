"""Denoising a rotationally invariant d x L matrix: keep the singular vectors, shrink the singular values.

Y = S + Z / sqrt(q_hat), with Z iid N(0, 1) and S of law invariant under rotations on both sides. The
posterior mean is Y + (1/q_hat) grad log P(Y) (Tweedie), and for large sizes the gradient is that of the
Jacobian of the singular values alone, -sum_{i<j} log|sv_i^2 - sv_j^2| - |L - d| sum_i log sv_i, which is a
Hilbert transform: Troiani et al., arXiv 2203.07752, and arXiv 2410.18858, the denoiser of GAMP-RIE.

Convention: matrices are oriented so that rows <= columns, beta = columns/rows >= 1, singular values are in
units of sqrt(columns), x = sv^2, and the law meant is that of Y Y^T / columns (a rows x rows matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.linalg

from solvers.errors import InputError
from solvers.simulate.sensing import FloatArray

Hilbert: TypeAlias = Callable[[FloatArray, float], FloatArray]
"""`hilbert(x, q_hat)`: PV int rho(t) / (x - t) dt at the points x, for the law rho of Y Y^T / columns at
noise 1/q_hat. Points may fall slightly outside the bulk (finite size), where it is the plain integral."""


class Denoised(NamedTuple):
    """A denoised matrix, shape as given, and the posterior variance per entry: what a `Denoiser` returns."""

    estimate: FloatArray
    variance: float


class Spectrum(NamedTuple):
    """Thin SVD in the module's convention: R = sqrt(columns) (left * values) @ right, or its transpose."""

    left: FloatArray
    values: FloatArray
    right: FloatArray
    transposed: bool


def spectrum(R: FloatArray) -> Spectrum:
    """Thin SVD of R oriented to rows <= columns, values in units of sqrt(columns), descending.

    Uses the divide-and-conquer driver gesdd (six times faster than gesvd at 2000), and gesvd on the rare
    matrices for which gesdd fails to converge.

    Raises:
        InputError: an array that is not a matrix, or that holds values that are not finite.
    """
    if R.ndim != 2 or R.size == 0:
        raise InputError(f"a denoiser takes a matrix, got an array of shape {R.shape}")
    if not np.all(np.isfinite(R)):
        raise InputError("a denoiser takes finite values")
    transposed = R.shape[0] > R.shape[1]
    oriented = R.T if transposed else R
    try:
        left, values, right = scipy.linalg.svd(
            oriented, full_matrices=False, check_finite=False, lapack_driver="gesdd"
        )
    except np.linalg.LinAlgError:
        left, values, right = scipy.linalg.svd(
            oriented, full_matrices=False, check_finite=False, lapack_driver="gesvd"
        )
    return Spectrum(left, values / np.sqrt(oriented.shape[1]), right, transposed)


def shrink(values: FloatArray, q_hat: float, beta: float, hilbert: Hilbert) -> FloatArray:
    """Optimal singular values: sv - (1/q_hat) ((2/beta) sv H(sv^2) + (1 - 1/beta) / sv), not below 0.

    The clip is not a regularisation. The law of S is invariant under the reflection u_i -> -u_i, so given
    all else the posterior weighs s = u_i^T S v_i against -s by exp(2 q_hat sv_i s), and E[s | Y] = E[s
    tanh(...)] >= 0: the exact posterior mean never has a negative shrunk value, and a negative one is a
    finite-size error of the formula.

    Args:
        values: singular values in units of sqrt(columns), shape (rows,).
        q_hat: inverse variance of the noise.
        beta: columns/rows >= 1.
        hilbert: `hilbert(x, q_hat)`, called once with x = values^2.

    Returns:
        shrunk singular values, same units, shape (rows,).

    Raises:
        InputError: beta below 1 or q_hat not positive.
    """
    if beta < 1.0:
        raise InputError(f"orient the matrix to rows <= columns: beta = {beta} is below 1")
    if not q_hat > 0.0:
        raise InputError(f"q_hat is positive, got {q_hat}")
    # a singular value of exactly 0 (R = 0) stays 0
    hard_wall = np.divide(1.0 - 1.0 / beta, values, out=np.zeros_like(values), where=values > 0.0)
    repulsion = (2.0 / beta) * values * hilbert(values**2, q_hat) + hard_wall
    return np.where(values > 0.0, np.maximum(values - repulsion / q_hat, 0.0), 0.0)


def rectangular_denoiser(R: FloatArray, q_hat: float, hilbert: Hilbert) -> Denoised:
    """Estimate S from R = S + Z / sqrt(q_hat), knowing the law of R R^T only.

    Args:
        R: matrix of shape (d, L), in either orientation.
        q_hat: inverse variance of the noise per entry.
        hilbert: `hilbert(x, q_hat)` for the law of R R^T / columns with rows <= columns; for d > L that is
            the law with d and L exchanged.

    Returns:
        the estimate of shape (d, L), and its posterior variance by `divergence_variance`, with the slopes
            of the shrinkage taken between neighbouring singular values (they weigh 1/columns). For a
            `hilbert` that depends on R itself (`empirical_hilbert`) this is not the whole divergence, and
            message passing with it diverges.

    Raises:
        InputError: as `spectrum` and `shrink`.
    """
    left, values, right, transposed = spectrum(R)
    beta = right.shape[1] / values.size
    shrunk = shrink(values, q_hat, beta, hilbert)
    estimate = np.sqrt(right.shape[1]) * ((left * shrunk) @ right)
    variance = divergence_variance(values, shrunk, neighbour_slopes(values, shrunk), q_hat, beta)
    return Denoised(estimate.T if transposed else estimate, variance)


def neighbour_slopes(values: FloatArray, shrunk: FloatArray) -> FloatArray:
    """Slopes f'(sv) of a shrinkage known at its singular values, from each one's neighbours; sorted inputs.

    Singular values that coincide have no slope between them: it is taken as f/sv there.
    """
    if values.size < 2:
        return _ratio(shrunk, values)
    after = np.append(np.arange(1, values.size), values.size - 1)
    before = np.append(0, np.arange(values.size - 1))
    run = values[after] - values[before]
    rise = shrunk[after] - shrunk[before]
    return np.divide(rise, run, out=_ratio(shrunk, values), where=run != 0.0)


def divergence_variance(
    values: FloatArray, shrunk: FloatArray, slopes: FloatArray, q_hat: float, beta: float
) -> float:
    """Posterior variance per entry (1/q_hat) div S_hat / (d L), never negative.

    The divergence is exact for a function f applied to the singular values,

        div = sum_i [f'_i + (columns - rows) f_i / sv_i] + 2 sum_{i<j} (sv_i f_i - sv_j f_j) / (sv_i^2 -
        sv_j^2)

    (Candes, Sing-Long, Trzasko, arXiv 1210.4139), every finite-size term kept: it is what the Onsager term
    of message passing stands for, whether or not the denoiser is optimal. Coinciding singular values
    contribute their limit (f/sv + f')/2. A divergence below 0, which the posterior mean cannot have, is a
    finite-size error and gives 0.

    Args:
        values: singular values in units of sqrt(columns), shape (rows,).
        shrunk: f(values).
        slopes: f'(values).
        q_hat: inverse variance of the noise.
        beta: columns/rows >= 1.
    """
    rows = values.size
    columns = beta * rows
    slant = _ratio(shrunk, values)
    square = values**2
    product = values * shrunk
    gap = square[:, None] - square[None, :]
    pairs = np.repeat((0.5 * (slant + slopes))[:, None], rows, axis=1)
    np.divide(product[:, None] - product[None, :], gap, out=pairs, where=gap != 0.0)
    np.fill_diagonal(pairs, 0.0)
    divergence = float(np.sum(slopes + (columns - rows) * slant) + np.sum(pairs))
    return max(divergence, 0.0) / (q_hat * rows * columns)


def sure_variance(values: FloatArray, shrunk: FloatArray, q_hat: float) -> float:
    """Posterior variance per entry 1/q_hat - |R - S_hat|^2 / (d L).

    It follows from E|R - S|^2 = |R - S_hat|^2 + E|S_hat - S|^2 given R, so it is true of the Bayes-optimal
    denoiser on average over data that do come from S + Z / sqrt(q_hat). A check on a run, not an engine: it
    is blind to an error of q_hat, can be negative, and message passing that takes V from it oscillates or
    diverges.
    """
    return 1.0 / q_hat - float(np.mean((values - shrunk) ** 2))


def _ratio(shrunk: FloatArray, values: FloatArray) -> FloatArray:
    """f/sv, 0 where sv = 0."""
    return np.divide(shrunk, values, out=np.zeros_like(values), where=values > 0.0)


def empirical_hilbert(x: FloatArray, *, neighbours: int | None = None) -> FloatArray:
    """Hilbert transform of the points' own law, (1/rows) sum_{j != i} 1 / (x_i - x_j), smoothed.

    A witness for a computed law: it assumes nothing but the singular values themselves. The bare
    leave-one-out sum is no estimate at all: its nearest neighbours are 1/rows away, so their share
    fluctuates by order 1 at any size (measured at rows = 600, beta = 1, rho = 0.2, q_hat = 0.5: mse 2.5
    where the optimum is 0.51). So, in 2 sv / (sv^2 - t^2) = 1/(sv - t) + 1/(sv + t), which keeps a hard
    edge at 0 exact, each 1/u becomes u / (u^2 + eta_j^2) with eta_j the typical distance from sv_j to its
    k-th neighbour (a variable kernel, as in Ledoit and Wolf, Annals of Statistics 48 (2020) 3043). The mse
    it gives is 1 to 4 percent over the optimum from rows = 60 to 600.

    Args:
        x: squared singular values, positive, shape (rows,).
        neighbours: k; sqrt(rows)/2 when None, and 0 for the bare sum.

    Returns:
        H at each point, shape (rows,).
    """
    rows = x.size
    values = np.sqrt(x)
    k = max(1, round(np.sqrt(rows) / 2)) if neighbours is None else neighbours
    eta = _neighbour_distance(values, k)
    total = np.zeros((rows, rows))
    for mirror in (values, -values):
        gap = values[:, None] - mirror[None, :]
        np.fill_diagonal(gap, 1.0)
        total += gap / (gap**2 + eta[None, :] ** 2)
    np.fill_diagonal(total, 0.0)
    return np.sum(total, axis=1) / (2.0 * values * rows)


def _neighbour_distance(values: FloatArray, k: int) -> FloatArray:
    """Typical distance of each value to its k-th neighbour, the values being mirrored at 0."""
    order = np.argsort(values)
    line = np.concatenate((-values[order][::-1], values[order]))
    middle = np.arange(values.size, line.size)
    above = np.minimum(middle + k, line.size - 1)
    below = np.maximum(middle - k, 0)
    distance = np.zeros_like(values)
    distance[order] = k * (line[above] - line[below]) / np.maximum(above - below, 1)
    return distance
