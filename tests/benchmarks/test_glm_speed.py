"""Fixed points of separable priors and channels against scipy's adaptive quadrature in a damped loop.

The loop follows one branch from one start; `solve` finds every solution, their free entropies and their errors.
Times are of the processor, so that whatever else the machine does falls on neither side.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import log_ndtr, ndtr

from replica import SpikedMatrix, TeacherStudent, solve
from replica.ingredients import (
    AbsoluteValue,
    Bernoulli,
    GaussBernoulli,
    Gaussian,
    GaussianNoise,
    Laplace,
    LaplaceNoise,
    LeakyReLU,
    Logistic,
    MarginStep,
    Probit,
    Quantiser,
    Rademacher,
    ReLU,
    Sign,
    SparseRademacher,
    SymmetricInterval,
)

pytestmark = pytest.mark.benchmark
ROOT = np.sqrt(2 * np.pi)
ONE_AVERAGE, TWO_AVERAGES = 10, 200  # ms of a solve after the first


def gauss(z):
    return np.exp(-z * z / 2) / ROOT


def timed(run, times=5):
    best = np.inf
    for _ in range(times):
        start = time.process_time()
        result = run()
        best = min(best, time.process_time() - start)
    return result, best


def damped(update, start, tolerance=1e-9):
    """The loop that one would write first; returns the fixed point and its seconds."""
    began, q = time.process_time(), start
    for _ in range(2000):
        new = update(q)
        if abs(new - q) < tolerance:
            break
        q = (q + new) / 2
    return q, time.process_time() - began


def tanh_squared(q_hat):
    return quad(lambda z: gauss(z) * np.tanh(q_hat + np.sqrt(q_hat) * z) ** 2, -10, 10, epsabs=1e-11)[0]


def sign_conjugate(q):
    t = np.sqrt(q / (1 - q))
    inside = quad(lambda z: gauss(z) * np.exp(-((t * z) ** 2) - log_ndtr(t * z)) / (2 * np.pi), -10, 10)[0]
    return 2 / (1 - q) * inside


def report(what, model, point, baseline, least, most=None):
    """Print and check the ratio; ``most`` is the time in ms that an idle machine of 2026 needs at most; 4 times as much passes."""
    began = time.process_time()
    solve(model, **point)  # derivation and lowering, once a process
    first = time.process_time() - began
    name, value = next(iter(point.items()))
    near = iter(value + k / 1000 for k in range(1, 10))  # no point twice: tables are remembered
    _, fast = timed(lambda: solve(model, **{**point, name: next(near)}))
    solution = solve(model, **point)
    q, slow = baseline
    assert solution["q"] == pytest.approx(q, abs=1e-6)
    ratio = slow / fast
    print(
        f"\n{what}: {1000 * fast:.1f} ms, baseline {1000 * slow:.0f} ms, ratio {ratio:.1f}; first {first:.1f} s"
    )
    assert ratio >= least
    assert most is None or 1000 * fast < 4 * most


def test_spiked_wigner():
    baseline = damped(lambda m: tanh_squared(2 * m), 0.5)
    report("spiked Wigner", SpikedMatrix(), {"lam": 2}, baseline, 1, ONE_AVERAGE)


def test_binary_perceptron():
    model = TeacherStudent(prior=Rademacher(), channel=Sign())
    baseline = damped(lambda q: tanh_squared(sign_conjugate(q)), 0.1)
    report("sign, binary signal", model, {"alpha": 1}, baseline, 1, ONE_AVERAGE)


def test_gaussian_perceptron():
    model = TeacherStudent(prior=Gaussian(), channel=Sign())

    def update(q):
        q_hat = 1.5 * sign_conjugate(q)
        return q_hat / (1 + q_hat)

    report("sign, Gaussian signal", model, {"alpha": 1.5}, damped(update, 0.1), 1, ONE_AVERAGE)


def test_phase_retrieval_in_two_dimensions():
    q = 0.21622749029566
    one = timed_updates(
        lambda y, omega, v: (y * np.tanh(omega * y / v) - omega) / v, absolute_evidence, q, 0.8
    )
    model = TeacherStudent(prior=Gaussian(), channel=AbsoluteValue())
    report("|h|, Gaussian signal", model, {"alpha": 0.8}, (q, 200 * one), 20, TWO_AVERAGES)


PRIORS = [Gaussian(), Rademacher(), GaussBernoulli(), Bernoulli(), SparseRademacher(), Laplace()]
ONE = [
    GaussianNoise(),
    Sign(),
    Probit(),
    Logistic(),
    MarginStep(),
    SymmetricInterval(),
    Quantiser(),
    LaplaceNoise(),
]
TWO = [ReLU(), LeakyReLU(), AbsoluteValue()]
POINT = {"rho": "0.3", "delta": "0.2", "kappa": "0.7"}


def milliseconds(model, points):
    """Of the quickest of several points."""
    following = iter(points)
    return 1000 * timed(lambda: solve(model, throw=False, **next(following)), len(points))[1]


@pytest.mark.parametrize(
    ("channels", "limit"), [(ONE, ONE_AVERAGE), (TWO, TWO_AVERAGES)], ids=["one average", "two averages"]
)
def test_every_pair(channels, limit):
    """Milliseconds of a solve at an alpha not met before, every branch with its free entropy and errors, and at a
    new parameter of the prior or the channel too; the worst pairs are named.
    """
    times, anew = {}, {}
    for prior, channel in product(PRIORS, channels):
        model, pair = TeacherStudent(prior=prior, channel=channel), f"{prior.name} x {channel.name}"
        point = {p.name: float(POINT[p.name]) for p in model.control_parameters if p.name != "alpha"}
        solve(model, alpha=1, throw=False, **point)  # derivation and lowering
        times[pair] = milliseconds(model, [{"alpha": 0.8 + 0.0137 * k, **point} for k in range(6)])
        if point:
            moved = [{name: value * (1 + 0.013 * k) for name, value in point.items()} for k in range(1, 7)]
            anew[pair] = milliseconds(model, [{"alpha": 1, **other} for other in moved])
    for what, found in (("new alpha", times), ("new parameter", anew)):
        worst = sorted(found, key=lambda pair: -found[pair])[:4]
        print(
            f"\n{what}: median {np.median(list(found.values())):.1f} ms;",
            *(f"{p} {found[p]:.1f}," for p in worst),
        )
    assert max(times.values()) < 4 * limit


def absolute_evidence(y, omega, v):
    """Density of y = |h|, h ~ N(omega, v), extended evenly to y < 0 with half the weight."""
    return gauss((y - omega) / np.sqrt(v)) / np.sqrt(v)


def timed_updates(g, evidence, q, alpha, times=3, noise=0.0):
    """Seconds of an update of q_hat by dblquad, which must return q/(1 - q); one loop takes some 200."""
    v = 1 - q
    width, below = 9 * np.sqrt(v + noise), (1 if noise == 0 else 0)

    def inside(y, z):
        omega = np.sqrt(q) * z
        return gauss(z) * evidence(y, omega, v) * g(y, omega, v) ** 2

    began = time.process_time()
    for _ in range(times):
        found = dblquad(
            inside,
            -9,
            9,
            lambda z: np.sqrt(q) * z * below - width,
            lambda z: np.sqrt(q) * (z if below else abs(z)) + width,
            epsabs=1e-7,
        )[0]
        assert found * alpha == pytest.approx(q / (1 - q), rel=1e-5)
    return (time.process_time() - began) / times


def test_noisy_phase_retrieval_in_two_dimensions():
    """y = |h| + sqrt(Delta) z: the evidence is a sum over both signs of the field, in closed form."""
    delta = 0.2

    def evidence(y, omega, v):
        return sum(half(y, omega, v, sign) for sign in (1, -1))

    def half(y, omega, v, sign):
        total = v + delta
        mean, deviation = (omega * delta + sign * y * v) / total, np.sqrt(v * delta / total)
        return gauss((y - sign * omega) / np.sqrt(total)) / np.sqrt(total) * ndtr(sign * mean / deviation)

    def g(y, omega, v):
        step = 1e-5  # a derivative by difference is enough for five digits
        up, down = (np.log(evidence(y, omega + e, v)) for e in (step, -step))
        return (up - down) / (2 * step)

    model = TeacherStudent(prior=Gaussian(), channel=AbsoluteValue())
    point = {"alpha": 2, "delta": "0.2"}
    q = float(solve(model, **point)["q"])
    one = timed_updates(g, evidence, q, 2, times=1, noise=delta)
    report("|h| with noise, Gaussian signal", model, point, (q, 200 * one), 20, TWO_AVERAGES)


def test_probability_of_the_witness():
    """The baselines themselves: ndtr and its logarithm agree."""
    assert np.exp(log_ndtr(0.3)) == pytest.approx(ndtr(0.3))
