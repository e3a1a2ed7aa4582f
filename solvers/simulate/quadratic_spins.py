"""Real spins with quadratic energies: exact Gibbs averages of one instance, by linear algebra.

Spins s ~ N(0, 1) a priori, weight exp(-H/T), -H = s.K s/2 + b.s: a Gaussian law of inverse covariance A = 1 -
K/T and mean A^-1 b/T, where A is positive definite.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class GibbsMoments(NamedTuple):
    """Averages per spin: magnetisation, overlap of two replicas, squared norm, energy."""

    m: float
    q: float
    r: float
    energy: float


def draw_quadratic(size: int, variance: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    """K = J + strength/N, J symmetric with entries N(0, variance/N), twice that variance on the diagonal.

    The covariance of s.J s/2 is N (variance/2) (s.s'/N)^2, exactly.
    """
    half = rng.normal(scale=np.sqrt(variance / (2 * size)), size=(size, size))
    return half + half.T + strength / size


def gibbs_moments(couplings: np.ndarray, forces: np.ndarray, temperature: float) -> GibbsMoments | None:
    """None where the law cannot be normalised: T is at most the largest eigenvalue of the couplings."""
    size = len(forces)
    values, vectors = np.linalg.eigh(couplings)
    if values[-1] >= temperature:
        return None
    response = 1 / (1 - values / temperature)
    projected = response * (vectors.T @ forces) / temperature
    mean = vectors @ projected
    overlap = float(projected @ projected) / size
    quadratic = float(values @ (response + projected**2)) / 2
    return GibbsMoments(
        float(mean.mean()),
        overlap,
        overlap + float(response.mean()),
        -(quadratic + float(forces @ mean)) / size,
    )
