"""Instances: signals of bilinear sequence regression (arXiv 2410.18858), sample sizes, outputs, starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from solvers.errors import InputError
from solvers.simulate.sensing import FloatArray, Sensing

OutputSampler: TypeAlias = Callable[[FloatArray, np.random.Generator], FloatArray]
"""`sample_output(h, rng) -> y`: draws y_mu ~ P_out(. | h_mu), shapes (n,) -> (n,)."""


def bilinear_instance(d: int, L: int, r: int, rng: np.random.Generator) -> FloatArray:
    """A target S = U V^T / sqrt(r), entries of unit variance.

    Args:
        d: token dimension.
        L: number of tokens.
        r: width of the factors; rho = r/d.
        rng: where U (d x r) and V (L x r), iid N(0, 1), come from.

    Returns:
        S of shape (d, L).

    Raises:
        InputError: a size below 1.
    """
    if min(d, L, r) < 1:
        raise InputError(f"an instance needs d, L, r >= 1, got d = {d}, L = {L}, r = {r}")
    left = rng.standard_normal((d, r))
    right = rng.standard_normal((L, r))
    return left @ right.T / np.sqrt(r)


def symmetric_instance(d: int, r: int, rng: np.random.Generator) -> FloatArray:
    """A target S = W W^T / r of a quadratic network (arXiv 2408.03733), E Tr(S)/d = 1.

    Args:
        d: dimension.
        r: width of W; kappa = r/d.
        rng: where W (d x r), iid N(0, 1), comes from.

    Returns:
        S of shape (d, d).

    Raises:
        InputError: a size below 1.
    """
    if min(d, r) < 1:
        raise InputError(f"an instance needs d, r >= 1, got d = {d}, r = {r}")
    weights = rng.standard_normal((d, r))
    return weights @ weights.T / r


def sample_count(alpha: float, shape: tuple[int, int]) -> int:
    """The number of samples n nearest to alpha d L.

    Raises:
        InputError: alpha so small that no sample is left.
    """
    samples = round(alpha * shape[0] * shape[1])
    if samples < 1:
        raise InputError(f"alpha = {alpha} leaves no sample at d, L = {shape[0]}, {shape[1]}")
    return samples


def draw_outputs(
    sensing: Sensing, signal: FloatArray, sample_output: OutputSampler, rng: np.random.Generator
) -> FloatArray:
    """The labels y ~ P_out(. | h) of a signal S of shape (d, L), with h = F S; shape (n,)."""
    return sample_output(sensing.forward(signal), rng)


def informed_start(
    signal: FloatArray,
    overlap: float,
    rng: np.random.Generator,
    *,
    prior_mean: float | FloatArray = 0.0,
    prior_variance: float = 1.0,
    symmetric: bool = False,
) -> tuple[FloatArray, float]:
    """A start that looks like a posterior mean: S_0 = m + q (S - m) + sqrt(v q (1-q)) Z.

    For a signal with entries of mean m = 0 and variance v = 1, <S_0, S_0> = <S_0, S> = q and <(S - S_0)^2> =
    1 - q per entry, which is what message passing assumes of its start (the Nishimori identity). Even
    channels, for which the estimate 0 is a fixed point, need one.

    Args:
        signal: S of shape (d, L).
        overlap: q in [0, 1], of the part of the signal beyond its mean, relative to its variance.
        rng: where Z comes from.
        prior_mean: m, a number or one for each entry.
        prior_variance: v.
        symmetric: whether S is a symmetric matrix, and Z to be one as well.

    Returns:
        the start, of shape (d, L), and its variance v (1 - q).

    Raises:
        InputError: an overlap outside [0, 1].
    """
    if not 0.0 <= overlap <= 1.0:
        raise InputError(f"an overlap lies in [0, 1], got {overlap}")
    noise = rng.standard_normal(signal.shape)
    if symmetric:
        noise = (noise + noise.T) / np.sqrt(2.0)
    spread = np.sqrt(prior_variance * overlap * (1.0 - overlap))
    start = prior_mean + overlap * (signal - prior_mean) + spread * noise
    return start, prior_variance * (1.0 - overlap)
