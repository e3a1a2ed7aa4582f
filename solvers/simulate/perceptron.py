"""The solutions of one sampled perceptron: all of those with entries +-1, or a walk on those of a sphere.

Patterns are the rows of F, the fields of weights J are h = F J, and J is a solution where every field lies
between ``low`` and ``high``.

The walk is a billiard: great circles in random directions, reflected where a field reaches its bound.  It
leaves the uniform law on the solutions invariant (P. Rujan, Neural Comput. 9 (1997) 99).
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from solvers.errors import InputError
from solvers.simulate.spin_systems import FloatArray

LARGEST_SIZE = 24
"""2^24 weights, in pieces of at most CELLS."""
CELLS = 1 << 20
CLEARANCE = 1e-6
"""By how much the start of a walk is inside its constraints."""
ATTEMPTS = 20
MOST_REFLECTIONS = 100_000


class Solutions(NamedTuple):
    """Log of the number of solutions (minus infinity for none), and the mean overlap J.J'/N of two."""

    log_number: float
    overlap: float


def all_solutions(patterns: FloatArray, low: float, high: float) -> Solutions:
    """Count over all weights +-1.

    Raises
    ------
    InputError
        More than 24 weights, or fewer than 2.
    """
    size = patterns.shape[1]
    if not 2 <= size <= LARGEST_SIZE:
        raise InputError(f"all weights +-1 are enumerated for 2 to {LARGEST_SIZE} of them, got {size}")
    first, second = _signs(size // 2), _signs(size - size // 2)
    left, right = patterns[:, : size // 2] @ first.T, patterns[:, size // 2 :] @ second.T
    rows, columns = np.zeros(len(first)), np.zeros(len(second))
    piece = max(1, CELLS // len(second))
    for start in range(0, len(first), piece):
        allowed = np.ones((min(piece, len(first) - start), len(second)), dtype=bool)
        for a, b in zip(left[:, start : start + piece], right, strict=True):
            fields = a[:, None] + b
            if low > -np.inf:
                allowed &= fields >= low
            if high < np.inf:
                allowed &= fields <= high
        rows[start : start + piece] = allowed.sum(axis=1)
        columns += allowed.sum(axis=0)
    number = rows.sum()
    if number == 0:
        return Solutions(-np.inf, np.nan)
    means = np.concatenate([rows @ first, columns @ second]) / number
    return Solutions(float(np.log(number)), float(means @ means / size))


def _signs(count: int) -> FloatArray:
    """All rows of +-1."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=count)))


def one_solution(
    patterns: FloatArray, low: float, high: float, rng: np.random.Generator
) -> FloatArray | None:
    """Weights on the sphere |J|^2 = N whose fields are inside their bounds; None where the descent of the
    squared violations finds none from several random starts.
    """
    size = patterns.shape[1]
    inner = low + CLEARANCE, high - CLEARANCE

    def violation(weights: FloatArray) -> tuple[float, FloatArray]:
        norm = np.sqrt(weights @ weights / size)
        fields = patterns @ weights / norm
        outside = np.minimum(fields - inner[0], 0) + np.maximum(fields - inner[1], 0)
        pull = patterns.T @ outside / norm
        return float(outside @ outside) / 2, pull - weights * (weights @ pull) / (weights @ weights)

    for _ in range(ATTEMPTS):
        start = rng.standard_normal(size)
        options: Any = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0.0, "gtol": 1e-14}
        found = minimize(violation, start, jac=True, method="L-BFGS-B", options=options).x
        weights = found * np.sqrt(size / (found @ found))
        fields = patterns @ weights
        if np.all((fields >= low) & (fields <= high)):
            return weights
    return None


def billiard(
    patterns: FloatArray, low: float, high: float, starts: FloatArray, sweeps: int, rng: np.random.Generator
) -> FloatArray:
    """The mean overlap of all pairs of walkers after each sweep, shape (sweeps,).

    ``starts`` are solutions, one a row; the walkers do not see each other.  A sweep draws new directions and
    follows great circles, with specular reflections, over an arc of pi/2.
    """
    weights, (walkers, size) = starts.copy(), starts.shape
    gram = patterns @ patterns.T
    overlaps = np.empty(sweeps)
    for sweep in range(sweeps):
        weights *= np.sqrt(size / np.sum(weights**2, axis=1, keepdims=True))  # rounding
        velocity = rng.standard_normal(weights.shape)
        velocity -= weights * (np.sum(velocity * weights, axis=1, keepdims=True) / size)
        velocity *= np.sqrt(size / np.sum(velocity**2, axis=1, keepdims=True))
        _sweep(patterns, gram, (low, high), weights, velocity)
        total = weights.sum(axis=0)
        overlaps[sweep] = (total @ total / size - walkers) / (walkers * (walkers - 1))
    return overlaps


def _sweep(
    patterns: FloatArray,
    gram: FloatArray,
    bounds: tuple[float, float],
    weights: FloatArray,
    velocity: FloatArray,
) -> None:
    """Move weights and velocities, in place, by an arc of pi/2."""
    size = weights.shape[1]
    fields, slopes = weights @ patterns.T, velocity @ patterns.T
    left = np.full(len(weights), np.pi / 2)
    going = np.arange(len(weights))
    for _ in range(MOST_REFLECTIONS):
        h, dh = fields[going], slopes[going]
        time, wall = _first_exit(h, dh, bounds)
        hits = time < left[going]
        angle = np.where(hits, time, left[going])
        left[going] -= angle
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        j, v = weights[going], velocity[going]
        j, v = j * cos + v * sin, v * cos - j * sin
        h, dh = h * cos + dh * sin, dh * cos - h * sin
        # at a wall with normal n = F_mu, less its part along J: v -> v - 2 n (n.v)/(n.n)
        k, mu = np.flatnonzero(hits), wall[hits]
        at = h[k, mu]
        twice = 2 * dh[k, mu] / (gram[mu, mu] - at**2 / size)
        v[k] -= twice[:, None] * (patterns[mu] - (at / size)[:, None] * j[k])
        dh[k] -= twice[:, None] * (gram[mu] - (at / size)[:, None] * h[k])
        weights[going], velocity[going], fields[going], slopes[going] = j, v, h, dh
        going = going[hits]
        if going.size == 0:
            return


def _first_exit(
    fields: FloatArray, slopes: FloatArray, bounds: tuple[float, float]
) -> tuple[FloatArray, np.ndarray]:
    """When the first of fields cos + slopes sin leaves its bounds, and which; infinite where none does."""
    radius, phase = np.hypot(fields, slopes), np.arctan2(slopes, fields)
    times = np.full(fields.shape, np.inf)
    for bound, sign in zip(bounds, (1, -1), strict=True):
        if np.isfinite(bound):
            with np.errstate(invalid="ignore"):
                half = np.arccos(bound / radius)  # nan where the bound is never reached
            # a field leaves downwards at phase + half, upwards at phase - half
            times = np.fmin(times, np.mod(phase + sign * half, 2 * np.pi))
    wall = np.argmin(times, axis=1)
    return times[np.arange(len(times)), wall], wall
