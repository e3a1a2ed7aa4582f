"""Where the outputs of a channel lie: the peaks of P(y|h) at a few fields, their width, reach, in doubles.

Found by looking: a geometric grid of y, then smaller and smaller ones around the best point.  What is found
steers nodes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from solvers.backends.base import Array

FIELDS = np.array([0, -0.5, 0.5, -1, 1, -1.7, 1.7, -2.5, 2.5, -4, 4, -6, 6, -9, 9])
"""Fields looked at, in standard deviations; 0 first."""
SIZES = np.geomspace(1e-9, 1e21, 301)
ROUNDS = 14
SAME = 1e-3
"""In widths, how near two places are one."""
WIDE, NOTHING = 0.5, 40.0
"""By how much log P has sunk at the width and at the reach."""

LogDensity = Callable[[Array, Array], Array]
"""(y, h), each of shape (rows, any) -> log P(y|h)."""


class Profile(NamedTuple):
    """Of every row: centre and width of the outputs at field 0, places and widths elsewhere, of shape
    (rows, any), and between which ends P(y|h) is not negligible.
    """

    centre: Array
    width: Array
    places: Array
    widths: Array
    low: Array
    high: Array


def output_profile(
    log_density: LogDensity, mean: Array, variance: Array, ends: tuple[float, float]
) -> Profile:
    """The profile of a law of y given h ~ N(mean, variance), arrays of shape (rows,); y between the ends."""
    low, high = ends
    fields = (mean[:, None] + np.sqrt(variance)[:, None] * FIELDS)[:, :, None]
    rows = mean.size

    def log_p(y: Any) -> Any:
        y = np.broadcast_to(y, (rows, FIELDS.size, y.shape[-1]))
        flat = y.reshape(rows, -1)
        h = np.broadcast_to(fields, y.shape).reshape(rows, -1)
        with np.errstate(all="ignore"):
            value = log_density(np.clip(flat, low, high), h)
            value = np.where((flat < low) | (flat > high) | ~np.isfinite(value), -np.inf, value)
        return value.reshape(y.shape)

    origin = low if np.isfinite(low) else high if np.isfinite(high) else 0.0
    grid = np.unique(np.concatenate([origin - SIZES, [origin], origin + SIZES]))
    best = log_p(grid[None, None, :]).argmax(axis=2)
    place = grid[best]
    step = np.maximum(
        grid[np.minimum(best + 1, grid.size - 1)] - place, place - grid[np.maximum(best - 1, 0)]
    )
    for _ in range(ROUNDS):
        near = place[:, :, None] + step[:, :, None] * np.linspace(-1, 1, 9)
        place = np.take_along_axis(near, log_p(near).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
        step = step / 3
    top = log_p(place[:, :, None])
    left = top - log_p(place[:, :, None] - SIZES)
    right = top - log_p(place[:, :, None] + SIZES)
    width = np.minimum(_first(left, WIDE), _first(right, WIDE))
    # of a power law what is beyond counts, not the density there
    beyond = np.log(np.maximum(SIZES / width[:, :, None], 1.0))
    lowest = (place - _first(left - beyond, NOTHING)).min(axis=1)
    highest = (place + _first(right - beyond, NOTHING)).max(axis=1)
    gaps = np.abs(place[:, :, None] - place[:, None, :])
    gaps = np.where(gaps < SAME * width[:, :, None], np.inf, gaps)  # itself, or fields of the same outputs
    nearest = gaps.min(axis=2)  # infinite where the field is a scale
    widths = np.where(np.isfinite(nearest), np.maximum(width, nearest), width)
    return Profile(
        place[:, 0], width[:, 0], place, widths, np.maximum(lowest, low), np.minimum(highest, high)
    )


def _first(drops: Array, size: float) -> Array:
    """The first distance at which log P has sunk that far."""
    far = drops >= size
    return SIZES[np.where(far.any(axis=2), far.argmax(axis=2), SIZES.size - 1)]
