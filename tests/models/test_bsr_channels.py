"""Bilinear sequence regression through signs and absolute values, against fixed points by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bsr_points import ABS, SIGN
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import log_ndtr

from replica import solve
from solvers.solution import Outcome
from tests.solvers.simulate_by_hand import mmse as mmse_by_hand


def sign_potential(q):
    r"""Psi_out of y = sign(h): E_w sum_y H(y w/sqrt(V)) log H, w ~ N(0, q), V = 1 - q; by adaptive quadrature."""

    def integrand(t):
        u = math.sqrt(q / (1 - q)) * t
        return 2 * math.exp(log_ndtr(u) - t * t / 2) / math.sqrt(2 * math.pi) * log_ndtr(u)

    return quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-13, limit=400)[0]


def abs_potential(q, delta):
    """Psi_out of y = |h| + noise: E_w int dy Z log Z, Z from h > 0 and h < 0 by hand, on plain grids."""
    t = np.linspace(-8, 8, 641)
    weight = np.exp(-(t**2) / 2) * (t[1] - t[0]) / math.sqrt(2 * math.pi)
    y = np.linspace(-9, 12, 2101)
    w, V = math.sqrt(q) * t[:, None], 1 - q
    total, spread = V + delta, math.sqrt(V * delta / (V + delta))

    def half(sign):
        mean = (V * y + delta * sign * w) / total  # of |h| on this side, before it is cut at 0
        gauss = -((y - sign * w) ** 2) / (2 * total) - 0.5 * math.log(2 * math.pi * total)
        return gauss + log_ndtr(mean / spread)

    log_z = np.logaddexp(half(1), half(-1))
    return float((np.exp(log_z) * log_z).sum(axis=1) @ weight) * (y[1] - y[0])


def test_sign_outputs_against_a_fixed_point_by_hand():
    """q_hat(q) by adaptive quadrature of the textbook formula, MMSE from the eigenvalues of a companion matrix."""
    alpha, beta, rho = 0.3, 1.7, 0.43

    def conjugate(v):
        def integrand(t):
            u = math.sqrt((1 - v) / v) * t
            return 2 * math.exp(-t * t / 2 - u * u - log_ndtr(u)) / (2 * math.pi) ** 1.5

        return alpha / v * quad(integrand, -10, 10, epsabs=1e-12, limit=400)[0]

    v = brentq(lambda v: mmse_by_hand(conjugate(v), beta, rho, 8000) - v, 0.3, 0.95, xtol=1e-9)
    solution = solve(SIGN, alpha=alpha, beta=beta, rho=rho)
    assert solution["mmse"] == pytest.approx(v, abs=2e-5)
    assert solution["q_hat"] == pytest.approx(conjugate(solution["mmse"]), rel=1e-9)
    h = 1e-4
    q = solution["q"]
    slope = (sign_potential(q + h) - sign_potential(q - h)) / (2 * h)
    assert solution["q_hat"] == pytest.approx(2 * alpha * slope, rel=1e-5)


def test_sign_outputs_in_twenty_digits():
    point = {"alpha": "0.4", "beta": "0.7", "rho": "0.3"}
    fast, exact = solve(SIGN, **point), solve(SIGN, digits=20, **point)
    assert abs(fast["mmse"] - float(exact["mmse"])) < 1e-10
    assert abs(fast["mmse"] - float(exact["mmse"])) <= 10 * fast.errors.total + 1e-15


def test_absolute_outputs_against_a_derivative_by_hand():
    alpha, delta, h = 0.8, 0.1, 1e-3
    solution = solve(ABS, alpha=alpha, beta=1, rho=0.2, delta=delta)
    q = solution["q"]
    # central differences of order 4
    near, far = (
        (abs_potential(q + k * h, delta) - abs_potential(q - k * h, delta)) / (2 * k * h) for k in (1, 2)
    )
    assert solution["q_hat"] == pytest.approx(2 * alpha * (4 * near - far) / 3, rel=1e-6)
    assert solution["mmse"] == pytest.approx(mmse_by_hand(solution["q_hat"], 1.0, 0.2, 8000), abs=2e-5)
    assert solution.branches[0] == 0


def test_where_an_even_channel_starts_from_matters():
    """q = 0 is a solution and attracts, at these alpha, iteration from q = 0; an informed start finds another."""
    point = {"alpha": 0.8, "beta": 1, "rho": 0.2, "delta": 0.1}
    silent = solve(ABS, start="uninformed", **point)
    told = solve(ABS, start="informed", **point)
    best = solve(ABS, **point)
    assert best.free_entropy == max(silent.free_entropy, told.free_entropy)
    assert told["mmse"] <= best["mmse"] <= silent["mmse"]
    assert told["mmse"] < 0.5
    none = solve(ABS, **{**point, "alpha": 0.3})
    assert none.outcome is Outcome.UNINFORMATIVE
    assert (none["q"], none["mmse"], none["q_hat"]) == (0, 1, 0)
    # Phi is then that of independent outputs
    assert none.free_entropy == pytest.approx(0.3 * abs_potential(1e-12, 0.1), abs=1e-9)
