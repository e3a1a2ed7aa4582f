"""Approximate message passing for a spike of rank one in Gaussian noise, with any denoisers.

Source: T. Lesieur, F. Krzakala and L. Zdeborova, J. Stat. Mech. (2017) 073403 (low-RAMP, for Gaussian noise
of variance 1, with one precision for all coordinates). From an estimate e of one vector of the spike, with
posterior variances v and sums over its coordinates, the other vector is seen through

    A = (lambda/N) |e|^2
    B = sqrt(lambda/N) Y e - (lambda/N) (sum v) e'           (e': estimate of the other vector before)

and its coordinates have the posterior mean f_in(A, B) and variance df_in/dB. A symmetric spike x x^T is its
own other vector; an iteration on u v^T makes the new estimate of v, then that of u. At large size the mean
square error follows state evolution: q_hat = lambda q, V = MMSE(q_hat), and the same with each vector's
overlap in turn. There is no damping: the Onsager term is that of undamped iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome, AmpRun, Posterior
from solvers.simulate.sensing import FloatArray
from solvers.simulate.threads import blas_threads


def symmetric_spike(x: FloatArray, strength: float, rng: np.random.Generator) -> FloatArray:
    """Y = sqrt(strength/N) x x^T + W, W symmetric with N(0, 1) entries; the diagonal, not observed, is 0."""
    size = len(x)
    noise = np.triu(rng.standard_normal((size, size)), 1)
    noise += noise.T
    noise += np.sqrt(strength / size) * np.outer(x, x)
    np.fill_diagonal(noise, 0.0)
    return noise


def rectangular_spike(u: FloatArray, v: FloatArray, strength: float, rng: np.random.Generator) -> FloatArray:
    """Y = sqrt(strength/N) u v^T + W, W of iid N(0, 1) entries, N the number of coordinates of u."""
    noise = rng.standard_normal((len(u), len(v)))
    noise += np.sqrt(strength / len(u)) * np.outer(u, v)
    return noise


@dataclass(frozen=True)
class LowRankRun(AmpRun):
    """A run: ``estimate``, ``mse`` (per coordinate, up to the global sign if `symmetric`), ``variance`` and
    ``q_hat`` (the precision A) are those of the first vector, ``other`` is the estimate of the second.
    """

    other: FloatArray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Vector:
    """Estimate and summed posterior variance of one vector."""

    estimate: FloatArray
    variance: float


def low_rank_amp(
    Y: FloatArray,
    strength: float,
    posteriors: Sequence[Posterior],
    start: tuple[FloatArray, float],
    *,
    truth: FloatArray | None = None,
    symmetric: bool = False,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
    scale: float = 1.0,
    threads: int = 1,
) -> LowRankRun:
    """Run message passing from Y to the vectors of the spike.

    Args:
        Y: N x N and symmetric for one posterior, N x M for two.
        strength: lambda.
        posteriors: `posterior(A, B) -> (mean, variance)` of each coordinate, of the one vector or of u and v.
        start: estimate of the first vector, and its mean square error per coordinate. With priors of mean 0
            the estimate 0 is a fixed point.
        truth: the first vector, to record the mse.
        symmetric: measure the mse up to the global sign.
        max_iterations: at least 1.
        tolerance: converged when the root mean square move of the first estimate is below tolerance scale.
        scale: standard deviation of a coordinate.
        threads: how many threads BLAS may use.

    Raises:
        InputError: shapes that do not match, or options out of range.
    """
    _check(Y, strength, posteriors, start, max_iterations, tolerance)
    size = len(Y)
    first = _Vector(np.array(start[0], dtype=np.float64), size * start[1])
    old = np.zeros(size)
    second = None if len(posteriors) == 1 else _Vector(np.zeros(Y.shape[1]), 0.0)
    errors, variances, precisions, changes = [], [], [], []
    outcome = AmpOutcome.ITERATION_LIMIT
    with blas_threads(threads), np.errstate(all="ignore"):
        for _ in range(max_iterations):
            if second is None:
                new, precision = _seen(Y, strength, size, posteriors[0], first, old)
                other = None
            else:
                other, _ = _seen(Y.T, strength, size, posteriors[1], first, second.estimate)
                new, precision = _seen(Y, strength, size, posteriors[0], other, first.estimate)
            if not (np.isfinite(new.variance) and np.all(np.isfinite(new.estimate))):
                outcome = AmpOutcome.NOT_FINITE
                break
            change = float(np.sqrt(np.mean((new.estimate - first.estimate) ** 2)))
            old, first, second = first.estimate, new, other
            variances.append(first.variance / size)
            precisions.append(precision)
            changes.append(change)
            if truth is not None:
                errors.append(_error(first.estimate, truth, symmetric))
            if change < tolerance * scale:
                outcome = AmpOutcome.CONVERGED
                break
    return LowRankRun(
        estimate=first.estimate,
        mse=np.array(errors),
        variance=np.array(variances),
        q_hat=np.array(precisions),
        change=np.array(changes),
        outcome=outcome,
        other=None if second is None else second.estimate,
    )


def _seen(
    Y: FloatArray, strength: float, size: int, posterior: Posterior, known: _Vector, before: FloatArray
) -> tuple[_Vector, float]:
    """The posterior of one vector from the estimate of the other, and its precision A."""
    precision = strength / size * float(known.estimate @ known.estimate)
    seen = np.sqrt(strength / size) * (Y @ known.estimate)
    seen -= strength / size * known.variance * before
    mean, variance = posterior(precision, seen)
    return _Vector(np.asarray(mean), float(np.sum(variance))), precision


def _error(estimate: FloatArray, truth: FloatArray, symmetric: bool) -> float:
    error = float(np.mean((truth - estimate) ** 2))
    return min(error, float(np.mean((truth + estimate) ** 2))) if symmetric else error


def _check(
    Y: FloatArray,
    strength: float,
    posteriors: Sequence[Posterior],
    start: tuple[FloatArray, float],
    max_iterations: int,
    tolerance: float,
) -> None:
    if Y.ndim != 2 or len(posteriors) not in (1, 2) or (len(posteriors) == 1 and Y.shape[0] != Y.shape[1]):
        raise InputError(f"one posterior needs a square matrix, two any: {len(posteriors)} for {Y.shape}")
    if start[0].shape != Y.shape[:1]:
        raise InputError(f"start has shape {start[0].shape}, expected {Y.shape[:1]}")
    if not (np.all(np.isfinite(Y)) and np.all(np.isfinite(start[0])) and np.isfinite(start[1])):
        raise InputError("the matrix or the start holds values that are not finite")
    if not (strength >= 0.0 and np.isfinite(strength)):
        raise InputError(f"a signal-to-noise ratio is at least 0, got {strength}")
    if max_iterations < 1:
        raise InputError(f"max_iterations is at least 1, got {max_iterations}")
    if not tolerance > 0.0:
        raise InputError(f"tolerance is positive, got {tolerance}")
