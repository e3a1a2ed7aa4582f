"""Fixed points of separable priors and channels against scipy's adaptive quadrature in a damped loop.

The loop follows one branch from one start; `solve` finds every solution, their free entropies and their errors.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import log_ndtr, ndtr

from replica import SpikedMatrix, TeacherStudent, solve
from replica.ingredients import AbsoluteValue, Gaussian, Rademacher, Sign

pytestmark = pytest.mark.benchmark
ROOT = np.sqrt(2 * np.pi)


def gauss(z):
    return np.exp(-z * z / 2) / ROOT


def timed(run, times=5):
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    return result, best


def damped(update, start, tolerance=1e-9):
    """The loop that one would write first; returns the fixed point and its seconds."""
    began, q = time.perf_counter(), start
    for _ in range(2000):
        new = update(q)
        if abs(new - q) < tolerance:
            break
        q = (q + new) / 2
    return q, time.perf_counter() - began


def tanh_squared(q_hat):
    return quad(lambda z: gauss(z) * np.tanh(q_hat + np.sqrt(q_hat) * z) ** 2, -10, 10, epsabs=1e-11)[0]


def sign_conjugate(q):
    t = np.sqrt(q / (1 - q))
    inside = quad(lambda z: gauss(z) * np.exp(-((t * z) ** 2) - log_ndtr(t * z)) / (2 * np.pi), -10, 10)[0]
    return 2 / (1 - q) * inside


def report(what, model, point, baseline, least):
    solve(model, **point)  # derivation and lowering, once a process
    solution, fast = timed(lambda: solve(model, **point))
    q, slow = baseline
    assert solution["q"] == pytest.approx(q, abs=1e-6)
    print(f"\n{what}: {1000 * fast:.1f} ms, baseline {1000 * slow:.0f} ms, ratio {slow / fast:.0f}")
    assert slow / fast >= least


def test_spiked_wigner():
    report("spiked Wigner", SpikedMatrix(), {"lam": 2}, damped(lambda m: tanh_squared(2 * m), 0.5), 0.5)


def test_binary_perceptron():
    model = TeacherStudent(prior=Rademacher(), channel=Sign())
    baseline = damped(lambda q: tanh_squared(sign_conjugate(q)), 0.1)
    report("sign, binary signal", model, {"alpha": 1}, baseline, 0.25)


def test_phase_retrieval_in_two_dimensions():
    def conjugate(q):
        v = 1 - q

        def inside(y, z):
            omega = np.sqrt(q) * z
            g = (y * np.tanh(omega * y / v) - omega) / v
            return gauss(z) * gauss((y - omega) / np.sqrt(v)) / np.sqrt(v) * g * g

        width = 9 * np.sqrt(v)
        return dblquad(
            inside, -9, 9, lambda z: np.sqrt(q) * z - width, lambda z: np.sqrt(q) * z + width, epsabs=1e-7
        )[0]

    began = time.perf_counter()
    q = 0.21622749029566
    for _ in range(3):  # three of the hundreds of updates it would take
        assert conjugate(q) * 0.8 == pytest.approx(q / (1 - q), rel=1e-5)
    slow = (time.perf_counter() - began) / 3 * 200
    model = TeacherStudent(prior=Gaussian(), channel=AbsoluteValue())
    report("|h|, Gaussian signal", model, {"alpha": 0.8}, (q, slow), 20)


def test_probability_of_the_witness():
    """The baselines themselves: ndtr and its logarithm agree."""
    assert np.exp(log_ndtr(0.3)) == pytest.approx(ndtr(0.3))
