"""What a record of a simulation says, and whether it may be believed.

A record has shape (times, samples, copies, K): K temperatures, copies are real replicas or pairs of them.
Means are over the second half of the times. The error bar is over the disorder samples; a single sample
has the error of its thermal average instead, from means over bins of consecutive times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.errors import InputError
from solvers.simulate.spin_systems import FloatArray

BINS = 16
"""Bins of consecutive times in a half, for the thermal error of a mean."""
FEW_SAMPLES = 8
"""Below this many samples the spread over samples is no judge of equilibration; thermal errors are."""
LARGEST_Z = 4.5
"""Discrepancies over this many error bars are not chance, also as the largest of a hundred."""
LARGEST_DEVIATE = 30.0
"""Larger discrepancies are shown as this one."""


@dataclass(frozen=True)
class Curve:
    """An observable at each temperature with its standard error."""

    mean: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class OverlapDistribution:
    """P(q) as a density on bins of q, with its error over the samples (0 for a single sample)."""

    q: FloatArray
    density: FloatArray
    error: FloatArray
    width: float


@dataclass(frozen=True)
class Equilibration:
    """Discrepancies in error bars at each temperature; in equilibrium each is a normal deviate.

    Attributes:
        energy: the second quarter of the times against the second half.
        overlap: the same for q^2; empty with a single replica.
        balance: energy against overlaps for Gaussian couplings (`gaussian_balance`); empty if not Gaussian,
            with a single replica, or with fewer than FEW_SAMPLES samples.
    """

    energy: FloatArray
    overlap: FloatArray
    balance: FloatArray

    @property
    def worst(self) -> float:
        """The largest of all in absolute value."""
        return float(np.max(np.abs(np.concatenate([self.energy, self.overlap, self.balance]))))

    @property
    def passed(self) -> bool:
        """Whether none of them is significant."""
        return self.worst <= LARGEST_Z

    def __str__(self) -> str:
        """One sentence."""
        if self.passed:
            return f"no sign of missing equilibrium: the largest discrepancy is {self.worst:.1f} error bars"
        return f"not equilibrated: a discrepancy of {self.worst:.1f} error bars; run more sweeps"


def second_half(record: FloatArray) -> FloatArray:
    """The times that count."""
    return record[len(record) // 2 :]


def bin_means(record: FloatArray, bins: int = BINS) -> FloatArray:
    """Means over bins of consecutive times (the first times that do not fill a bin are left out).

    Raises:
        InputError: fewer times than bins.
    """
    length = len(record) // bins
    if length < 1:
        raise InputError(f"an error bar needs at least {bins} measurements in each part, got {len(record)}")
    kept = record[len(record) - length * bins :]
    return kept.reshape(bins, length, *record.shape[1:]).mean(axis=1)


def curve(record: FloatArray) -> Curve:
    """Mean over times, samples and copies at each temperature.

    Raises:
        InputError: one sample only and too few times for an error bar.
    """
    half = second_half(record)
    values = half.mean(axis=(0, 2)) if half.shape[1] > 1 else bin_means(half.mean(axis=2)[:, 0])
    return Curve(values.mean(axis=0), _standard_error(values))


def jackknife(moments: NDArray[np.float64], function) -> tuple[float, float]:  # noqa: ANN001
    """A function of means over samples with its error: moments of shape (samples, number).

    Raises:
        InputError: fewer than two samples.
    """
    samples = len(moments)
    if samples < 2:
        raise InputError(f"a jackknife error needs at least two samples, got {samples}")
    left_out = (moments.sum(axis=0) - moments) / (samples - 1)
    values = np.array([function(*row) for row in left_out])
    error = np.sqrt((samples - 1) * np.mean((values - values.mean()) ** 2))
    return float(function(*moments.mean(axis=0))), float(error)


def overlap_distribution(overlap: FloatArray, size: int, bins: int | None = None) -> OverlapDistribution:
    """P(q) of one temperature, from overlaps of shape (times, samples, pairs).

    Args:
        overlap: overlaps of N spins.
        size: N.
        bins: how many equal bins on [-1, 1]; every value an overlap can take has its own if None.

    Raises:
        InputError: fewer than one bin, or more than there are values.
    """
    if bins is not None and not 1 <= bins <= size + 1:
        raise InputError(f"bins of an overlap are from 1 to N + 1 = {size + 1}, got {bins}")
    # unit steps of q N / 2 are the N + 1 values; the outermost bins end half a step beyond +-1
    bins, edge = (size + 1, 1 + 1 / size) if bins is None else (bins, 1.0 + 1e-9)
    edges = np.linspace(-edge, edge, bins + 1)
    half = second_half(overlap)
    counts = np.array([np.histogram(half[:, d], edges)[0] for d in range(half.shape[1])], dtype=np.float64)
    width = edges[1] - edges[0]
    density = counts / (counts.sum(axis=1, keepdims=True) * width)
    error = _standard_error(density) if len(density) > 1 else np.zeros(bins)
    return OverlapDistribution((edges[1:] + edges[:-1]) / 2, density.mean(axis=0), error, float(width))


def drift(record: FloatArray) -> FloatArray:
    """The second quarter of the times against the second half, in error bars, at each temperature.

    Raises:
        InputError: too few times.
    """
    series = record.mean(axis=2)
    early, late = series[len(series) // 4 : len(series) // 2], second_half(series)
    if series.shape[1] >= FEW_SAMPLES:
        change = late.mean(axis=0) - early.mean(axis=0)
        return _in_errors(change.mean(axis=0), _standard_error(change), len(change) - 1)
    early, late = bin_means(early.mean(axis=1)), bin_means(late.mean(axis=1))
    error = np.hypot(_standard_error(early), _standard_error(late))
    return _in_errors(late.mean(axis=0) - early.mean(axis=0), error, 2 * BINS - 2)


def gaussian_balance(energy: FloatArray, covariance: FloatArray, beta: FloatArray, full: float) -> FloatArray:
    """Energy against overlaps for Gaussian couplings, in error bars over the samples.

    Gaussian integration by parts gives E<H_J>/N = -beta (xi_N(1) - E<xi_N(q)>) exactly, H_J the part with
    random couplings. Started at random, a run approaches the two sides from above and from below: H. G.
    Katzgraber, A. P. Young, Phys. Rev. B 63, 184422 (2001), there for short range.

    Args:
        energy: of the couplings alone, per spin; shape (times, samples, replicas, K).
        covariance: xi_N(q) of every pair of replicas, shape (times, samples, pairs, K).
        beta: inverse temperatures.
        full: xi_N(1).
    """
    left = second_half(energy).mean(axis=(0, 2)) + beta * (full - second_half(covariance).mean(axis=(0, 2)))
    return _in_errors(left.mean(axis=0), _standard_error(left), len(left) - 1)


def _standard_error(values: FloatArray) -> FloatArray:
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _in_errors(change: FloatArray, error: FloatArray, freedom: int) -> FloatArray:
    """The normal deviate with the probability of change / error, which follows Student's law.

    A change of rounding size is none, whatever its error: spins that are frozen have 0 / 0.
    """
    from scipy.special import log_ndtr, ndtri_exp
    from scipy.stats import t

    still = np.abs(change) < 1e-7
    ratio = np.where(still, 0.0, change / np.where(still, 1.0, np.maximum(error, 1e-300)))
    tail = np.maximum(t.logsf(np.abs(ratio), freedom), log_ndtr(-LARGEST_DEVIATE))
    return np.sign(ratio) * -ndtri_exp(tail)
