"""E[Z^n] at an integer n and a finite size, as a sum over all signals: what Laplace must reproduce.

For a signal of N entries +-1 the overlaps of n + 1 replicas depend on how many sites show each pattern of
signs, so that the average over the signals is a finite sum of multinomial weights; no saddle point, no
conjugate.  The average over the inputs and outputs is that of Gaussian fields of covariance Q_ab = S_a.S_b/N,
for the channel y = h + noise a closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

Weight = Callable[[np.ndarray], np.ndarray]


def log_moment(replicas: int, weight: Weight, rate: float, size: int) -> float:
    """(1/N) log E[w(Q)^(rate N)] over ``replicas`` independent uniform signals of N = ``size`` signs.

    ``weight`` takes overlap matrices of shape (..., replicas, replicas).
    """
    # the first replica can be all +1: only relative signs count
    patterns = np.array(list(itertools.product((1, -1), repeat=replicas - 1)))
    patterns = np.concatenate([np.ones((len(patterns), 1), dtype=int), patterns], axis=1)
    counts = _compositions(size, len(patterns))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
    entropy = log_factorial[size] - log_factorial[counts].sum(axis=1) - size * np.log(len(patterns))
    overlaps = np.einsum("kp,pa,pb->kab", counts, patterns, patterns) / size
    exponent = entropy + rate * size * np.log(weight(overlaps))
    top = exponent.max()
    return float(top + np.log(np.exp(exponent - top).sum())) / size


def thermodynamic_log_moment(replicas: int, weight: Weight, rate: float, size: int) -> float:
    """Its limit at N -> infinity, from N = size, 2 size and 4 size: the corrections are powers of 1/N."""
    return thermodynamic_limit(lambda spins: log_moment(replicas, weight, rate, spins), size)


def thermodynamic_limit(quantity: Callable[[int], float], size: int) -> float:
    """The limit N -> infinity of a quantity with corrections in powers of 1/N, from three sizes."""
    first, second, third = (quantity(k * size) for k in (1, 2, 4))
    return (first - 6 * second + 8 * third) / 3


def spin_log_moment(replicas: int, energy: Weight, field: float, size: int) -> float:
    """(1/N) log sum over ``replicas`` configurations of N = ``size`` signs of exp(N energy(Q) + field sum s).

    ``energy`` takes overlap matrices of shape (..., replicas, replicas); the sum counts configurations.
    """
    patterns = np.array(list(itertools.product((1, -1), repeat=replicas)))
    counts = _compositions(size, len(patterns))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
    entropy = log_factorial[size] - log_factorial[counts].sum(axis=1)
    overlaps = np.einsum("kp,pa,pb->kab", counts, patterns, patterns) / size
    exponent = entropy + size * energy(overlaps) + field * counts @ patterns.sum(axis=1)
    top = exponent.max()
    return float(top + np.log(np.exp(exponent - top).sum())) / size


def noisy_fields(variance: float) -> Weight:
    r"""w(Q) = \int dy E_{h ~ N(0, Q)} prod_a N(y; h_a, variance), for y = h + noise: Gaussian in y."""

    def weight(overlaps: np.ndarray) -> np.ndarray:
        size = overlaps.shape[-1]
        seen = overlaps + variance * np.eye(size)
        precision = np.linalg.inv(seen).sum(axis=(-1, -2))
        return (2 * np.pi) ** ((1 - size) / 2) / np.sqrt(np.linalg.det(seen) * precision)

    return weight


def _compositions(total: int, parts: int) -> np.ndarray:
    """All ways to write ``total`` as an ordered sum of ``parts`` non-negative integers, one a row."""
    rows = np.arange(total + 1)[:, None]  # prefixes, with a sum of at most total
    for _ in range(parts - 2):
        left = total - rows.sum(axis=1)
        index = np.repeat(np.arange(len(rows)), left + 1)
        start = np.repeat(np.cumsum(left + 1) - (left + 1), left + 1)
        rows = np.concatenate([rows[index], (np.arange(len(index)) - start)[:, None]], axis=1)
    return np.concatenate([rows, (total - rows.sum(axis=1))[:, None]], axis=1)
