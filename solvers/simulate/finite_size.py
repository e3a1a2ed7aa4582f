"""From finite sizes to N = infinity: a weighted fit in powers of 1/N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from solvers.errors import InputError
from solvers.simulate.ensemble import Estimate
from solvers.simulate.spin_systems import FloatArray


@dataclass(frozen=True)
class Extrapolation:
    """value(N) = limit + sum_k c_k N^(-powers_k), fitted by weighted least squares.

    Attributes:
        limit: at N = infinity with its error; the form of the fit is assumed, not tested by the error.
        coefficients: c_k.
        powers: of 1/N.
        chi_square: sum of squared residuals in error bars.
        freedom: sizes minus fitted numbers.
        residuals: of each size, in error bars.
    """

    limit: Estimate
    coefficients: FloatArray
    powers: tuple[float, ...]
    chi_square: float
    freedom: int
    residuals: FloatArray = field(repr=False)


def extrapolate(
    sizes: Sequence[int], values: Sequence[Estimate], powers: Sequence[float] = (1.0,)
) -> Extrapolation:
    """Fit the sizes and read off N = infinity.

    Args:
        sizes: distinct and positive.
        values: one estimate with a positive error per size.
        powers: of 1/N beyond the constant; 2/3 for energies in the SK spin-glass phase.

    Raises:
        InputError: fewer sizes than fitted numbers, or errors that are not positive.

    >>> extrapolate([10, 20], [Estimate(1.1, 0.01), Estimate(1.05, 0.01)]).limit.mean
    1.0...
    """
    N = np.array(sizes, dtype=np.float64)
    y = np.array([value.mean for value in values])
    error = np.array([value.error for value in values])
    if len(N) != len(y) or len(set(sizes)) != len(N) or np.any(N <= 0):
        raise InputError("an extrapolation needs distinct positive sizes with one value each")
    if len(N) < 1 + len(powers):
        raise InputError(f"{1 + len(powers)} fitted numbers need as many sizes, got {len(N)}")
    if not np.all(np.isfinite(y)) or not np.all(error > 0) or any(power <= 0 for power in powers):
        raise InputError("an extrapolation needs finite values with positive errors, and positive powers")
    design = np.column_stack([np.ones_like(N)] + [N**-power for power in powers]) / error[:, None]
    solution, _, rank, _ = np.linalg.lstsq(design, y / error)
    if rank < 1 + len(powers):
        raise InputError(f"the powers {tuple(powers)} cannot be told apart at these sizes")
    covariance = np.linalg.inv(design.T @ design)
    residuals = y / error - design @ solution
    return Extrapolation(
        Estimate(float(solution[0]), math.sqrt(covariance[0, 0])),
        solution[1:],
        tuple(float(power) for power in powers),
        float(residuals @ residuals),
        len(N) - 1 - len(powers),
        residuals,
    )
