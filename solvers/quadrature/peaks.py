"""Where exp(log P(h)) N(h; mean, variance) lives: its highest peaks and their widths, in doubles.

What is found steers nodes only; a quadrature on them estimates its error all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from solvers.backends.base import Array
from solvers.quadrature.clustered import Clustering, as_numbers, cluster

PEAKS = 2
"""How many peaks are followed."""
REACH, GRID = 9.0, 25
"""Standard deviations looked at on either side, and points there."""
STEPS = 4
LOW = 60.0
"""How far below the highest a second peak may be, in logarithms, to count."""

CORE = 2.0
"""Within how many widths of a peak the nodes are nearly equidistant: a Gaussian asks for no more."""

STEEPEST = 4.0
PROBES = (10.0, 20.0, 60.0)
"""Widths from a peak at which a line may end."""

LogWeight = Callable[[Array], tuple[Array, Array, Array]]
"""h of shape (points, any) -> log P, its first and second derivative."""


class Peaks(NamedTuple):
    """Peaks of shape (points, 1 to PEAKS), nan where there is none: place; of log P there the derivative and
    minus the second one, not below 0; and by which factor the peak is narrower than that says.
    """

    place: Array
    slope: Array
    sharpness: Array
    narrower: Array


def find_peaks(log_weight: LogWeight, mean: Array, variance: Array) -> Peaks:
    """The highest local maxima of log P - (h - mean)^2/(2 variance) on a grid, improved by Newton steps."""
    mean, variance = mean[:, None], variance[:, None]
    unit = np.linspace(-REACH, REACH, GRID)
    grid = mean + np.sqrt(variance) * unit
    height = _clean(log_weight(grid)[0]) - unit**2 / 2
    edge = np.full((height.shape[0], 1), -np.inf)
    left, right = np.hstack([edge, height[:, :-1]]), np.hstack([height[:, 1:], edge])
    ranked = np.where((height >= left) & (height > right), height, -np.inf)
    order = np.argsort(-ranked, axis=1)[:, :PEAKS]
    found = np.take_along_axis(ranked, order, axis=1)
    place = np.take_along_axis(grid, order, axis=1)
    place, _ = improved(log_weight, place, mean, variance, STEPS, np.sqrt(variance) * (unit[1] - unit[0]))
    _, slope, curvature = log_weight(place)
    place[~(found > found[:, :1] - LOW)] = np.nan
    lost = ~np.isfinite(place[:, 0])
    place[lost, 0] = mean[lost, 0]
    sharpness = np.maximum(np.nan_to_num(-curvature), 0.0)
    width = 1 / np.sqrt(1 / variance + sharpness)
    factor = narrowed(log_weight, place, width, mean, variance) / width
    some = np.flatnonzero(np.isfinite(place).any(axis=0)).max() + 1
    return Peaks(*(a[:, :some] for a in (place, np.nan_to_num(slope), sharpness, factor)))


def improved(
    log_weight: LogWeight, place: Array, mean: Array, variance: Array, steps: int, longest: Any
) -> tuple[Array, Array]:
    """Newton steps towards a maximum, none longer than ``longest``, and its width before the last step."""
    down = 1 / variance
    for _ in range(steps):
        _, slope, curvature = log_weight(place)
        down = 1 / variance + np.maximum(np.nan_to_num(-curvature), 0.0)
        step = (slope - (place - mean) / variance) / down
        place = place + np.clip(np.where(np.isfinite(step), step, 0.0), -longest, longest)
    return place, 1 / np.sqrt(down)


def narrowed(log_weight: LogWeight, place: Array, width: Array, mean: Array, variance: Array) -> Array:
    """Widths of peaks that fall faster than a Gaussian of their curvature: by the fall two widths away, at
    most STEEPEST times less.
    """

    def height(at: Array) -> Array:
        return log_weight(at)[0] - (at - mean) ** 2 / (2 * variance)

    top = height(place)
    fall = np.fmax(top - height(place - 2 * width), top - height(place + 2 * width))
    fall = np.where(np.isfinite(fall), np.clip(fall, 2.0, 2.0 * STEEPEST**2), 2.0)
    return width * np.sqrt(2.0 / fall)


def trimmed(
    log_weight: LogWeight,
    place: Array,
    width: Array,
    mean: Array,
    variance: Array,
    ends: tuple[Array, Array],
    negligible: float,
) -> tuple[Array, Array]:
    """The ends of a line, shape (points,), nearer where all beyond has fallen by ``negligible`` in logarithm,
    as seen at a few places; with one peak only.
    """
    where, size = place[:, :1], width[:, :1]

    def height(at: Array) -> Array:
        return log_weight(at)[0] - (at - mean) ** 2 / (2 * variance)

    top = height(where)
    result = []
    for end, sign in zip(ends, (-1, 1), strict=True):
        far = sign * (end[:, None] - where)
        probes = np.minimum(np.hstack([size * np.array(PROBES), far]), far)
        gone = ~(height(where + sign * probes) > top - negligible)
        beyond = np.logical_and.accumulate(gone[:, ::-1], axis=1)[:, ::-1]  # gone here and farther
        first = np.where(beyond.any(axis=1), beyond.argmax(axis=1), probes.shape[1] - 1)
        result.append(where[:, 0] + sign * np.take_along_axis(probes, first[:, None], axis=1)[:, 0])
    return result[0], result[1]


def peaked_maps(
    backend: Any,
    place: Array,
    width: Array,
    switches: tuple[Array, Array],
    ends: tuple[Array, Array],
) -> Clustering:
    """Maps of the line between the ends for a peak like a Gaussian of that width (doubles of shape (points,))
    and other switches (centres and widths, shape (switches, points)): a trapezoid in u, x = place + CORE
    width sinh u.
    """
    base = (as_numbers(backend, place), as_numbers(backend, CORE * width))
    centres, widths = (as_numbers(backend, rows) for rows in switches)
    low, high = (as_numbers(backend, end) for end in ends)
    return cluster(backend, base, (centres, widths), (low, high))


def _clean(values: Array) -> Array:
    return np.where(np.isfinite(values), values, -np.inf)
