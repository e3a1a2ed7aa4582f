"""Terms of the penalty of empirical risks against the published ones, one a test.

B. Aubin, F. Krzakala, Y. Lu and L. Zdeborova, arXiv 2006.06560; B. Loureiro et al.,
arXiv 2102.08127; the lasso: M. Bayati and A. Montanari, IEEE Trans. Inf. Theory 58 (2012) 1997.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import mpmath
import pytest
import sympy as sp
from mpmath import mpf, sqrt
from published_terms import RIDGE, agree, average, point, risk, same, slow, terms

from replica.ingredients.channels import GaussianNoise, Sign
from replica.ingredients.losses import HingeLoss, SquareLoss
from replica.ingredients.penalties import L1, L2, ElasticNet
from replica.ingredients.priors import Bernoulli, GaussBernoulli, SparseRademacher
from replica.symbols import V, V_hat, alpha, ell, lam, m, m_hat, q, q_hat, rho

LASSO = risk(GaussianNoise(), SquareLoss(), L1(), GaussBernoulli())

NET = risk(GaussianNoise(), SquareLoss(), ElasticNet(), GaussBernoulli())


def self_energy(model):
    """The part of Phi with conjugates only."""
    return terms(model.free_entropy().expression, without=(m, q, V, alpha))


@pytest.mark.parametrize("model", [RIDGE, LASSO, risk(Sign(), HingeLoss())], ids=["ridge", "lasso", "hinge"])
def test_coupling_of_the_three_overlaps(model):
    """-m m_hat + (q V_hat - V q_hat)/2."""
    phi = model.free_entropy().expression
    coupling = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(m, q, V) and t.has(m_hat, q_hat, V_hat)))
    same(coupling, -m * m_hat + (q * V_hat - V * q_hat) / 2)


def test_ridge_self_energy_of_the_penalty():
    """(m_hat^2 + q_hat)/(2 (lambda + V_hat))."""
    same(self_energy(RIDGE), (m_hat**2 + q_hat) / (2 * (lam + V_hat)))


@slow
@pytest.mark.parametrize(
    ("prior", "mixed"), [(Bernoulli(), rho), (GaussBernoulli(), rho), (SparseRademacher(), 1)], ids=str
)
def test_ridge_sees_only_the_second_moment_of_the_teacher(prior, mixed):
    """(E w*^2 m_hat^2 + q_hat)/(2 (lambda + V_hat)) and m = E w*^2 m_hat/(lambda + V_hat)."""
    model = risk(GaussianNoise(), SquareLoss(), L2(), prior)
    same(self_energy(model), (mixed * m_hat**2 + q_hat) / (2 * (lam + V_hat)))
    same(model.saddle_point().update(m), mixed * m_hat / (lam + V_hat))


def sparse_teacher(body, strength, noise, p):
    """Average over the field B = m_hat w* + sqrt(q_hat) z on a weight, w* ~ N(0, 1) with probability p, else 0:
    body(B, E[w*|B]).
    """
    total = strength**2 + noise
    kinks = body.threshold / sqrt(total), -body.threshold / sqrt(total)
    found = p * average(lambda z: body(sqrt(total) * z, strength * z / sqrt(total)), *kinks)
    kinks = body.threshold / sqrt(noise), -body.threshold / sqrt(noise)
    return found + (1 - p) * average(lambda z: body(sqrt(noise) * z, 0), *kinks)


class Shrunk:
    """A function of the excess |B| - threshold, zero inside; with the sign of B and the teacher's mean."""

    def __init__(self, threshold, function):
        self.threshold, self.function = threshold, function

    def __call__(self, field, teacher):
        excess = abs(field) - self.threshold
        return self.function(excess, mpmath.sign(field), teacher) if excess > 0 else mpf(0)


def test_lasso_self_energy_of_the_penalty():
    """E (|B| - lambda)_+^2/(2 V_hat)."""
    agree(
        self_energy(LASSO),
        point(1, m_hat, q_hat, V_hat, lam, rho),
        lambda a, b, c, d, p: sparse_teacher(Shrunk(d, lambda e, _, __: e**2 / (2 * c)), a, b, p),
    )


@slow
def test_elastic_net_self_energy_of_the_penalty():
    """E (|B| - l lambda)_+^2/(2 (V_hat + (1 - l) lambda))."""
    agree(
        self_energy(NET),
        point(2, m_hat, q_hat, V_hat, lam, ell, rho),
        lambda a, b, c, d, share, p: sparse_teacher(
            Shrunk(share * d, lambda e, _, __: e**2 / (2 * (c + (1 - share) * d))), a, b, p
        ),
    )


@pytest.mark.parametrize(
    ("unknown", "body"),
    [
        (m, lambda c: lambda excess, sign, teacher: teacher * sign * excess / c),
        (q, lambda c: lambda excess, sign, teacher: (excess / c) ** 2),
        (V, lambda c: lambda excess, sign, teacher: 1 / c),
    ],
    ids=["m", "q", "V"],
)
def test_lasso_soft_threshold(unknown, body):
    """m = E w* eta, q = E eta^2, V = E eta', eta = sign(B) (|B| - lambda)_+/V_hat."""
    agree(
        LASSO.saddle_point().update(unknown),
        point(3, m_hat, q_hat, V_hat, lam, rho),
        lambda a, b, c, d, p: sparse_teacher(Shrunk(d, body(c)), a, b, p),
    )
