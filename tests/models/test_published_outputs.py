"""Terms of the outputs of Bayes-optimal vectors against the published ones, one a test.

J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, PNAS 116 (2019) 5451, the
potential psi(r) + alpha Psi(q) - r q/2; L. Zdeborova and F. Krzakala, Adv. Phys. 65 (2016) 453.
The symmetric interval: B. Aubin, W. Perkins and L. Zdeborova, J. Phys. A 52 (2019) 294003.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy as sp
from mpmath import exp, log, mpf, npdf, quad, sqrt
from published_terms import agree, average, between, cdf, phi_of, point, same, slow, terms, xlogx

from replica.ingredients.channels import (
    GaussianNoise,
    LaplaceNoise,
    Logistic,
    MarginStep,
    Probit,
    Quantiser,
    ReLU,
    Sign,
    SymmetricInterval,
)
from replica.ingredients.priors import Gaussian
from replica.lowering.program import lower
from replica.models.teacher_student import TeacherStudent
from replica.symbols import alpha, delta, kappa, q, q_hat
from solvers.backends.float64 import Float64


def output_entropy(channel):
    """The term of the channel at alpha = 1."""
    return terms(phi_of(Gaussian(), channel), having=(alpha,)).subs(alpha, 1)


def reaction(channel):
    """G = q_hat/alpha."""
    return TeacherStudent(Gaussian(), channel).saddle_point().update(q_hat).subs(alpha, 1)


def levels(*chances):
    """Sum of p log p."""
    return sum(xlogx(p) for p in chances)


def test_gaussian_noise_output_entropy():
    """-(1/2) log 2 pi e (Delta + 1 - q)."""
    same(output_entropy(GaussianNoise()), -sp.log(2 * sp.pi * sp.E * (delta + 1 - q)) / 2)


def test_sign_channel_output_entropy():
    """2 E Phi(tz) log Phi(tz), t = sqrt(q/(1 - q)) (E. Gardner and B. Derrida, J. Phys. A 22 (1989) 1983)."""
    agree(
        output_entropy(Sign()),
        point(1, q),
        lambda o: 2 * average(lambda z: xlogx(cdf(sqrt(o / (1 - o)) * z))),
    )


@slow
def test_noise_on_labels_widens_the_field():
    """The same with t = sqrt(q/(Delta + 1 - q))."""
    agree(
        output_entropy(Probit()),
        point(2, q, delta),
        lambda o, noise: 2 * average(lambda z: xlogx(cdf(sqrt(o / (noise + 1 - o)) * z))),
    )


@slow
def test_margin_output_entropy():
    """E [p log p + (1 - p) log(1 - p)], p = Phi((sqrt(q) z - kappa)/sqrt(1 - q))."""

    def psi(o, k):
        return average(lambda z: levels(*(cdf(s * (sqrt(o) * z - k) / sqrt(1 - o)) for s in (1, -1))))

    agree(output_entropy(MarginStep()), point(3, q, kappa), psi)


@slow
def test_interval_output_entropy():
    """P(|h| < kappa | z) = Phi((kappa - sqrt(q) z)/sqrt(1 - q)) - Phi((-kappa - sqrt(q) z)/sqrt(1 - q))."""

    def psi(o, k):
        def body(z):
            low, high = ((s * k - sqrt(o) * z) / sqrt(1 - o) for s in (-1, 1))
            return levels(between(low, high), cdf(low) + cdf(-high))

        return average(body)

    agree(output_entropy(SymmetricInterval()), point(4, q, kappa), psi)


def quantised(o, z):
    """Distances of the thresholds -1, 0, 1 from the field sqrt(q) z."""
    return [mpf(-99), *((t - sqrt(o) * z) / sqrt(1 - o) for t in (-1, 0, 1)), mpf(99)]


@slow
def test_quantiser_output_entropy():
    """The sum over levels of p log p, p the chance of a level."""
    agree(
        output_entropy(Quantiser()),
        point(5, q),
        lambda o: average(lambda z: levels(*(between(a, b) for a, b in pairwise(quantised(o, z))))),
    )


@slow
def test_rectifier_output_entropy():
    """Half of the outputs are zero, with chance p = Phi(-tz); the others show their field: E p log p + half of the
    entropy of N(omega, 1 - q), cut at y = 0 (at y > 0 the density is that of h).
    """

    def psi(o):
        # E over omega of the integral over y > 0 of N(y; omega, v) log N(y; omega, v); y - omega ~ N(0, v) is
        # independent of omega, and positive y have chance 1/2 by symmetry: half of -(1/2) log(2 pi e v)
        return (
            average(lambda z: xlogx(cdf(-sqrt(o / (1 - o)) * z)))
            - log(2 * mpmath.pi * mpmath.e * (1 - o)) / 4
        )

    agree(output_entropy(ReLU(noisy=False)), point(6, q), psi)


@slow
def test_laplace_noise_output_entropy():
    """The entropy of a Laplace variable of variance Delta plus a Gaussian one of variance 1 - q."""

    def psi(o, noise):
        v, slope = 1 - o, sqrt(2 / noise)

        def density(u):
            return sum(
                exp(slope**2 * v / 2 + s * slope * u) * cdf((-s * u - slope * v) / sqrt(v)) for s in (1, -1)
            ) * (slope / 2)

        return 2 * quad(lambda u: xlogx(density(u)), [0, 1, 3, 8, 20, 60])

    agree(output_entropy(LaplaceNoise()), point(7, q, delta), psi, digits=20)


@slow
def test_noisy_labels_reaction_term():
    """(2/(Delta + 1 - q)) E phi(tz)^2/Phi(tz), t = sqrt(q/(Delta + 1 - q))."""

    def term(o, noise):
        t = sqrt(o / (noise + 1 - o))
        return 2 / (noise + 1 - o) * average(lambda z: npdf(t * z) ** 2 / cdf(t * z))

    agree(reaction(Probit()), point(2, q, delta), term)


@slow
def test_margin_reaction_term():
    """(1/(1 - q)) E phi(u)^2/(Phi(u) Phi(-u)), u = (sqrt(q) z - kappa)/sqrt(1 - q)."""

    def term(o, k):
        def body(z):
            u = (sqrt(o) * z - k) / sqrt(1 - o)
            return npdf(u) ** 2 / (cdf(u) * cdf(-u))

        return average(body) / (1 - o)

    agree(reaction(MarginStep()), point(3, q, kappa), term)


@slow
def test_interval_reaction_term():
    """(1/(1 - q)) E (phi(b) - phi(a))^2/(p (1 - p)), p = Phi(b) - Phi(a), a and b the ends seen from the field."""

    def term(o, k):
        def body(z):
            low, high = ((s * k - sqrt(o) * z) / sqrt(1 - o) for s in (-1, 1))
            inside, outside = between(low, high), cdf(low) + cdf(-high)
            return (npdf(high) - npdf(low)) ** 2 / (inside * outside)

        return average(body) / (1 - o)

    agree(reaction(SymmetricInterval()), point(4, q, kappa), term)


@slow
def test_quantiser_reaction_term():
    """(1/(1 - q)) E sum over levels (phi(b) - phi(a))^2/(Phi(b) - Phi(a))."""

    def term(o):
        def body(z):
            pairs = pairwise(quantised(o, z))
            return sum((npdf(b) - npdf(a)) ** 2 / between(a, b) for a, b in pairs)

        return average(body) / (1 - o)

    agree(reaction(Quantiser()), point(5, q), term)


@slow
def test_logistic_reaction_term():
    """2 E (E sigma'(h))^2/E sigma(h), h ~ N(sqrt(q) z, 1 - q), by two trapezoidal sums in doubles."""
    overlap, backend = 0.43, Float64()
    z = np.arange(-9, 9.001, 0.05)
    weight = np.exp(-(z**2) / 2) * 0.05 / np.sqrt(2 * np.pi)
    field = np.sqrt(overlap) * z[:, None] + np.sqrt(1 - overlap) * z[None, :]
    chance = 1 / (1 + np.exp(-field))
    expected = 2 * weight @ (((chance * (1 - chance)) @ weight) ** 2 / (chance @ weight))
    with backend.context():
        (found,) = lower([reaction(Logistic())], [q]).run(backend, 7, [overlap]).values
    assert float(found) == pytest.approx(expected, rel=1e-12)
