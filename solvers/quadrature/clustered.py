"""Trapezoidal rules on a line, with nodes clustered at given points at given scales.

A function that switches at c within a width w (a step of a distribution function, say) is analytic, but its
singularities lie at a distance of order w.  The change of variable t = c + w sinh(s) moves them to a distance
of order 1, at the price of log(1/w) more nodes.  Several switches need several changes of variable: after the
base map t = c0 + w0 sinh(u), each further switch, at u_i and of width omega_i in the variable u so far, is
resolved by

    u = u_i + asinh(omega_i sinh(s)),

which is omega_i s near the switch and has slope 1 away from it, so what was resolved stays resolved.
omega_i = 1 is the identity.  A kink or a jump is a switch of width ``floor``, below the rounding error:
the sum then sees two analytic functions, each down to the floor.  (Iterated sinh transformations: D. Elliott
and P. R. Johnston, J. Comput. Appl. Math. 203 (2007) 103; here with a slope of 1 far away.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from solvers.backends.base import Array

RESOLUTION = 1.5
"""Distance of the singularities in widths: tanh has pi/2, expit pi, ndtr grows beyond 1.5."""


@dataclass(frozen=True)
class Clustering:
    """The maps of a batch: ``centres`` and ``widths`` in the variable of the map before, shape (batch,);
    ``low`` and ``high`` are the ends of the line in the last variable (float64).
    """

    base_centre: Array
    base_width: Array
    centres: tuple[Array, ...]
    widths: tuple[Array, ...]
    low: Array
    high: Array

    def __getitem__(self, index: Any) -> Clustering:
        """The maps of some elements of the batch."""
        return Clustering(
            self.base_centre[index],
            self.base_width[index],
            tuple(c[index] for c in self.centres),
            tuple(w[index] for w in self.widths),
            self.low[index],
            self.high[index],
        )

    def panels(self, level: int) -> Array:
        """How many steps of at most 2^-level each element needs: a multiple of 4."""
        return 4 * np.ceil((self.high - self.low) * 2.0**level / 4).astype(int)

    def line(self, backend: Any, level: int) -> tuple[Array, Array]:
        """Nodes and weights (h dt/ds), shape (batch, panels + 1), for the largest count of the batch.

        The ends are doubles, the steps between them exact: every second node is the rule of the step before.
        """
        count = int(self.panels(level).max())
        low = as_numbers(backend, self.low)[:, None]
        step = as_numbers(backend, self.high - self.low)[:, None] * backend.rational(1, count)
        u = low + step * _integers(backend, count)
        weights = step
        for centre, width in zip(reversed(self.centres), reversed(self.widths), strict=True):
            sinh, cosh = _hyperbolic(backend, u)
            spread = width[:, None] * sinh
            weights = weights * width[:, None] * cosh / backend.sqrt(1 + spread * spread)
            u = centre[:, None] + backend.asinh(spread)
        sinh, cosh = _hyperbolic(backend, u)
        base = self.base_width[:, None]
        return self.base_centre[:, None] + base * sinh, weights * base * cosh


def _hyperbolic(backend: Any, u: Array) -> tuple[Array, Array]:
    """Sinh and cosh; of doubles by one exponential, where all is quick but these.  A sinh near 0 has its
    digits relative to 1, the width of what is resolved there.
    """
    if backend.name != "float64":
        return backend.sinh(u), backend.cosh(u)
    e = np.exp(u)
    inverse = 1 / e
    return (e - inverse) / 2, (e + inverse) / 2


@lru_cache(maxsize=64)
def _integers(backend: Any, last: int) -> Array:
    """0, 1, ... ``last`` as the backend's numbers."""
    if backend.name == "float64":
        return np.arange(last + 1, dtype=float)
    return np.array([backend.rational(k, 1) for k in range(last + 1)])


def as_numbers(backend: Any, doubles: Array) -> Array:
    """A float64 array as the backend's numbers, exactly."""
    if backend.name == "float64":
        return doubles
    return np.frompyfunc(lambda x: backend.number(float(x)), 1, 1)(doubles)


def cluster(
    backend: Any, base: tuple[Array, Array], switches: tuple[Array, Array], ends: tuple[Array, Array]
) -> Clustering:
    """The maps for a base (centre, width) and the ends of the line, of shape (batch,) in the backend's
    numbers, and switches (centres, widths), of shape (switches, batch).  Those without a finite centre or
    width, and those wider than the resolution so far, change nothing; a switch outside the line counts with
    its distance from it.
    """
    centre0, width0 = base
    places, sizes = _on_the_line(backend, switches, centre0, ends)
    centres: list[Array] = []
    widths: list[Array] = []
    t = (np.array([*places, *ends]) - centre0) / width0
    u = backend.asinh(t)  # of the switches and of the ends, in the variable of the maps so far
    if len(sizes):
        scale, slope = backend.to_float(width0), width0 * backend.sqrt(1 + t * t)
        floor = 10.0 ** -(backend.digits + 1)
        # at 0 even a width below the rounding counts
        sizes = np.maximum(sizes, np.where(sizes == 0, floor, floor * floor) * scale)
    for size in sizes:
        omega = size / backend.to_float(slope[0])
        active = omega < 0.9
        c, u, slope = u[0], u[1:], slope[1:]
        if active.any():
            c, w = (
                np.where(active, c, backend.rational(0, 1)),
                as_numbers(backend, np.where(active, omega, 1.0)),
            )
            centres.append(c)
            widths.append(w)
            z = backend.sinh(u - c)
            square, resolved = z * z, w * w
            slope = slope * backend.sqrt((resolved + square) / (1 + square))
            u = backend.asinh(z / w)
    low, high = np.array(backend.to_float(u), dtype=float)
    return Clustering(centre0, width0, tuple(centres), tuple(widths), low, high)


def _on_the_line(
    backend: Any, switches: tuple[Array, Array], nowhere: Array, ends: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Centres between the ends and widths (float64), of shape (switches, batch); where there is no switch the
    width is infinite.
    """
    centres, widths = switches
    if not len(centres):
        return centres, widths
    where, size = backend.to_float(centres), backend.to_float(widths)
    low, high = (backend.to_float(end) for end in ends)
    beyond = np.maximum(low - where, where - high)
    usable = np.isfinite(where) & np.isfinite(size) & (beyond < high - low)
    inside = np.where(where < low, ends[0], np.where(where > high, ends[1], centres))
    distance = np.hypot(RESOLUTION * size, np.maximum(beyond, 0.0))
    return np.where(usable, inside, nowhere), np.where(usable, distance, np.inf)
