"""Fixed points of convex risks against scipy's adaptive quadrature and root finding in a damped loop.

The loop finds each proximal operator by bisection and each average by ``quad``, as one would write it first; its
time is that of some passes times how many a damped iteration takes.  Times are of the processor, so that whatever
else the machine does falls on neither side.
"""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from replica import EmpiricalRisk, solve
from replica.ingredients import L1, Logistic, Sign
from replica.ingredients.losses import (
    AbsoluteLoss,
    HingeLoss,
    HuberLoss,
    LogisticLoss,
    SquaredHingeLoss,
)

pytestmark = pytest.mark.benchmark
ROOT = np.sqrt(2 * np.pi)
ONE_AVERAGE, TWO_AVERAGES = 10, 200  # ms of a solve after the first
PASSES = 50  # of a damped loop to nine digits
POINTS = [(1.5, "0.2"), (3, "0.05"), (0.8, "0.5"), (2.5, "0.01")]


def gauss(z):
    return np.exp(-z * z / 2) / ROOT


SLOPES = {
    "logistic": lambda u: -expit(-u),
    "hinge": lambda u: -1.0 if u < 1 else 0.0,
    "squared hinge": lambda u: -max(0.0, 1 - u),
    "absolute": lambda u: np.sign(u - 1),
    "huber": lambda u: np.clip(u - 1, -1, 1),
}
"""Derivatives of the losses in the margin u."""


def passed(loss, solution, alpha):
    """(q_hat, m_hat) of one pass at the overlaps of a solution, for labels that are signs."""
    m, q, v = (float(solution[name]) for name in ("m", "q", "V"))
    slope, spread = SLOPES[loss], 1 - m * m / q

    def response(omega):
        """(prox - omega)/V at the margin omega: minus the slope of the loss at the minimum."""
        u = brentq(lambda p: p - omega + v * slope(p), omega - v * 9 - 9, omega + v * 9 + 9, xtol=1e-13)
        return (u - omega) / v

    def average(weight, power):
        def body(omega):
            return gauss(omega / np.sqrt(q)) / np.sqrt(q) * 2 * weight(omega) * response(omega) ** power

        ends = [-9 * np.sqrt(q), 0.0, 9 * np.sqrt(q)]
        return sum(quad(body, a, b, limit=200)[0] for a, b in pairwise(ends))

    def evidence(omega):
        return ndtr(m * omega / q / np.sqrt(spread))

    def derivative(omega):
        return gauss(m * omega / q / np.sqrt(spread)) / np.sqrt(spread)

    return alpha * average(evidence, 2), alpha * average(derivative, 1)


def timed_points(model, given):
    """ms of the slowest of some points, each solved several times, after one that lowers the model."""
    solve(model, alpha=2, lam="0.1", **given)
    times = []
    for alpha, lam in POINTS:
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            solve(model, alpha=alpha, lam=lam, **given)
            best = min(best, time.process_time() - start)
        times.append(best)
    return 1000 * max(times)


def report(what, model, most, given=None, least=None):
    """Print times and check them: ``most`` is what an idle machine of 2026 needs at most; 4 times as much passes."""
    given = given or {}
    slowest = timed_points(model, given)
    print(f"\n{what}: at most {slowest:.1f} ms a point", end="")
    assert slowest < 4 * most
    if least is None:
        return
    solution = solve(model, alpha=2, lam="0.1", **given)
    began = time.process_time()
    q_hat, m_hat = passed(model.loss.name, solution, 2)
    one = time.process_time() - began
    assert float(solution["q_hat"]) == pytest.approx(q_hat, rel=1e-6)
    assert float(solution["m_hat"]) == pytest.approx(m_hat, rel=1e-6)
    ratio = 1000 * one * PASSES / slowest
    print(f"; a damped loop with quad {1000 * one * PASSES:.0f} ms, ratio {ratio:.0f}", end="")
    assert ratio >= least


@pytest.mark.parametrize(
    "loss",
    [LogisticLoss(), HingeLoss(), SquaredHingeLoss(), AbsoluteLoss(), HuberLoss()],
    ids=lambda x: x.name,
)
def test_one_average(loss):
    given = {"threshold": 1} if loss.name == "huber" else {}
    report(f"{loss.name}, signs", EmpiricalRisk(Sign(), loss), ONE_AVERAGE, given, 20)


def test_one_average_and_an_l1_norm():
    report("hinge, l1, signs", EmpiricalRisk(Sign(), HingeLoss(), L1()), ONE_AVERAGE)


@pytest.mark.parametrize("loss", [LogisticLoss(), HingeLoss()], ids=lambda x: x.name)
def test_two_averages(loss):
    report(f"{loss.name}, logistic labels", EmpiricalRisk(Logistic(), loss), TWO_AVERAGES)
