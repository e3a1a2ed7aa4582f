"""The end of a branch: where two solutions meet and neither exists beyond.

There F_x is singular: the unknowns (x, v, lam) solve F(x, lam) = 0, F_x v = 0, c.v = 1 (G. Moore, A. Spence,
SIAM J. Numer. Anal. 17 (1980) 567), a regular system at a simple fold.  Along the branch lam is stationary
at the fold, so it is known to about the square of the accuracy of x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from solvers.continuation.family import Family, along, jacobian, sizes, slope
from solvers.continuation.follow import Turn


class Fold(NamedTuple):
    """The end of a branch: its unknowns and parameter, the direction v of the two solutions that meet there,
    the last step of the parameter and the curvature l.F_xx v v, which is not 0 at a simple fold.
    """

    x: np.ndarray
    direction: np.ndarray
    lam: float
    moved: float
    curvature: float


STEPS = 30


def fold(family: Family, near: Turn) -> Fold | None:
    """Newton on the bordered system; None where it does not converge, or not to a simple fold."""
    size, unit = near.x.size, sizes(near.x)
    v = near.direction / np.max(np.abs(near.direction) / unit)
    border = v / unit / np.dot(v / unit, v / unit) / unit
    x, lam, before = near.x, near.lam, np.inf

    def system(x: np.ndarray, v: np.ndarray, lam: float) -> np.ndarray:
        return along(lambda z: family.residual(z, lam), x, v)

    for _ in range(STEPS):
        with np.errstate(all="ignore"):
            value = np.concatenate([family.residual(x, lam), system(x, v, lam), [np.dot(border, v) - 1]])
            slopes = jacobian(lambda z, at=lam: family.residual(z, at), x)
            bend = jacobian(lambda z, d=v, at=lam: system(z, d, at), x)
            at = 1e-4 * max(abs(lam), 1e-2)
            drift = slope(lambda t, z=x, at=lam: family.residual(z, at + t), at)
            turn = slope(lambda t, z=x, d=v, at=lam: system(z, d, at + t), at)
        none = np.zeros((size, size))
        matrix = np.block(
            [
                [slopes, none, drift[:, None]],
                [bend, slopes, turn[:, None]],
                [np.zeros((1, size)), border[None], np.zeros((1, 1))],
            ]
        )
        if not (np.all(np.isfinite(value)) and np.all(np.isfinite(matrix))):
            return None
        try:
            step = np.linalg.solve(matrix, -value)
        except np.linalg.LinAlgError:
            return None
        x, v, lam = x + step[:size], v + step[size:-1], lam + step[-1]
        moved = float(max(np.max(np.abs(step[:size]) / unit), abs(step[-1]) / max(abs(lam), 1e-2)))
        if moved > 10:
            return None
        if moved < 1e-13 or (moved < 1e-7 and moved > 0.3 * before):
            left = np.linalg.svd(slopes * unit)[0][:, -1]
            curvature = float(np.dot(left, bend @ v))
            simple = abs(curvature) > 1e-6 * float(np.linalg.norm(bend @ v)) > 0 and np.dot(left, drift) != 0
            return Fold(x, v, float(lam), abs(float(step[-1])), curvature) if simple else None
        before = moved
    return None
