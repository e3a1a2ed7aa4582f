"""The two limits of the derivation have checks of their own, which a wrong result fails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sympy as sp

from replica.action import FieldAverage, OverlapMoment, PairSum, nodes_of
from replica.binary_evidence import log_moment, noisy_fields
from replica.expr.average import OutputSum
from replica.expr.spectral import SpectralDensity, SpectralIntegral
from replica.models import BilinearSequenceRegression
from replica.symbols import alpha, beta, q_hat, rho

DERIVATION = BilinearSequenceRegression().derive()
INPUTS, ENTROPY = DERIVATION["average over the inputs; overlaps"], DERIVATION["extensive-rank entropy"]


def fails(step, after, what):
    assert after != step.after
    with pytest.raises(ArithmeticError, match=what):
        dataclasses.replace(step, after=after).verify()


def fewer(node):
    return FieldAverage(node.body, node.bound_symbols[0], node.covariance, node.size - 1)


(PAIRS,), (MOMENT,) = (nodes_of(INPUTS.after, kind) for kind in (PairSum, OverlapMoment))
WRONG = {
    "rate": INPUTS.after.subs(alpha, sp.Rational(11, 10) * alpha),
    "no rate": INPUTS.after.subs(alpha, 1),
    "sign of the Legendre term": INPUTS.after + 2 * PAIRS,
    "half the Legendre term": INPUTS.after + PAIRS / 2,
    "ordered pairs": INPUTS.after - PAIRS,
    "moment of the signal": INPUTS.after + MOMENT / 10,
    "no teacher": INPUTS.after.replace(lambda e: isinstance(e, FieldAverage), fewer),
    "constant": INPUTS.after + sp.Rational(1, 100),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_average_over_the_inputs_is_caught(what):
    fails(INPUTS, WRONG[what], "binary signals")


def test_a_wrong_channel_in_the_average_over_the_inputs_is_caught():
    def weaker(node):
        var = node.bound_symbols[0]
        return FieldAverage(node.body.subs(var, var / 2), var, node.covariance, node.size)

    changed = INPUTS.after.replace(lambda e: isinstance(e, FieldAverage), weaker)
    fails(INPUTS, changed, "factor of a replica")
    (total,) = nodes_of(INPUTS.after, OutputSum)
    binary = OutputSum(total.body, total.bound_symbols[0], sp.FiniteSet(1, -1))
    fails(INPUTS, INPUTS.after.xreplace({total: binary}), "outputs")


@pytest.mark.parametrize("replicas", [2, 3])
def test_the_sum_over_signals_by_enumeration(replicas):
    """All signals of four signs, one by one."""
    size, rate, weight = 4, 0.7, noisy_fields(0.5)
    signs = 1 - 2 * ((np.arange(2 ** (size * replicas))[:, None] >> np.arange(size * replicas)) & 1)
    signals = signs.reshape(-1, replicas, size)
    overlaps = signals @ signals.transpose(0, 2, 1) / size
    expected = np.log(np.mean(weight(overlaps) ** (rate * size))) / size
    assert log_moment(replicas, weight, rate, size) == pytest.approx(expected, abs=1e-13)


def test_the_weight_of_noisy_fields_by_sampling():
    """The density of equal outputs, E_h int dy prod N(y; h_a, 1/2), for fields of overlap 0.3."""
    rng = np.random.default_rng(2)
    fields = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], size=200_000)
    # the integral over y of two Gaussians of variance 1/2 is a Gaussian of variance 1 in the difference
    sampled = np.exp(-((fields[:, 0] - fields[:, 1]) ** 2) / 2) / np.sqrt(2 * np.pi)
    value = noisy_fields(0.5)(np.array([[1, 0.3], [0.3, 1]]))
    assert abs(sampled.mean() - value) < 5 * sampled.std() / np.sqrt(sampled.size)


def test_a_wrong_entropy_is_caught():
    fresh = [t for t in sp.Add.make_args(ENTROPY.after) if t not in sp.Add.make_args(ENTROPY.before)]
    assert sum(t.has(SpectralIntegral) for t in fresh) == 2
    for term in fresh:
        fails(ENTROPY, ENTROPY.after + term / 10, "Gaussian matrix")


def test_a_wrong_exponent_of_the_jacobian_is_caught():
    """(beta - 1)/(2 beta) log x is silent at beta = 1 only."""

    def doubled(node):
        body, x, g, law = node.args
        return SpectralIntegral(body + (beta - 1) / (2 * beta) * SpectralDensity(g) * sp.log(x), x, g, law)

    wrong = ENTROPY.after.replace(lambda e: isinstance(e, SpectralIntegral), doubled)
    fails(ENTROPY, wrong, "Gaussian matrix, beta = 13/10")


def test_a_law_of_the_wrong_noise_is_caught():
    observed = next(i for i in ENTROPY.after.atoms(SpectralIntegral) if i.has(rho))
    fails(ENTROPY, ENTROPY.after.xreplace({observed: observed.subs(q_hat, 2 * q_hat)}), "Gaussian matrix")
    fails(ENTROPY, ENTROPY.after.xreplace({observed: observed.subs(beta, 2 * beta)}), "Gaussian matrix")
