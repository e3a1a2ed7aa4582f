"""Terms of the signal of Bayes-optimal vectors against the published ones, one a test.

J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, PNAS 116 (2019) 5451, the
potential psi(r) + alpha Psi(q) - r q/2; L. Zdeborova and F. Krzakala, Adv. Phys. 65 (2016) 453.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import mpmath
import pytest
from mpmath import exp, log, mpf, sqrt, tanh
from published_terms import (
    SIGNALS,
    agree,
    average,
    cdf,
    phi_of,
    point,
    same,
    sigmoid,
    signal_entropy,
    slow,
    terms,
    xlogx,
)

from replica.ingredients.channels import GaussianNoise
from replica.ingredients.priors import (
    Bernoulli,
    GaussBernoulli,
    Gaussian,
    Laplace,
    Rademacher,
    SparseRademacher,
)
from replica.models.teacher_student import TeacherStudent
from replica.symbols import q, q_hat, rho


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=slow) if n in ("laplace", "gauss-bernoulli") else n for n in SIGNALS]
)
def test_coupling_of_overlap_and_conjugate(name):
    """-r q/2, whatever the prior."""
    same(terms(phi_of(SIGNALS[name]), having=(q, q_hat)), -q * q_hat / 2)


def test_entropy_of_a_binary_signal():
    """psi(r) = E log cosh(r + sqrt(r) z) - r/2."""
    agree(
        signal_entropy(Rademacher()),
        point(1, q_hat),
        lambda r: average(lambda z: log(mpmath.cosh(r + sqrt(r) * z))) - r / 2,
    )


def test_entropy_of_an_occupied_site():
    """psi(r) = rho E log(1 - rho + rho e^(r/2 + sqrt(r) z)) + (1 - rho) E log(1 - rho + rho e^(-r/2 + sqrt(r) z))."""

    def psi(r, p):
        occupied = average(lambda z: log(1 - p + p * exp(r / 2 + sqrt(r) * z)))
        return p * occupied + (1 - p) * average(lambda z: log(1 - p + p * exp(-r / 2 + sqrt(r) * z)))

    agree(signal_entropy(Bernoulli()), point(2, q_hat, rho), psi)


@slow
def test_entropy_of_a_sparse_binary_signal():
    """Values +-s, s = 1/sqrt(rho): E log(1 - rho + rho e^(-r s^2/2) cosh(s (r x* + sqrt(r) z)))."""

    def psi(r, p):
        s = 1 / sqrt(p)

        def given(x):
            return average(
                lambda z: log(1 - p + p * exp(-r / (2 * p)) * mpmath.cosh(s * (r * x + sqrt(r) * z)))
            )

        return p * given(s) + (1 - p) * given(0)

    agree(signal_entropy(SparseRademacher()), point(3, q_hat, rho), psi)


@slow
def test_entropy_of_a_sparse_gaussian_signal():
    """E log(1 - rho + rho e^(B^2/(2 (1 + r)))/sqrt(1 + r)), B = r x* + sqrt(r) z of variance r (1 + r) where x* is
    not 0.
    """

    def psi(r, p):
        def given(variance):
            return average(
                lambda z: log(1 - p + p * exp(variance * z**2 / (2 * (1 + r))) / sqrt(1 + r)),
            )

        return p * given(r * (1 + r)) + (1 - p) * given(r)

    agree(signal_entropy(GaussBernoulli()), point(4, q_hat, rho), psi)


def laplace_partition(field, r):
    """E e^(B x - r x^2/2) over exp(-sqrt(2) |x|)/sqrt(2): one error function a side."""
    slopes = field - sqrt(mpf(2)), -field - sqrt(mpf(2))
    return sqrt(mpmath.pi / r) * sum(exp(s**2 / (2 * r)) * cdf(s / sqrt(r)) for s in slopes)


@slow
def test_entropy_of_a_laplace_signal():
    """E_{B ~ N(0, r)} Z log Z."""

    def psi(r):
        return average(lambda z: xlogx(laplace_partition(sqrt(r) * z, r)), reach=60)

    agree(signal_entropy(Laplace()), point(5, q_hat), psi)


def overlap_of(prior):
    return TeacherStudent(prior, GaussianNoise()).saddle_point().update(q)


def test_overlap_of_a_gaussian_signal():
    """r/(1 + r)."""
    same(overlap_of(Gaussian()), q_hat / (1 + q_hat))


def test_overlap_of_a_binary_signal_with_the_teacher():
    """E tanh(r + sqrt(r) z): that it equals E tanh^2 is the Nishimori identity."""
    agree(
        overlap_of(Rademacher()),
        point(1, q_hat),
        lambda r: average(lambda z: tanh(r + sqrt(r) * z)),
    )


@slow
def test_overlap_of_an_occupied_site_with_the_teacher():
    """E x* <x> = rho E sigma(log(rho/(1 - rho)) + r/2 + sqrt(r) z)."""
    agree(
        overlap_of(Bernoulli()),
        point(2, q_hat, rho),
        lambda r, p: p * average(lambda z: sigmoid(log(p / (1 - p)) + r / 2 + sqrt(r) * z)),
    )


@slow
def test_overlap_of_a_sparse_binary_signal_with_the_teacher():
    """rho s E <x>, given x* = s = 1/sqrt(rho)."""

    def overlap(r, p):
        s = 1 / sqrt(p)

        def mean(z):
            field, weight = s * (r * s + sqrt(r) * z), p * exp(-r / (2 * p))
            return s * weight * mpmath.sinh(field) / (1 - p + weight * mpmath.cosh(field))

        return p * s * average(mean)

    agree(overlap_of(SparseRademacher()), point(3, q_hat, rho), overlap)


@slow
def test_overlap_of_a_sparse_gaussian_signal_with_the_teacher():
    """E x* <x> = rho E [B/(1 + r)]^2 pi(B): E[x*|B] = B/(1 + r) on the support, pi the chance to be there; B of
    variance r (1 + r) there (compressed sensing, F. Krzakala et al., Phys. Rev. X 2 (2012) 021005).
    """

    def overlap(r, p):
        def body(z):
            square = r * (1 + r) * z**2
            support = sigmoid(log(p / (1 - p)) - log(1 + r) / 2 + square / (2 * (1 + r)))
            return square / (1 + r) ** 2 * support

        return p * average(body)

    agree(overlap_of(GaussBernoulli()), point(4, q_hat, rho), overlap)


@slow
def test_overlap_of_a_laplace_signal():
    """E <x>^2 with <x> = d log Z/dB by differences of the partition function."""

    def overlap(r):
        step = mpf(10) ** -6

        def body(z):
            field = sqrt(r) * z
            ends = [laplace_partition(field + k * step, r) for k in (-2, -1, 1, 2)]
            slope = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
            return slope**2 / laplace_partition(field, r)

        return average(body, reach=60)

    agree(overlap_of(Laplace()), point(5, q_hat), overlap, digits=18)
