"""Ratios of the library's speed to a straightforward baseline in the same run: `make bench`."""

from __future__ import annotations

import subprocess
import sys
import time

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from replica import solve, sweep
from replica.models import BilinearSequenceRegression

pytestmark = pytest.mark.benchmark

BSR = BilinearSequenceRegression()
FIXED = {"beta": 1, "rho": 0.2, "delta": 0.1}
ALPHAS = [0.005 * k for k in range(1, 201)]


def quartic(x, q_hat, rho):
    """Coefficients of the polynomial of the Stieltjes transform of Y Y^T/L at beta = 1, highest power first."""
    return [
        x * x,
        -q_hat * x * x,
        x * (q_hat - q_hat * rho - rho),
        q_hat * rho * x,
        -q_hat * rho,
    ]


def density(x, q_hat, rho):
    return max(np.roots(quartic(x, q_hat, rho)).imag) / np.pi


def mmse_by_quad(q_hat, rho):
    """1/q_hat - (4 pi^2/3) int x rho^3/q_hat^2 by adaptive quadrature, a root of the quartic at each point."""
    top = (3 + 2 / np.sqrt(q_hat)) ** 2 + 20
    inside = quad(
        lambda s: 2 * s**3 * density(s * s, q_hat, rho) ** 3, 0, np.sqrt(top), limit=400, epsabs=1e-10
    )[0]
    return 1 / q_hat - 4 * np.pi**2 / 3 * inside / q_hat**2


def baseline_point(alpha, damping=0.5, tolerance=1e-10):
    """The damped fixed point that one would write in an afternoon; returns (mmse, seconds, iterations)."""
    start, v = time.perf_counter(), 1.0
    for _iteration in range(500):
        new = mmse_by_quad(alpha / (0.1 + v), 0.2)
        if abs(new - v) < tolerance:
            break
        v = damping * v + (1 - damping) * new
    return v, time.perf_counter() - start, _iteration + 1


def test_a_curve_of_200_points():
    sweep(BSR, alpha=[0.3], **FIXED)  # derivation and lowering, once a process
    seconds = min(_timed(lambda: sweep(BSR, alpha=ALPHAS, **FIXED)) for _ in range(3))
    table = sweep(BSR, alpha=ALPHAS, **FIXED)
    slow = 0.0
    for index in (19, 59, 159):
        v, spent, _ = baseline_point(ALPHAS[index])
        assert abs(v - float(table.mmse[index])) < 1e-6
        slow += spent / 3 * len(ALPHAS)
    print(f"\n200 points: {seconds:.2f} s, baseline {slow:.0f} s, ratio {slow / seconds:.0f}")
    assert slow / seconds >= 50


def test_50_digits():
    point = {"alpha": "3/10", "beta": 1, "rho": "1/5", "delta": "1/10", "digits": 50}
    solve(BSR, **point)
    seconds = _timed(lambda: solve(BSR, **point))
    _, _, iterations = baseline_point(0.3)
    iterations *= 5  # each digit costs the same number of damped iterations: 50 digits for 10
    with mpmath.workdps(60):
        q_hat, rho = mpmath.mpf("0.4886"), mpmath.mpf(1) / 5

        def integrand(s):
            roots = mpmath.polyroots(quartic(s * s, q_hat, rho), maxsteps=200, extraprec=200)
            return 2 * s**3 * (max(mpmath.im(r) for r in roots) / mpmath.pi) ** 3

        start = time.perf_counter()
        mpmath.quad(integrand, [mpmath.mpf("0.001"), mpmath.mpf("1.5"), mpmath.mpf("4.4")])
        one = time.perf_counter() - start
    slow = one * iterations
    print(
        f"\n50 digits: {seconds:.2f} s, baseline {one:.1f} s x {iterations} iterations, ratio {slow / seconds:.0f}"
    )
    assert slow / seconds >= 50


def test_derivation_from_scratch():
    code = (
        "import time; t = time.perf_counter(); from replica.models import BilinearSequenceRegression as B;"
        "m = B(); m.derive(); m.saddle_point(); print(time.perf_counter() - t)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"\nderivation and saddle point in a fresh process: {float(run.stdout):.1f} s")


def _timed(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
