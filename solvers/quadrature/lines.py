"""The lines on which averages and integrals over outputs run: their ends, their scale, their weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.quadrature.clustered import as_numbers, cluster
from solvers.quadrature.rules import ROUNDING, gaussian_reach


@dataclass(frozen=True)
class GaussianLine:
    """The line of a Gaussian: t in standard deviations from the mean; an even body needs t >= 0 only."""

    even: bool

    def maps(self, backend: Any, level: int, place: Any, switches: Any) -> Any:
        """Maps of a batch, and shift and scale of the variable: x = shift + scale t.

        ``place``: mean and variance; ``switches``: centre, width, centre, width, ..., rows of one batch.
        """
        mean, variance = place
        deviation = backend.sqrt(variance)
        reach = backend.number(gaussian_reach(backend))
        centres, widths = (switches[::2] - mean) / deviation, switches[1::2] / deviation
        below, above = _far_switches(backend, centres, widths, gaussian_reach(backend))
        zero = backend.rational(0, 1) * mean
        low = zero if self.even else np.where(below > 0, -as_numbers(backend, below), -reach)
        high = np.where(above > 0, as_numbers(backend, above), reach)
        maps = cluster(backend, (zero, zero + 1), (centres, widths), (low, high))
        return maps, mean, deviation

    def weighted(self, backend: Any, t: Any, weights: Any) -> Any:
        """Weights of the bodies from those of the line."""
        result = weights * backend.npdf(t)
        if self.even:
            result = 2 * result
            result[:, 0] = result[:, 0] / 2
        return result

    def tail(self, backend: Any, terms: Any) -> float:
        """What the ends of the line may have cut off."""
        return 0.0


FARTHEST = 37.0
"""Standard deviations beyond which the normal density leaves the doubles."""


def _far_switches(backend: Any, centres: Any, widths: Any, reach: float) -> tuple[Any, Any]:
    """How far the line must go on either side to hold switches beyond its reach; 0 where there are none.

    A body may live there alone: the average of sech^2 over N(a, a) comes from 0, sqrt(a) deviations away.
    """
    where, size = backend.to_float(centres), np.abs(backend.to_float(widths))
    distance = np.abs(where)
    edge = np.minimum(distance + 10 * size + 3, FARTHEST)
    far = np.where((distance < FARTHEST) & (edge > reach), edge, 0.0)  # nothing of nan
    return tuple(np.where(side, far, 0.0).max(axis=0, initial=0.0) for side in (where < 0, where > 0))


@dataclass(frozen=True)
class OutputLine:
    """The line, half-line or interval of an output.

    The body must decay at infinite ends, at a scale that its densities tell; the line then ends
    40 * 2^(level - 3) scales away, and the last terms bound what is cut off.
    """

    finite_low: bool
    finite_high: bool

    def maps(self, backend: Any, level: int, place: Any, switches: Any) -> Any:
        """Maps of a batch, and shift and scale of the variable: x = t.

        ``place``: both ends, then centre and scale of each decay; ``switches``: centre, width, ..., rows of
        one batch.
        """
        ends, scales = place[:2], place[2:]
        zero = backend.rational(0, 1) * ends[0]
        finite = (self.finite_low, self.finite_high)
        bounds = backend.to_float(ends)
        where = backend.to_float(np.concatenate([switches, scales]))
        near, far, widest = _extent(where[::2], where[1::2])
        if all(finite):
            near, far = bounds
        elif self.finite_low:
            near, far = np.maximum(near, bounds[0]), np.maximum(far, bounds[0])
        elif self.finite_high:
            near, far = np.minimum(near, bounds[1]), np.minimum(far, bounds[1])
        spread = np.maximum(widest, (far - near) / 4)
        spread = np.where(spread > 0, spread, 1.0)
        digits = backend.digits
        cut = 2.7 * (digits + 1) * 2.0 ** (level - 3) * spread + (far - near) / 2
        centre, base = as_numbers(backend, (near + far) / 2), as_numbers(backend, spread)
        low = ends[0] if self.finite_low else centre - as_numbers(backend, cut)
        high = ends[1] if self.finite_high else centre + as_numbers(backend, cut)
        sharp = as_numbers(backend, 10.0 ** -(digits / 2 + 1) * spread)
        closed = [row for end, here in zip(ends, finite, strict=True) if here for row in (end, sharp)]
        rows = np.array([*switches, *closed]) if closed else switches
        return cluster(backend, (centre, base), (rows[::2], rows[1::2]), (low, high)), zero, zero + 1

    def weighted(self, backend: Any, t: Any, weights: Any) -> Any:
        """Weights of the bodies from those of the line."""
        weights = np.array(np.broadcast_to(weights, t.shape))
        weights[:, 0], weights[:, -1] = weights[:, 0] / 2, weights[:, -1] / 2
        return weights

    def tail(self, backend: Any, terms: Any, distance: Any = None) -> Any:
        """What the ends of the line may have cut off.

        The last terms tell, as a geometric series.  Where they grow, because the nodes do not cluster any
        more, the sums over all beyond a half and a quarter of the way do, given the ``distance`` of the nodes
        from where the outputs lie: what is beyond a law with a power for its tail.
        """
        size = np.abs(backend.to_float(terms))
        result = np.zeros(size.shape[:-1])
        for open_end, side, sign in ((not self.finite_low, 1, -1), (not self.finite_high, -2, 1)):
            if open_end:
                rest = _geometric(size[..., side - sign], size[..., side])
                if distance is not None and not np.all(np.isfinite(rest)):
                    rest = np.where(np.isfinite(rest), rest, _power_law(size, sign * distance))
                result = result + rest
        return result


def _geometric(before: Any, last: Any) -> Any:
    """Twice the rest of a series of positive terms as if their ratio stayed; infinite where they grow."""
    ratio = np.where(last > 0, last / np.where(before > 0, before, 1.0), 0.0)
    return np.where(ratio < 1, 2 * last / np.where(ratio < 1, 1 - ratio, 1.0), np.inf)


def _power_law(sizes: Any, distance: Any) -> Any:
    """The rest of a sum whose parts between 1/4, 1/2 and 1 of the longest distance fall as they did."""
    reach = distance.max(axis=1, keepdims=True)
    last = np.where(distance > reach / 2, sizes, 0.0).sum(axis=1)
    before = np.where((distance > reach / 4) & (distance <= reach / 2), sizes, 0.0).sum(axis=1)
    return _geometric(before, last) * np.minimum(last / np.where(before > 0, before, 1.0), 1.0)


def position_noise(backend: Any, x: Any, values: Any, weights: Any) -> Any:
    """What the rounding of the nodes' positions can do to a sum: eps |x| |f'| at each node.

    A peak of width 1e-6 at 1 has ten digits on its flank, whatever the rule.
    """
    place, f, size = backend.to_float(x), backend.to_float(values), np.abs(backend.to_float(weights))
    moved = 10.0**-backend.digits / 4 * np.abs(place[..., 1:])
    steps = np.maximum(np.abs(place[..., 1:] - place[..., :-1]), moved + 1e-300)
    return (np.abs(f[..., 1:] - f[..., :-1]) * (moved / steps * size[..., 1:])).sum(axis=-1)


def _extent(where: Any, size: Any) -> tuple[Any, Any, Any]:
    """The leftmost and the rightmost of the finite places (0 without any), and the largest width."""
    good = np.isfinite(where) & np.isfinite(size)
    near = np.where(good, where, np.inf).min(axis=0, initial=np.inf)
    far = np.where(good, where, -np.inf).max(axis=0, initial=-np.inf)
    some = np.isfinite(far)
    widest = np.where(good, size, 0.0).max(axis=0, initial=0.0)
    return np.where(some, near, 0.0), np.where(some, far, 0.0), widest


def series_rest(backend: Any, terms: Any) -> Any:
    """The terms left out, as a geometric series with the last ratio, and the rounding of the sum."""
    sizes = np.abs(backend.to_float(terms))
    return _geometric(sizes[..., -2], sizes[..., -1]) + ROUNDING * sizes.sum(axis=-1) * 10.0**-backend.digits
