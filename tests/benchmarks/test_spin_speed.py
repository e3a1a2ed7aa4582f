"""One step of replica symmetry breaking against scipy's quadrature inside scipy's minimiser.

The baseline minimises the published free entropy over (q_1, m) of the Ising three-spin, q_0 = 0, and over
(q_0, q_1, m) of SK with a fixed grid for the outer field. It starts beside the solution and gives six digits and
no error; the solver searches from afar.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize

from replica import solve
from replica.ansatz import OneStepRSB
from replica.models.gaussian_field import p_spin, sherrington_kirkpatrick

pytestmark = pytest.mark.benchmark
BETA = 2.0


def log_moment(field, spread, m):
    """(1/m) log E (2 cosh(field + spread z))^m."""

    def weighted(z):
        u = abs(field + spread * z)
        return np.exp(m * (u + np.log1p(np.exp(-2 * u)) - abs(field)) - z * z / 2) / np.sqrt(2 * np.pi)

    return abs(field) + np.log(quad(weighted, -12, 12, epsabs=1e-10)[0]) / m


def three_spin(x):
    """Gross and Mezard 1984."""
    q, m = x
    plain = BETA**2 / 4 * (1 + 2 * (1 - m) * q**3 - 3 * q**2)
    return plain + log_moment(0.0, BETA * np.sqrt(1.5) * q, m)


def two_spin(x):
    """Parisi 1979, one step."""
    q0, q1, m = x
    z = np.linspace(-6, 6, 25)
    weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    inner = [log_moment(BETA * np.sqrt(q0) * u, BETA * np.sqrt(max(q1 - q0, 0)), m) for u in z]
    return BETA**2 / 4 * (1 + m * q0**2 + (1 - m) * q1**2 - 2 * q1) + float(weights @ inner)


@pytest.mark.parametrize(
    ("model", "function", "start", "names", "most", "least"),
    [
        (p_spin(3, ansatz=OneStepRSB()), three_spin, (0.85, 0.6), ("q1", "m"), 200, 0.2),
        (sherrington_kirkpatrick(OneStepRSB()), two_spin, (0.2, 0.6, 0.3), ("q0", "q1", "m"), 1000, 10),
    ],
    ids=["three-spin", "SK"],
)
def test_one_step(model, function, start, names, most, least):
    began = time.process_time()
    found = minimize(function, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    slow = time.process_time() - began
    solve(model, T="1/2")
    began = time.process_time()
    solution = solve(model, T="1/2")
    fast = time.process_time() - began
    print(f"\n{model.name}: {1000 * fast:.0f} ms, baseline {1000 * slow:.0f} ms, ratio {slow / fast:.1f}")
    assert [solution[name] for name in names] == pytest.approx(list(found.x), abs=1e-3)
    assert slow / fast >= least
    assert 1000 * fast <= 4 * most
