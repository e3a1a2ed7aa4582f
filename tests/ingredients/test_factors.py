"""The prior of two Gaussian factors: constants, laws against sampled signals, symmetry."""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from scipy.special import gammaln

from replica.expr.spectral import HilbertTransform, SpectralDensity, SpectralIntegral
from replica.expr.spectral_numeric import evaluate_spectral
from replica.expr.stable import xlogx
from replica.ingredients.factors import GaussianFactors
from replica.lowering.program import lower
from replica.symbols import beta, q_hat, rho
from solvers.backends.float64 import Float64

PRIOR = GaussianFactors()
x, g = sp.Symbol("x", positive=True), sp.Symbol("g_Y")


@functools.cache
def lowered(expr, names):
    symbols = {"beta": beta, "rho": rho, "q_hat": q_hat}
    return lower([expr], [symbols[k] for k in names])


def in_doubles(expr, **point):
    backend = Float64()
    with backend.context():
        result = lowered(expr, tuple(point)).run(backend, 6, [float(v) for v in point.values()])
    return float(np.asarray(result.values[0]))


def sampled(size, ratio, rank, noise, rng):
    columns, inner = round(ratio * size), round(rank * size)
    s = rng.standard_normal((size, inner)) @ rng.standard_normal((inner, columns)) / np.sqrt(inner)
    return s, s + np.sqrt(noise) * rng.standard_normal(s.shape)


# --- the log-energy of pure noise ---------------------------------------------------------------------------


def closed(b):
    """-1/4 - (1/2) ln b + (b^2 ln b - (b-1)^2 ln(b-1))/(4 b)."""
    return (
        -0.25 - np.log(b) / 2 + (b**2 * np.log(b) - ((b - 1) ** 2 * np.log(b - 1) if b > 1 else 0)) / (4 * b)
    )


def test_noise_log_energy_is_the_pinned_formula():
    pinned = (
        -sp.Rational(1, 4)
        - sp.log(beta) / 2
        + (beta**2 * sp.log(beta) - (beta - 1) * xlogx(beta - 1)) / (4 * beta)
    )
    for b in (sp.Rational(1), sp.Rational(17, 10), sp.Integer(40)):
        difference = (PRIOR.noise_log_energy() - pinned).subs(beta, b)
        assert abs(sp.N(difference, 50, chop=True)) < sp.Rational(1, 10**45)
    assert PRIOR.noise_log_energy().subs(beta, 1) == -sp.Rational(1, 4)  # x log x at 0: nothing infinite


@pytest.mark.parametrize("b", ["1", "17/10", "5"])
def test_noise_log_energy_is_the_integral_over_marchenko_pastur(b):
    energy = PRIOR.log_energy(PRIOR.noise_law(), "Z").subs(beta, sp.Rational(b))
    value = float(Fraction(b))
    assert in_doubles(energy) == pytest.approx(closed(value), abs=1e-11)
    if b != "1":  # the plain witness has no rule for a hard edge
        assert evaluate_spectral(energy) == pytest.approx(closed(value), abs=1e-8)


@pytest.mark.parametrize("ratio", [1, 1.7, 3])
@pytest.mark.parametrize("size", [50, 200, 800])
def test_noise_log_energy_is_the_limit_of_the_wishart_constant(ratio, size):
    """(1/dL) log of the integral of prod|x_i - x_j| prod x_i^((L-d-1)/2) exp(-L x_i/2) is E - 1/2.

    The integral is L^(-dL/2) 2^(dL/2) Gamma_d(L/2) Gamma_d(d/2)/pi^(d^2/2) with the multivariate gamma
    function (R. J. Muirhead, Aspects of Multivariate Statistical Theory, theorem 3.2.18); the drift is of
    order log(d)/d.
    """
    columns = round(ratio * size)

    def log_gamma(a):
        return size * (size - 1) / 4 * np.log(np.pi) + gammaln(a - np.arange(size) / 2).sum()

    constant = log_gamma(columns / 2) + log_gamma(size / 2) - size**2 / 2 * np.log(np.pi)
    constant += size * columns / 2 * np.log(2 / columns)
    limit = closed(columns / size) - 0.5
    assert constant / (size * columns) == pytest.approx(limit, abs=1.5 * np.log(size) / size)
    if size == 800:
        assert constant / (size * columns) == pytest.approx(limit, abs=0.006)


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "r"), [(1.0, 0.3), (2.0, 0.5), (1.5, 2.0)])
def test_second_moment_of_the_signal_is_one(b, r):
    s, _ = sampled(300, b, r, 1.0, np.random.default_rng(1))
    assert np.mean(s**2) == pytest.approx(PRIOR.second_moment, abs=0.03)  # a few 1/sqrt(d r)
    observed = PRIOR.observed_law(q_hat)
    first = SpectralIntegral(x * SpectralDensity(g), x, g, observed)
    assert in_doubles(first, beta=b, rho=r, q_hat=4.0) == pytest.approx(1 + 1 / 4, abs=1e-10)


@pytest.mark.parametrize(("b", "r", "noise"), [(2.0, 0.5, 0.5), (1.3, 1.5, 0.2), (1.0, 0.4, 1.0)])
def test_observed_law_and_score_of_sampled_matrices(b, r, noise):
    """Moments of Y Y^T/L, and Stein's identity E[score s] = 1 for the singular values s of Y/sqrt L."""
    size = 300
    _, observed = sampled(size, b, r, noise, np.random.default_rng(2))
    values = np.linalg.eigvalsh(observed @ observed.T / observed.shape[1])
    law = PRIOR.observed_law(q_hat)
    density, hilbert = SpectralDensity(g), HilbertTransform(g)
    for power in (1, 2):
        exact = in_doubles(SpectralIntegral(density * x**power, x, g, law), beta=b, rho=r, q_hat=1 / noise)
        assert np.mean(values**power) == pytest.approx(exact, rel=0.05)
    stein = SpectralIntegral(sp.expand(density * sp.sqrt(x) * PRIOR.score(sp.sqrt(x), hilbert)), x, g, law)
    assert in_doubles(stein, beta=b, rho=r, q_hat=1 / noise) == pytest.approx(1, abs=1e-9)


def test_denoiser_of_the_score_is_wiener_for_full_rank():
    """At rho -> infinity the signal is Gaussian: J = 1/(1 + 1/q_hat), MMSE = 1/(1 + q_hat)."""
    fisher = PRIOR.fisher_information(PRIOR.observed_law(q_hat), "Y")
    value = in_doubles(fisher, beta=1.5, rho=1e6, q_hat=2.0)
    assert value == pytest.approx(1 / (1 + 1 / 2), abs=1e-5)
    assert 1 / 2 - value / 4 == pytest.approx(1 / 3, abs=1e-5)


def test_fisher_information_is_bounded_by_its_parts():
    """Stam: 1/J >= 1/J_noise; Cramer-Rao: J >= 1/E Y_ij^2."""
    fisher = PRIOR.fisher_information(PRIOR.observed_law(q_hat), "Y")
    for b, r, strength in ((1.2, 0.3, 5.0), (3.0, 0.5, 0.5), (2.0, 2.5, 1.0)):
        value = in_doubles(fisher, beta=b, rho=r, q_hat=strength)
        assert 1 / (1 + 1 / strength) < value < strength


# --- transposition ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "r"), [("2/5", "3/10"), ("1/3", "2"), ("1", "1/2"), ("7/2", "1/5")])
def test_transposition(b, r):
    values = {"beta": Fraction(b), "rho": Fraction(r), "alpha": Fraction(1, 2)}
    canonical = PRIOR.canonical(values)
    assert canonical["beta"] >= 1
    assert canonical["alpha"] == values["alpha"]
    assert PRIOR.canonical(canonical) == canonical
    # rank and smaller side are those of the same matrix
    assert canonical["rho"] == values["rho"] * max(1, 1 / values["beta"])
    if values["beta"] < 1:  # the map itself is an involution
        back = {"beta": 1 / canonical["beta"], "rho": canonical["rho"] / canonical["beta"]}
        assert back == {"beta": values["beta"], "rho": values["rho"]}


def test_the_law_is_symmetric_under_transposition():
    """The nonzero eigenvalues of S S^T and of S^T S are the same, so the law at (1/beta, rho/beta) is a
    transposed one.
    """
    b, r = sp.Rational(5, 2), sp.Rational(3, 4)
    law = PRIOR.observed_law(q_hat).subs({beta: b, rho: r, q_hat: 2})
    # Y^T Y/d instead of Y^T Y/L: eigenvalues times L/d = beta
    turned = PRIOR.observed_law(q_hat).subs({beta: 1 / b, rho: r / b, q_hat: 2})
    expected = law.transposed(1 / b).scaled(b)
    z_, g_ = law.bound_symbols
    assert not sp.cancel(turned.polynomial / expected.polynomial).has(z_, g_)


def test_arguments():
    assert GaussianFactors() == PRIOR
    assert [p.name for p in PRIOR.parameters] == ["beta", "rho"]
    energy = PRIOR.log_energy(PRIOR.noise_law(), "Z")
    assert energy.func(*energy.args) == energy
    assert energy.free_symbols == {beta}
    assert PRIOR.fisher_information(PRIOR.observed_law(q_hat), "Y").free_symbols == {beta, rho, q_hat}
