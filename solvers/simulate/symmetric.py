"""Denoising a rotationally invariant symmetric matrix: keep the eigenvectors, shrink the eigenvalues.

Y = S + Z/sqrt(q_hat), Z symmetric with the semicircle law on [-2, 2] (off-diagonal entries of variance 1/d,
twice that on the diagonal). By Tweedie's formula, with the Jacobian prod_{i<j} |x_i - x_j| of the
eigenvalues, an eigenvalue x becomes x - 2 h(x)/q_hat, h the Hilbert transform of the law of Y: J. Bun, R.
Allez, J.-P. Bouchaud and M. Potters, IEEE Trans. Inf. Theory 62 (2016) 7475; arXiv 2110.08775. It is the
denoiser of GAMP-RIE for quadratic networks (arXiv 2408.03733).

Symmetric signals in ``gamp``. For symmetric X with N(0, 1 + delta_ij) entries, X = (G + G^T)/sqrt(2) with G
iid N(0, 1), so Tr(X S)/sqrt(d) = <G, T>/d for T = sqrt(2 d) S: the iid sensing of T, with |T|^2/d^2 = 2
|S|^2/d the variance of a field. The adjoint for symmetric arguments is that of G, symmetrised; the denoiser
below does that. With q = alpha E(-dg/domega) the precision that ``gamp`` works with, T is seen through
symmetric noise of variance 1/(2 q) off the diagonal, which is q_hat = 4 q for S.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from solvers.errors import InputError
from solvers.simulate.rotational import Denoised, Hilbert, neighbour_slopes
from solvers.simulate.sensing import FloatArray

PRECISION = 4.0
"""q_hat of S over the precision of ``gamp``."""


def symmetric_scale(d: int) -> float:
    """sqrt(2 d), the factor from S to the signal T that ``gamp`` works with."""
    return float(np.sqrt(2.0 * d))


def symmetric_denoiser(R: FloatArray, precision: float, hilbert: Hilbert) -> Denoised:
    """Estimate T = sqrt(2 d) S from R, whose symmetric part is T plus noise; see the top of the module.

    The shrunk eigenvalues are not below 0, for an S that is positive semidefinite: so is then its posterior
    mean, and a negative one is an error of finite size.

    Args:
        R: d x d, not necessarily symmetric.
        precision: that of ``gamp``, a fourth of q_hat.
        hilbert: `hilbert(x, q_hat)`, the principal value of int rho(t)/(x - t) dt for the law rho of the
            eigenvalues of S + Z/sqrt(q_hat).

    Returns:
        the estimate of T, and its posterior variance |T - T_hat|^2/d^2 by `symmetric_variance`.

    Raises:
        InputError: no square matrix, values that are not finite, a precision that is not positive.
    """
    if R.ndim != 2 or R.shape[0] != R.shape[1] or R.size == 0:
        raise InputError(f"a symmetric denoiser takes a square matrix, got an array of shape {R.shape}")
    if not np.all(np.isfinite(R)):
        raise InputError("a denoiser takes finite values")
    if not precision > 0.0:
        raise InputError(f"the precision is positive, got {precision}")
    d, q_hat = len(R), PRECISION * precision
    scale = symmetric_scale(d)
    values, vectors = scipy.linalg.eigh((R + R.T) / (2.0 * scale), check_finite=False)
    shrunk = np.maximum(values - 2.0 * hilbert(values, q_hat) / q_hat, 0.0)
    variance = symmetric_variance(values, shrunk, neighbour_slopes(values, shrunk), q_hat)
    return Denoised(scale * ((vectors * shrunk) @ vectors.T), 2.0 * variance)


def symmetric_variance(values: FloatArray, shrunk: FloatArray, slopes: FloatArray, q_hat: float) -> float:
    """Posterior variance E|S - S_hat|^2/d = 2 div S_hat/(q_hat d^2), never negative.

    The divergence over symmetric matrices is exact for a function f applied to the eigenvalues, sum_i f'_i +
    sum_{i<j} (f_i - f_j)/(x_i - x_j), every finite-size term kept: it is what the Onsager term stands for.
    Eigenvalues that coincide contribute their slope.
    """
    gap = values[:, None] - values[None, :]
    pairs = np.repeat(slopes[:, None], values.size, axis=1)
    np.divide(shrunk[:, None] - shrunk[None, :], gap, out=pairs, where=gap != 0.0)
    np.fill_diagonal(pairs, 0.0)
    divergence = float(np.sum(slopes) + np.sum(pairs) / 2.0)
    return max(divergence, 0.0) * 2.0 / (q_hat * values.size**2)
