"""Exact enumeration of the posterior for priors of few values: free entropy and overlap of up to sixteen coordinates
against the solved equations.

Nothing here is shared with the library but the numbers it ends with: instances, likelihoods and the sum over all
signals are written by hand. Away from transitions the means over instances approach the limit as
a + b/N + c/N^2; a is fitted, with its error bar, and compared.
"""

from __future__ import annotations

import itertools
from math import erf, exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
import pytest
from scipy import special

from replica.api import solve
from replica.ingredients.channels import GaussianNoise, Probit, Sign
from replica.ingredients.priors import Bernoulli, Rademacher, SparseRademacher
from replica.models.teacher_student import TeacherStudent

RHO = 0.4


class Law(NamedTuple):
    """Values of a coordinate and their probabilities."""

    atoms: tuple[float, ...]
    weights: tuple[float, ...]


LAWS = {
    "rademacher": (Rademacher(), Law((1, -1), (0.5, 0.5)), {}),
    "bernoulli": (Bernoulli(), Law((1, 0), (RHO, 1 - RHO)), {"rho": "0.4"}),
    "sparse rademacher": (
        SparseRademacher(),
        Law((1 / sqrt(RHO), -1 / sqrt(RHO), 0), (RHO / 2, RHO / 2, 1 - RHO)),
        {"rho": "0.4"},
    ),
}
NOISE = {"gaussian": 0.6, "sign": 0.0, "probit": 0.5}
RATE = {"gaussian": 0.5, "sign": 0.25, "probit": 0.5}
"""Samples per coordinate: fewer hard labels, at twice as many of which terms beyond 1/N^2 still show at N = 8."""
CHANNELS = {"gaussian": GaussianNoise(), "sign": Sign(), "probit": Probit()}


def outputs(channel, fields, rng):
    """y given the fields of the teacher."""
    noisy = fields + sqrt(NOISE[channel]) * rng.standard_normal(fields.shape)
    return noisy if channel == "gaussian" else np.where(noisy >= 0, 1.0, -1.0)


def log_likelihood(channel, left, right, y):
    """log P(y|field) of every signal, whose fields are sums of a part of each half: (instances, left, right)."""
    if channel == "gaussian":
        rest = y[:, :, None] - left
        square = (rest**2).sum(1)[:, :, None] + (right**2).sum(1)[:, None, :]
        square -= 2 * np.einsum("ims,imt->ist", rest, right)
        return -square / (2 * NOISE[channel]) - y.shape[1] / 2 * log(2 * pi * NOISE[channel])
    chance = np.ones((len(y), left.shape[2], right.shape[2]))
    for m in range(y.shape[1]):
        field = left[:, m, :, None] + right[:, m, None, :]
        sign = y[:, m, None, None]
        chance *= (
            special.ndtr(sign * field / sqrt(NOISE[channel]))
            if NOISE[channel]
            else (field >= 0) == (sign > 0)
        )
    with np.errstate(divide="ignore"):
        return np.log(chance)


def enumerated(law, channel, size, instances, rng):
    """Per instance: log-evidence per coordinate; overlap of the posterior mean with the teacher, and with itself;
    two quantities of mean zero that go with them (of the Gaussian noise), to make the errors smaller.
    """
    values, samples, half = np.array(law.atoms), round(RATE[channel] * size), size // 2
    words = np.array(list(itertools.product(range(len(values)), repeat=half))).T
    log_prior = np.log(law.weights)[words].sum(axis=0)
    signals, log_prior = values[words], log_prior[:, None] + log_prior[None, :]
    rows, chunk = [], max(1, 2**18 // log_prior.size)
    for start in range(0, instances, chunk):
        count = min(chunk, instances - start)
        design = rng.standard_normal((count, samples, size)) / sqrt(size)
        teacher = rng.choice(values, size=(count, size), p=law.weights)
        fields = np.einsum("imk,ik->im", design, teacher)
        y = outputs(channel, fields, rng)
        parts = design[:, :, :half] @ signals, design[:, :, half:] @ signals
        weight = log_prior + log_likelihood(channel, *parts, y)
        top = weight.max(axis=(1, 2))
        weight = np.exp(weight - top[:, None, None])
        total = weight.sum(axis=(1, 2))
        mean = np.concatenate([weight.sum(2) @ signals.T, weight.sum(1) @ signals.T], axis=1) / total[:, None]
        noise = y - fields
        known = (noise**2).sum(1) - samples * NOISE["gaussian"], (noise * fields).sum(1)
        rows.append(
            [(np.log(total) + top) / size, (mean * teacher).sum(1) / size, (mean**2).sum(1) / size, *known]
        )
    return np.concatenate(rows, axis=1)


def mean_and_error(quantity, controls):
    """Mean over instances and its error, after regression on quantities whose mean is zero."""
    if controls:
        covariance = np.cov([quantity, *controls])
        quantity = quantity - np.linalg.solve(covariance[1:, 1:], covariance[0, 1:]) @ np.array(controls)
    return quantity.mean(), quantity.std() / sqrt(len(quantity))


def limit(sizes, means):
    """a and its error, from a + b/N + c/N^2 fitted to means with errors."""
    value, error = np.array(means).T
    columns = np.vander(1 / np.array(sizes), 3, increasing=True) / error[:, None]
    covariance = np.linalg.inv(columns.T @ columns)
    return (covariance @ columns.T @ (value / error))[0], sqrt(covariance[0, 0])


def check(prior, channel, sizes, instances, precision):
    """Both limits within four error bars of the solution, and error bars below the precision."""
    built, law, parameters = LAWS[prior]
    if channel != "sign":
        parameters = {**parameters, "delta": NOISE[channel]}
    solution = solve(TeacherStudent(built, CHANNELS[channel]), alpha=RATE[channel], **parameters)
    rng, entropies, overlaps = np.random.default_rng(20), [], []
    for size, count in zip(sizes, instances, strict=True):
        entropy, planted, own, *known = enumerated(law, channel, size, count, rng)
        known = known if channel == "gaussian" else []
        entropies.append(mean_and_error(entropy, known))
        # Bayes-optimal: teacher and posterior samples are exchangeable at every size
        gap, error = mean_and_error(planted - own, [])
        assert abs(gap) < 4 * error, (size, "Nishimori")
        overlaps.append(mean_and_error((planted + own) / 2, [*known, planted - own]))
    for name, means, exact in (
        ("free entropy", entropies, solution.free_entropy),
        ("overlap", overlaps, solution["q"]),
    ):
        found, error = limit(sizes, means)
        assert error < precision, name
        assert abs(found - exact) < 4 * error, f"{name}: {found} +- {error} against {exact}"
        mean, error = means[-1]
        assert abs(mean - exact) < 0.6 / sizes[-1] + 4 * error, f"{name} of the largest size"


DEFAULT = [
    ("rademacher", "gaussian", (4, 8, 12, 16), (8000, 4000, 600, 40), 0.02),
    ("bernoulli", "gaussian", (4, 8, 12, 16), (8000, 4000, 600, 40), 0.02),
    ("rademacher", "sign", (8, 12, 16), (8000, 2000, 100), 0.02),
    ("rademacher", "probit", (4, 6, 8, 12), (8000, 4000, 1000, 100), 0.015),
    ("sparse rademacher", "gaussian", (2, 4, 6, 8), (20000, 8000, 2000, 200), 0.02),
]
SLOW = [
    *((p, "gaussian", (4, 8, 12, 16), (60000, 20000, 4000, 500), 0.006) for p in ("rademacher", "bernoulli")),
    ("rademacher", "sign", (8, 12, 16), (20000, 8000, 1000), 0.01),
    ("bernoulli", "sign", (4, 8, 12, 16), (40000, 20000, 5000, 800), 0.01),
    *((p, "probit", (4, 8, 12, 16), (60000, 20000, 3000, 300), 0.006) for p in ("rademacher", "bernoulli")),
    ("sparse rademacher", "gaussian", (4, 6, 8, 10), (40000, 12000, 4000, 400), 0.02),
    ("sparse rademacher", "sign", (4, 8, 12), (40000, 12000, 200), 0.02),
    ("sparse rademacher", "probit", (4, 6, 8, 10), (40000, 12000, 3000, 300), 0.02),
]
"""Prior, channel, sizes, instances of each, and what the error bar of the limit must stay below."""


@pytest.mark.parametrize(
    ("prior", "channel", "sizes", "instances", "precision"),
    [*DEFAULT, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_the_enumerated_posterior_tends_to_the_solution(prior, channel, sizes, instances, precision):
    check(prior, channel, sizes, instances, precision)


def test_the_sum_over_signals_by_loops():
    """The witness against itself at N = 4: one instance, every signal and every sample in turn."""
    for prior, channel in itertools.product(LAWS, CHANNELS):
        law = LAWS[prior][1]
        found = enumerated(law, channel, 4, 1, np.random.default_rng(3))[:, 0]
        rng = np.random.default_rng(3)
        design = rng.standard_normal((1, round(4 * RATE[channel]), 4))[0] / 2
        teacher = rng.choice(np.array(law.atoms), size=(1, 4), p=law.weights)[0]
        y = outputs(channel, (design @ teacher)[None], rng)[0]
        evidence, mean = 0.0, np.zeros(4)
        for word in itertools.product(range(len(law.atoms)), repeat=4):
            signal = np.array([law.atoms[k] for k in word])
            weight = float(np.prod([law.weights[k] for k in word]))
            for field, value in zip(design @ signal, y, strict=True):
                noise = NOISE[channel]
                if channel == "gaussian":
                    weight *= exp(-((value - field) ** 2) / (2 * noise)) / sqrt(2 * pi * noise)
                elif channel == "sign":
                    weight *= (field >= 0) == (value > 0)
                else:
                    weight *= (1 + erf(value * field / sqrt(2 * noise))) / 2
            evidence += weight
            mean += weight * signal
        mean /= evidence
        expected = [log(evidence) / 4, mean @ teacher / 4, mean @ mean / 4]
        assert found[:3] == pytest.approx(expected, rel=1e-12), (prior, channel)
