"""Terms of spiked matrices against the published ones, one a test.

T. Lesieur, F. Krzakala and L. Zdeborova, J. Stat. Mech. (2017) 073403; M. Lelarge and L. Miolane, Probab. Theory
Relat. Fields 173 (2019) 859; rectangular: L. Miolane, arXiv 1702.00473.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import mpmath
import pytest
import sympy as sp
from mpmath import log, mpf, sqrt
from published_terms import DIGITS, SIGNALS, agree, average, point, same, signal_entropy, slow, terms

from replica.expr.numeric import mp_function
from replica.ingredients.priors import Gaussian, Rademacher
from replica.models.spiked_matrix import CONJUGATE_OF_U, CONJUGATE_OF_V, Q_OF_U, Q_OF_V, SpikedMatrix
from replica.symbols import alpha, lam, q, q_hat, rho


@pytest.mark.parametrize("name", ["gaussian", "rademacher", "bernoulli", "gauss-bernoulli"])
def test_wigner_spike_is_a_scalar_channel(name):
    """Phi = psi(r) + lambda m^2/4 - r m/2, psi of the vector seen through a channel."""
    phi = SpikedMatrix(SIGNALS[name]).free_entropy().expression
    same(terms(phi, having=(q,)), lam * q**2 / 4 - q * q_hat / 2)
    assert terms(phi, without=(q,)) == signal_entropy(SIGNALS[name])


def test_wigner_potential_of_one_overlap():
    """At r = lambda m the published psi(lambda m) - lambda m^2/4, for a Gaussian spike."""
    phi = SpikedMatrix(Gaussian()).free_entropy().expression.subs(q_hat, lam * q)
    same(phi, lam * q / 2 - sp.log(1 + lam * q) / 2 - lam * q**2 / 4)


def test_wigner_conjugate_is_linear_in_the_overlap():
    """r = lambda m."""
    same(SpikedMatrix(Rademacher()).saddle_point().update(q_hat), lam * q)


def test_wigner_overlap_of_a_gaussian_spike():
    """m = 1 - 1/lambda beyond lambda = 1: the top eigenvector (J. Baik, G. Ben Arous and S. Peche 2005)."""
    saddle = SpikedMatrix(Gaussian()).saddle_point()
    m_star = 1 - 1 / lam
    same(saddle.update(q).subs(q_hat, saddle.update(q_hat)).subs(q, m_star), m_star)


@pytest.mark.parametrize(
    ("name", "moment"), [("rademacher", 1), ("bernoulli", rho), ("gauss-bernoulli", rho)]
)
def test_matrix_mmse(name, moment):
    """(E x^2)^2 - m^2."""
    same(dict(SpikedMatrix(SIGNALS[name]).observables({}))["matrix_mmse"], moment**2 - q**2)


def wishart(u, v):
    return SpikedMatrix(u, v)


def test_wishart_coupling_of_the_two_overlaps():
    """(lambda alpha/2) m_u m_v - (r_u m_u + alpha r_v m_v)/2: at r_u = lambda alpha m_v and r_v = lambda m_u the
    published -(lambda alpha/2) m_u m_v.
    """
    phi = wishart(Gaussian(), Rademacher()).free_entropy().expression
    coupling = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(Q_OF_U, Q_OF_V)))
    legendre = -(CONJUGATE_OF_U * Q_OF_U + alpha * CONJUGATE_OF_V * Q_OF_V) / 2
    same(coupling, lam * alpha * Q_OF_U * Q_OF_V / 2 + legendre)
    reduced = coupling.subs({CONJUGATE_OF_U: lam * alpha * Q_OF_V, CONJUGATE_OF_V: lam * Q_OF_U})
    same(reduced, -lam * alpha * Q_OF_U * Q_OF_V / 2)


def test_wishart_conjugates():
    """r_u = lambda alpha m_v and r_v = lambda m_u."""
    saddle = wishart(Gaussian(), Rademacher()).saddle_point()
    same(saddle.update(CONJUGATE_OF_U), lam * alpha * Q_OF_V)
    same(saddle.update(CONJUGATE_OF_V), lam * Q_OF_U)


def test_wishart_entropies_count_their_coordinates():
    """psi_u(r_u) + alpha psi_v(r_v)."""
    phi = wishart(Gaussian(), Rademacher()).free_entropy().expression
    rest = sp.Add(*(t for t in sp.Add.make_args(phi) if not t.has(Q_OF_U, Q_OF_V)))
    of_u = sp.Add(*(t for t in sp.Add.make_args(rest) if t.has_free(CONJUGATE_OF_U)))
    same(of_u, CONJUGATE_OF_U / 2 - sp.log(1 + CONJUGATE_OF_U) / 2)
    agree(
        rest - of_u,
        point(8, CONJUGATE_OF_V, alpha),
        lambda r, share: share * (average(lambda z: log(mpmath.cosh(r + sqrt(r) * z))) - r / 2),
    )


def test_wishart_overlap_of_gaussian_spikes():
    """m_u = (alpha lambda^2 - 1)/(lambda (1 + alpha lambda)) beyond alpha lambda^2 = 1 (D. Paul 2007)."""
    saddle = wishart(Gaussian(), Gaussian()).saddle_point()
    m_u = (alpha * lam**2 - 1) / (lam * (1 + alpha * lam))
    strength = saddle.update(CONJUGATE_OF_V).subs(Q_OF_U, m_u)
    m_v = saddle.update(Q_OF_V).subs(CONJUGATE_OF_V, strength)
    strength = saddle.update(CONJUGATE_OF_U).subs(Q_OF_V, m_v)
    same(saddle.update(Q_OF_U).subs(CONJUGATE_OF_U, strength), m_u)


@pytest.mark.parametrize("name", ["gaussian", "rademacher", pytest.param("sparse rademacher", marks=slow)])
def test_wishart_weak_recovery_threshold(name):
    """Both overlaps grow with slope (E x^2)^2 = 1 from no recovery: the product of slopes is alpha lambda^2."""
    saddle = wishart(SIGNALS[name], SIGNALS[name]).saddle_point()
    small, at = sp.Rational(1, 10**12), {rho: sp.Rational(2, 5)}
    with mpmath.workdps(DIGITS):
        slope = mp_function(saddle.update(Q_OF_V).subs(CONJUGATE_OF_V, small).subs(at), ())() / mpf(10) ** -12
        assert abs(slope - 1) < mpf(10) ** -10
    through = saddle.update(CONJUGATE_OF_U).diff(Q_OF_V) * saddle.update(CONJUGATE_OF_V).diff(Q_OF_U)
    same(through, alpha * lam**2)
