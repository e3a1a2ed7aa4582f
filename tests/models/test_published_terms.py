"""The derived equations against the published ones, one term a test.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's: E x* <x> for E <x>^2, an average over z ~ N(0, 1) for one over the
field), and averaged by mpmath at 30 digits, sharing no code. Terms without an average are compared as expressions.

- Bayes-optimal vectors: J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, PNAS 116 (2019) 5451, the
  potential psi(r) + alpha Psi(q) - r q/2; L. Zdeborova and F. Krzakala, Adv. Phys. 65 (2016) 453. The symmetric
  interval: B. Aubin, W. Perkins and L. Zdeborova, J. Phys. A 52 (2019) 294003.
- Spiked matrices: T. Lesieur, F. Krzakala and L. Zdeborova, J. Stat. Mech. (2017) 073403; M. Lelarge and
  L. Miolane, Probab. Theory Relat. Fields 173 (2019) 859; rectangular: L. Miolane, arXiv 1702.00473.
- Empirical risks: B. Aubin, F. Krzakala, Y. Lu and L. Zdeborova, arXiv 2006.06560; B. Loureiro et al.,
  arXiv 2102.08127; the lasso: M. Bayati and A. Montanari, IEEE Trans. Inf. Theory 58 (2012) 1997.
- Quadratic networks of extensive width: A. Maillard et al., arXiv 2408.03733.
- Bilinear sequence regression: V. Erba et al., arXiv 2410.18858.

Other terms of the same equations are in the tests of each model.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import random
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy as sp
from mpmath import erfc, exp, log, mpf, npdf, quad, sqrt, tanh

from replica.expr.numeric import mp_function
from replica.expr.spectral import LogPotential, SpectralDensity, SpectralIntegral
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
from replica.ingredients.losses import (
    AbsoluteLoss,
    HingeLoss,
    HuberLoss,
    LogisticLoss,
    SquaredHingeLoss,
    SquareLoss,
)
from replica.ingredients.penalties import L1, L2, ElasticNet
from replica.ingredients.priors import (
    Bernoulli,
    GaussBernoulli,
    Gaussian,
    Laplace,
    Rademacher,
    SparseRademacher,
)
from replica.lowering.program import lower
from replica.models.bsr import BilinearSequenceRegression
from replica.models.empirical_risk import EmpiricalRisk
from replica.models.quadratic_network import QuadraticNetwork
from replica.models.spiked_matrix import CONJUGATE_OF_U, CONJUGATE_OF_V, Q_OF_U, Q_OF_V, SpikedMatrix
from replica.models.teacher_student import TeacherStudent
from replica.symbols import V, V_hat, alpha, beta, delta, ell, kappa, lam, m, m_hat, q, q_hat, rho
from solvers.backends.float64 import Float64

DIGITS = 30

slow = pytest.mark.slow


# -- comparison ----------------------------------------------------------------------------------------------


def point(seed, *symbols):
    """Random rationals in (1/10, 9/10), the same in every run."""
    rng = random.Random(seed)
    return {s: sp.Rational(rng.randrange(100, 900), 1000) for s in symbols}


def number(rational):
    """An exact rational at mpmath's precision."""
    return mpf(int(rational.p)) / int(rational.q)


def agree(expression, at, published, digits=25):
    """The expression at a point is the published term, a function of the values in the order of the point."""
    with mpmath.workdps(DIGITS):
        found = mp_function(expression.subs(at), ())()
        expected = published(*map(number, at.values()))
        assert abs(found - expected) < mpf(10) ** -digits * max(1, abs(expected)), (found, expected)


def average(function, *kinks, reach=14):
    """E function(z), z ~ N(0, 1): a trapezoidal sum where the function is smooth, panels between its kinks."""
    if not kinks:
        step = mpf(1) / 16
        return step * mpmath.fsum(
            function(k * step) * npdf(k * step) for k in range(-16 * reach, 16 * reach + 1)
        )
    inside = {mpf(k) for k in kinks if abs(k) < 14}
    return quad(lambda z: function(z) * npdf(z), sorted(inside | {mpf(k) for k in (-14, -4, 0, 4, 14)}))


def cdf(x):
    """The distribution of N(0, 1)."""
    return erfc(-x / sqrt(mpf(2))) / 2


def sigmoid(x):
    """1/(1 + exp(-x))."""
    return 1 / (1 + exp(-x))


def xlogx(x):
    """x log x."""
    return x * log(x) if x > 0 else mpf(0)


def between(a, b):
    """The chance of (a, b) under N(0, 1), without cancellation in the tails."""
    return cdf(b) - cdf(a) if a < 0 else cdf(-a) - cdf(-b)


def terms(expression, *, having=(), without=()):
    """The sum of the terms with the first symbols and without the others."""
    chosen = (
        t
        for t in sp.Add.make_args(sp.expand_mul(expression, deep=False))
        if all(t.has_free(s) for s in having) and not any(t.has_free(s) for s in without)
    )
    return sp.Add(*chosen)


def same(left, right):
    """Two expressions without averages are equal: at random points to 25 digits."""
    difference = sp.sympify(left - right)
    for seed in (1, 2):
        at = point(seed, *sorted(difference.free_symbols, key=str))
        assert abs(difference.evalf(DIGITS, subs=at)) < mpf(10) ** -25, difference


# -- a vector through a channel: the signal ------------------------------------------------------------------

SIGNALS = {
    "gaussian": Gaussian(),
    "rademacher": Rademacher(),
    "bernoulli": Bernoulli(),
    "sparse rademacher": SparseRademacher(),
    "gauss-bernoulli": GaussBernoulli(),
    "laplace": Laplace(),
}


def phi_of(prior=None, channel=None):
    return TeacherStudent(prior or Gaussian(), channel or GaussianNoise()).free_entropy().expression


def signal_entropy(prior):
    return terms(phi_of(prior), having=(q_hat,), without=(q,))


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


# -- a vector through a channel: the outputs -----------------------------------------------------------------


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


# -- spiked matrices -----------------------------------------------------------------------------------------


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


# -- empirical risks: the penalty ----------------------------------------------------------------------------


def risk(*ingredients):
    return EmpiricalRisk(*ingredients)


RIDGE = risk(GaussianNoise(), SquareLoss())
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


# -- empirical risks: the loss -------------------------------------------------------------------------------


def at_labels(seed):
    """m, q, V with m^2 < q (the teacher has norm 1)."""
    at = point(seed, m, V)
    return {m: at[m], q: at[m] ** 2 + sp.Rational(1, 3), V: at[V]}


def loss_energy(model):
    """Minus the energy of the loss per sample."""
    return terms(model.free_entropy().expression, having=(alpha,)).subs(alpha, 1)


def labelled(function, kinks, a, b):
    """2 E Phi(m omega/sqrt(q (q - m^2))) function(omega): labels sign(h*) make two equal halves, margin omega."""
    slope = a / sqrt(b * (b - a**2))
    return 2 * average(
        lambda z: cdf(slope * sqrt(b) * z) * function(sqrt(b) * z), *(k / sqrt(b) for k in kinks)
    )


def test_square_loss_energy():
    """-(Delta + 1 + q - 2 m)/(2 (1 + V))."""
    same(loss_energy(RIDGE), -(delta + 1 + q - 2 * m) / (2 * (1 + V)))


def test_square_loss_on_labels():
    """-(1 + q - 2 m sqrt(2/pi))/(2 (1 + V)): a label is worth sqrt(2/pi) of its field."""
    model, weight = risk(Sign(), SquareLoss()), sp.sqrt(2 / sp.pi)
    for term, published in (
        (loss_energy(model), -(1 + q - 2 * m * weight) / (2 * (1 + V))),
        (model.saddle_point().update(m_hat).subs(alpha, 1), weight / (1 + V)),
        (model.saddle_point().update(q_hat).subs(alpha, 1), (1 + q - 2 * m * weight) / (1 + V) ** 2),
        (model.saddle_point().update(V_hat).subs(alpha, 1), 1 / (1 + V)),
    ):
        for seed in (1, 2):
            at = at_labels(seed)
            agree(term, at, lambda *_, p=published, at=at: sp.N(p.subs(at), DIGITS)._to_mpmath(110))


def test_hinge_energy():
    """The envelope is 0 beyond the margin 1, (1 - u)^2/(2 V) within V of it, 1 - u - V/2 before."""

    def energy(a, b, v):
        def envelope(u):
            return max(0, 1 - u - v / 2) if u < 1 - v else max(0, 1 - u) ** 2 / (2 * v)

        return -labelled(envelope, (1, 1 - v), a, b)

    agree(loss_energy(risk(Sign(), HingeLoss())), at_labels(3), energy)


@slow
def test_squared_hinge_energy():
    """(1 - u)_+^2/(2 (1 + V))."""
    agree(
        loss_energy(risk(Sign(), SquaredHingeLoss())),
        at_labels(4),
        lambda a, b, v: -labelled(lambda u: max(0, 1 - u) ** 2 / (2 * (1 + v)), (1,), a, b),
    )


def hinge_response(u, v):
    """f = (prox - u)/V of the hinge: 1 far before the margin, (1 - u)/V near it, 0 beyond."""
    return min(mpf(1), max(mpf(0), (1 - u) / v))


def test_hinge_reaction_to_the_noise():
    """q_hat/alpha = E f^2."""
    agree(
        risk(Sign(), HingeLoss()).saddle_point().update(q_hat).subs(alpha, 1),
        at_labels(5),
        lambda a, b, v: labelled(lambda u: hinge_response(u, v) ** 2, (1, 1 - v), a, b),
    )


def test_hinge_curvature_counts_the_support_vectors():
    """V_hat/alpha = -E df/domega: the chance of a margin in (1 - V, 1), over V."""
    agree(
        risk(Sign(), HingeLoss()).saddle_point().update(V_hat).subs(alpha, 1),
        at_labels(6),
        lambda a, b, v: labelled(lambda u: 1 / v if 1 - v < u < 1 else mpf(0), (1, 1 - v), a, b),
    )


def test_hinge_pull_towards_the_teacher():
    """m_hat/alpha = E f d log Z_0/domega_0: 2 E f(u) N(kept field; 0), with the teacher's field h* given omega of
    mean m omega/q and variance 1 - m^2/q, whose density at the boundary h* = 0 is the derivative of Z_0.
    """

    def pull(a, b, v):
        spread = sqrt(1 - a**2 / b)

        def body(z):
            u = sqrt(b) * z
            return hinge_response(u, v) * npdf(a * u / b / spread) / spread

        return 2 * average(body, 1 / sqrt(b), (1 - v) / sqrt(b))

    agree(risk(Sign(), HingeLoss()).saddle_point().update(m_hat).subs(alpha, 1), at_labels(7), pull)


def at_residuals(seed, *others):
    """m, q, V, Delta and others: the residual y - omega has variance Delta + 1 + q - 2 m."""
    at = point(seed, m, q, V, delta, *others)
    return {**at, q: at[m] ** 2 + at[q]}


@slow
def test_huber_energy():
    """r^2/(2 (1 + V)) for |r| < kappa (1 + V), else kappa |r| - kappa^2 (1 + V)/2."""

    def energy(a, b, v, noise, k):
        spread, knee = sqrt(noise + 1 + b - 2 * a), k * (1 + v)

        def envelope(r):
            return r**2 / (2 * (1 + v)) if abs(r) < knee else k * abs(r) - k * knee / 2

        return -average(lambda z: envelope(spread * z), knee / spread, -knee / spread)

    agree(loss_energy(risk(GaussianNoise(), HuberLoss())), at_residuals(1, kappa), energy)


@slow
def test_huber_reaction_to_the_noise():
    """q_hat/alpha = E f^2, f = r/(1 + V) cut at kappa."""

    def term(a, b, v, noise, k):
        spread, knee = sqrt(noise + 1 + b - 2 * a), k * (1 + v)
        return average(lambda z: min(k, abs(spread * z) / (1 + v)) ** 2, knee / spread, -knee / spread)

    saddle = risk(GaussianNoise(), HuberLoss()).saddle_point()
    agree(saddle.update(q_hat).subs(alpha, 1), at_residuals(2, kappa), term)


def test_absolute_energy():
    """|r| - V/2 for |r| > V, else r^2/(2 V)."""

    def energy(a, b, v, noise):
        spread = sqrt(noise + 1 + b - 2 * a)

        def envelope(r):
            return r**2 / (2 * v) if abs(r) < v else abs(r) - v / 2

        return -average(lambda z: envelope(spread * z), v / spread, -v / spread)

    agree(loss_energy(risk(GaussianNoise(), AbsoluteLoss())), at_residuals(3), energy)


def proximal(field, v):
    """The root of p = omega + V sigma(-p), between omega and omega + V: bisection, then Newton."""
    low, high = field, field + v
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < field + v * sigmoid(-middle) else (low, middle)
    p = (low + high) / 2
    for _ in range(4):
        s = sigmoid(-p)
        p -= (p - field - v * s) / (1 + v * s * (1 - s))
    return p


@slow
def test_logistic_energy():
    """(p - u)^2/(2 V) + log(1 + e^-p) at the proximal point p."""

    def energy(a, b, v):
        def envelope(u):
            p = proximal(u, v)
            return (p - u) ** 2 / (2 * v) + mpmath.log1p(exp(-p))

        return -labelled(envelope, (), a, b)

    agree(loss_energy(risk(Sign(), LogisticLoss())), at_labels(8), energy, digits=18)


@slow
def test_logistic_reaction_to_the_noise():
    """q_hat/alpha = E sigma(-p)^2."""
    agree(
        risk(Sign(), LogisticLoss()).saddle_point().update(q_hat).subs(alpha, 1),
        at_labels(9),
        lambda a, b, v: labelled(lambda u: sigmoid(-proximal(u, v)) ** 2, (), a, b),
        digits=18,
    )


@slow
def test_logistic_curvature():
    """V_hat/alpha = E s (1 - s)/(1 + V s (1 - s)), s = sigma(p)."""

    def term(a, b, v):
        def body(u):
            s = sigmoid(proximal(u, v))
            return s * (1 - s) / (1 + v * s * (1 - s))

        return labelled(body, (), a, b)

    agree(
        risk(Sign(), LogisticLoss()).saddle_point().update(V_hat).subs(alpha, 1),
        at_labels(10),
        term,
        digits=18,
    )


# -- matrices of extensive rank ------------------------------------------------------------------------------

BSR, NETWORK = BilinearSequenceRegression(), QuadraticNetwork()


def log_energy(a, b, density, size=2048):
    """int int rho rho log|x - y| and int rho log x of a density on [a, b], by its moments in Chebyshev polynomials:
    with x = c + r cos t, log|x - y| = log(r/2) - sum_k (2/k) cos(k t) cos(k s).
    """
    angle = (np.arange(size) + 0.5) * np.pi / size
    centre, radius = (a + b) / 2, (b - a) / 2
    x = centre + radius * np.cos(angle)
    weight = density(x) * radius * np.sin(angle) * np.pi / size
    k = np.arange(1, 400)
    moments = np.cos(k[:, None] * angle) @ weight
    return np.log(radius / 2) - np.sum(2 / k * moments**2), weight @ np.log(x) if a > 0 else None


def spectral_term(model):
    """The integral over the law of the observed signal and the rest of Phi."""
    phi = model.free_entropy().expression
    (integral,) = phi.atoms(SpectralIntegral)
    assert phi.coeff(integral) == -1
    return integral, phi + integral


def densities(body):
    """The density and the potential of the law at x, as plain symbols."""
    names = {SpectralDensity: sp.Symbol("varrho"), LogPotential: sp.Symbol("U")}
    return body.replace(lambda e: isinstance(e, tuple(names)), lambda e: names[type(e)])


def test_bilinear_output_entropy():
    """-(alpha/2) log 2 pi (Delta + 1 - q) - alpha/2."""
    _, rest = spectral_term(BSR)
    same(rest.diff(alpha), -sp.log(2 * sp.pi * (delta + 1 - q)) / 2 - sp.Rational(1, 2))


def test_bilinear_coupling():
    """(q_hat/2)(1 - q) - (1/2) log q_hat, beside the potentials: the rest knows neither q nor q_hat."""
    _, rest = spectral_term(BSR)
    others = rest.subs(alpha, 0)
    same(others.diff(q), -q_hat / 2)
    same(others.diff(q_hat), (1 - q) / 2 - 1 / (2 * q_hat))


def test_bilinear_interaction_of_the_eigenvalues():
    """(1/(2 beta)) int int rho rho log|x - y| + ((beta - 1)/(2 beta)) int rho log x."""
    integral, _ = spectral_term(BSR)
    x = integral.bound_symbols[0]
    density, potential = sp.symbols("varrho U")
    expected = density * (potential / (2 * beta) + (beta - 1) / (2 * beta) * sp.log(x))
    assert sp.expand(densities(integral.body) - expected) == 0


@pytest.mark.parametrize("aspect", ["5/4", "2", "7"])
def test_bilinear_energy_of_pure_noise(aspect):
    """The same functional of the Marchenko-Pastur law, on which beta = L/d leaves the constants of Phi: its
    published value, and by quadrature.
    """
    _, rest = spectral_term(BSR)
    b = sp.Rational(aspect)
    found = rest.subs({alpha: 0, q: 1, q_hat: 1, beta: b})
    published = -sp.Rational(1, 4) - sp.log(b) / 2
    published += (b**2 * sp.log(b) - (b - 1) ** 2 * sp.log(b - 1)) / (4 * b)
    assert abs((sp.expand_func(found) - published).evalf(DIGITS)) < 1e-25
    ratio = float(b)
    edges = (1 - ratio**-0.5) ** 2, (1 + ratio**-0.5) ** 2
    pairs, singles = log_energy(
        *edges, lambda x: ratio * np.sqrt((edges[1] - x) * (x - edges[0])) / (2 * np.pi * x)
    )
    assert float(published) == pytest.approx(
        pairs / (2 * ratio) + (ratio - 1) / (2 * ratio) * singles, abs=1e-12
    )


def test_quadratic_network_output_entropy():
    """-(alpha/2) log 2 pi (Delta + 2 (Q_0 - q)) - alpha/2, Q_0 = 1 + 1/kappa."""
    _, rest = spectral_term(NETWORK)
    error = 1 + 1 / kappa - q
    same(rest.diff(alpha), -sp.log(2 * sp.pi * (delta + 2 * error)) / 2 - sp.Rational(1, 2))


def test_quadratic_network_coupling():
    """(q_hat/4)(Q_0 - q) - (1/4) log q_hat, and the constant -1/8 that makes the entropy of pure noise zero."""
    _, rest = spectral_term(NETWORK)
    error = 1 + 1 / kappa - q
    rest = rest.subs(alpha, 0)
    same(rest, q_hat * error / 4 - sp.log(q_hat) / 4 - sp.Rational(1, 8))
    # at signal zero the observed law is the semicircle of radius 2/sqrt(q_hat): its energy is -1/4 - log(q_hat)/2
    pairs, _ = log_energy(-2, 2, lambda x: np.sqrt(4 - x**2) / (2 * np.pi))
    assert pairs / 2 == pytest.approx(-1 / 8, abs=1e-12)


def test_quadratic_network_interaction_of_the_eigenvalues():
    """(1/2) int int rho rho log|x - y|."""
    integral, _ = spectral_term(NETWORK)
    density, potential = sp.symbols("varrho U")
    assert sp.expand(densities(integral.body) - density * potential / 2) == 0


def test_quadratic_network_error_of_the_denoiser():
    """Q_0 - q = 1/q_hat - (4 pi^2/(3 q_hat^2)) int rho^3."""
    update = NETWORK.saddle_point().update(q)
    (integral,) = update.atoms(SpectralIntegral)
    assert densities(integral.body) == sp.Rational(4, 3) * sp.pi**2 * sp.Symbol("varrho") ** 3
    same(update.subs(integral, sp.Symbol("I")), 1 + 1 / kappa - 1 / q_hat + sp.Symbol("I") / q_hat**2)


def test_bilinear_error_of_the_denoiser():
    """1 - q = 1/q_hat - (1/q_hat^2) int [4 pi^2 x rho^3/(3 beta^2) + (beta - 1)^2 rho/(beta^2 x)]."""
    update = BSR.saddle_point().update(q)
    (integral,) = update.atoms(SpectralIntegral)
    x, density = integral.bound_symbols[0], sp.Symbol("varrho")
    expected = 4 * sp.pi**2 * x * density**3 / (3 * beta**2) + (beta - 1) ** 2 * density / (beta**2 * x)
    assert sp.expand(densities(integral.body) - expected) == 0
    same(update.subs(integral, sp.Symbol("I")), 1 - 1 / q_hat + sp.Symbol("I") / q_hat**2)
