"""The limits and baselines of bilinear sequence regression, each against a witness that does not share its
derivation.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from replica import symbols
from replica.expr.spectral import SpectralDensity, SpectralIntegral
from replica.ingredients import spectra
from replica.lowering.program import lower
from replica.models import bsr_low_rank, bsr_nuclear_norm, bsr_ridge, bsr_wide
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.nuclear_norm import recovery_threshold

FLOAT64 = Float64()
X = sp.Symbol("x", positive=True)
G = sp.Symbol("g")


def run(program, *arguments, level=5):
    with FLOAT64.context():
        return program.run(FLOAT64, level, [float(a) for a in arguments])


@pytest.fixture(scope="module")
def full_mmse():
    """MMSE(beta >= 1, rho, q_hat) of the extensive-rank theory by quadrature over the law of Y Y^T/L (arXiv
    2410.18858).
    """
    beta, rho, q_hat = symbols.beta, symbols.rho, symbols.q_hat
    law = spectra.gaussian_factors(beta, rho).plus_gaussian(1 / q_hat, 1 / beta)
    density = SpectralDensity(G)
    cubic = SpectralIntegral(X * density**3, X, G, law)
    inverse = SpectralIntegral(density / X, X, G, law)
    first = 4 * sp.pi**2 / (3 * beta**2) * cubic
    second = (1 - 1 / beta) ** 2 * inverse  # at beta = 1 the integral diverges and its factor is 0
    square = lower([1 / q_hat - first / q_hat**2], [beta, rho, q_hat])
    rectangular = lower([1 / q_hat - (first + second) / q_hat**2], [beta, rho, q_hat])

    def mmse(beta, rho, q_hat):
        result = run(square if beta == 1 else rectangular, beta, rho, q_hat)
        assert result.error < 1e-8  # the drifts below divide it by 1e-4 at most
        return float(result.values[0])

    return mmse


def marchenko_pastur_average(function, aspect):
    """E f(t) for t of Z Z^T/columns, aspect = rows/columns; density pasted from the textbook, atom at 0
    included.
    """
    low, high = (1 - np.sqrt(aspect)) ** 2, (1 + np.sqrt(aspect)) ** 2

    def integrand(angle):  # t between the edges
        t = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
        density_dt = ((high - low) / 2 * np.sin(angle)) ** 2 / (2 * np.pi * aspect * t)
        return function(t) * density_dt

    bulk = scipy.integrate.quad(integrand, 0, np.pi, epsabs=1e-12)[0]
    return bulk + max(0.0, 1 - 1 / aspect) * function(0.0)


# --- ridge --------------------------------------------------------------------------------------------


def test_ridge_closed_form():
    alpha, noise = symbols.alpha, symbols.delta
    expected = (1 - alpha - noise + sp.sqrt((alpha + noise - 1) ** 2 + 4 * noise)) / 2
    assert sp.expand((bsr_ridge.ridge_mse() - expected).rewrite(sp.Pow).subs({alpha: 3, noise: 5})) == 0
    assert bsr_ridge.ridge_mse("3/10", 0) == sp.Rational(7, 10)
    assert bsr_ridge.ridge_mse(0, "1/3") == 1
    assert bsr_ridge.ridge_mse(alpha, 0) == (1 - alpha + sp.Abs(alpha - 1)) / 2


@pytest.mark.parametrize(("alpha", "noise"), [(0.3, 0.1), (1.0, 0.5), (2.5, 0.05)])
def test_ridge_is_an_average_over_the_marchenko_pastur_law(alpha, noise):
    """At its best strength the error is E Delta/(s + Delta), s the spectrum of x^T x/p: p samples of it are 0
    below alpha = 1.
    """
    law = spectra.gaussian_matrix(1 / symbols.alpha).scaled(symbols.alpha)
    body = symbols.delta / (X + symbols.delta) * SpectralDensity(G)
    integral = run(
        lower([SpectralIntegral(body, X, G, law)], [symbols.alpha, symbols.delta]), alpha, noise
    ).values[0]
    expected = float(bsr_ridge.ridge_mse(alpha, noise))
    assert max(0.0, 1 - alpha) + float(integral) == pytest.approx(expected, abs=1e-12)
    by_hand = marchenko_pastur_average(lambda t: noise / (alpha * t + noise), 1 / alpha)
    assert by_hand == pytest.approx(expected, abs=1e-10)


def test_ridge_strength_delta_is_optimal():
    strength = sp.Symbol("strength", positive=True)
    risk = bsr_ridge.ridge_risk("2/5", "1/5", strength)
    assert risk.subs(strength, sp.Rational(1, 5)).equals(bsr_ridge.ridge_mse("2/5", "1/5"))
    assert risk.diff(strength).subs(strength, sp.Rational(1, 5)).equals(0)
    assert risk.diff(strength, 2).subs(strength, sp.Rational(1, 5)) > 0.1
    values = [float(risk.subs(strength, s)) for s in ("1/100", "1/5", "4")]
    assert min(values) == values[1] < min(values[0], values[2]) - 0.01


@pytest.mark.parametrize("strength", ["1/5", "1"])
def test_ridge_on_sampled_data(strength):
    rng = np.random.default_rng(20241018)
    alpha, noise, d, tokens, rank = Fraction(3, 5), Fraction(1, 5), 16, 25, 4
    size = d * tokens
    errors = []
    for _ in range(12):
        signal = rng.normal(size=(d, rank)) @ rng.normal(size=(rank, tokens)) / np.sqrt(rank)
        target = (
            signal.ravel() * np.sqrt(size) / np.linalg.norm(signal)
        )  # second moment 1, without its fluctuation
        x = rng.normal(size=(int(alpha * size), size)) / np.sqrt(size)
        y = x @ target + np.sqrt(float(noise)) * rng.normal(size=x.shape[0])
        gram = x @ x.T + float(Fraction(strength)) * np.eye(y.size)
        estimate = x.T @ scipy.linalg.solve(gram, y, assume_a="pos")
        errors.append(np.mean((estimate - target) ** 2))
    bar = np.std(errors, ddof=1) / np.sqrt(len(errors))
    assert bar < 0.015
    assert np.mean(errors) == pytest.approx(
        float(bsr_ridge.ridge_risk(alpha, noise, strength)), abs=3.5 * bar + 1 / size
    )


# --- beta -> infinity ---------------------------------------------------------------------------------


def test_wide_reference_value():
    """Recorded in the project's list of reference numbers, from the theory of arXiv 2410.18858: 0.28, to 13
    digits.
    """
    assert bsr_wide.wide_mmse("3/10", "1/2", 0) == sp.Rational(28, 100)


def test_wide_noiseless_closed_form():
    alpha, rho = symbols.alpha, symbols.rho
    expression = bsr_wide.wide_mmse(alpha, rho)
    assert sp.expand(expression.args[0].expr - (1 - alpha) * (1 - alpha / rho)) == 0
    assert bsr_wide.wide_mmse("1/2", "1/2", 0) == 0
    assert bsr_wide.wide_mmse("9/10", 2, 0) == sp.Rational(1, 10) * sp.Rational(11, 20)
    assert bsr_wide.wide_mmse("11/10", 2, 0) == 0


def test_wide_error_is_continuous_in_the_noise():
    for alpha, rho in (("3/10", "1/2"), ("7/10", "1/2"), ("3/2", 2)):
        small = float(bsr_wide.wide_mmse(alpha, rho, "1e-10"))
        assert small == pytest.approx(float(bsr_wide.wide_mmse(alpha, rho, 0)), abs=1e-9)


@pytest.mark.parametrize("rho", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("alpha", "noise"), [(0.2, 0.1), (0.9, 0.01), (3.0, 2.0), (3.0, 0.01)])
def test_wide_error_satisfies_state_evolution_with_the_marchenko_pastur_integral(alpha, rho, noise):
    mmse = float(bsr_wide.wide_mmse(alpha, rho, noise))
    q_hat = alpha / (noise + mmse)
    by_hand = marchenko_pastur_average(lambda t: t / (1 + q_hat * t), 1 / rho)
    assert by_hand == pytest.approx(mmse, abs=1e-10)


def test_wide_law_is_a_shifted_marchenko_pastur_law():
    shift = 1 / symbols.q_hat
    expected = spectra.gaussian_matrix(1 / symbols.rho).polynomial.subs(spectra.z, spectra.z - shift).expand()
    ratio = sp.cancel(bsr_wide.wide_law_polynomial() / expected)
    assert not ratio.has(spectra.z, spectra.g)
    assert ratio != 0


@pytest.mark.parametrize("q_hat", [0.5, 20.0])
def test_wide_limit_of_the_full_theory(full_mmse, q_hat):
    """The difference decays as 1/beta: beta times it is constant to 10 % by 100 and to 1 % by 1000."""
    rho = 0.5
    limit = marchenko_pastur_average(lambda t: t / (1 + q_hat * t), 1 / rho)
    relation = bsr_wide.wide_denoising_polynomial(*(sp.Float(v, 30) for v in (limit, q_hat, rho)))
    assert abs(relation) < 1e-10
    drift = {beta: beta * (full_mmse(beta, rho, q_hat) - limit) for beta in (1e2, 1e3, 1e4)}
    assert drift[1e4] > 1e-3
    assert drift[1e2] == pytest.approx(drift[1e4], rel=0.1)
    assert drift[1e3] == pytest.approx(drift[1e4], rel=0.01)


# --- rho -> 0 -----------------------------------------------------------------------------------------


def test_low_rank_reference_value():
    """Recorded in the project's list of reference numbers, from the theory of arXiv 2410.18858: 0.84, to 13
    digits.
    """
    assert bsr_low_rank.low_rank_mmse("7/10", 1, 0) == sp.Rational(84, 100)


def test_low_rank_overlap_as_published():
    snr, beta = sp.symbols("X beta", positive=True)
    published = (snr**2 - beta) ** 2 / (snr**2 * (1 + snr) * (beta + snr))
    overlap = bsr_low_rank.low_rank_overlap(snr, beta)
    assert sp.cancel(overlap.args[0].expr - published) == 0
    assert bsr_low_rank.low_rank_overlap(1, 1) == 0
    assert bsr_low_rank.low_rank_overlap(snr / beta, 1 / beta).args[0].expr.equals(published)


def test_outlier_carries_the_rank():
    """A residue of 1 times rho = r/d is r eigenvalues out of d; the mean of W grows by q_hat."""
    found = bsr_low_rank.outlier()
    assert (found.weight, found.mean) == (1, sp.Symbol("X", positive=True) / symbols.beta)


def test_low_rank_on_sampled_spikes():
    """q is the product of the squared overlaps of the leading singular vectors with those of S."""
    rng = np.random.default_rng(1858)
    d, tokens, snr = 250, 500, 4
    beta = Fraction(tokens, d)
    found = bsr_low_rank.outlier()
    at = {symbols.beta: 2, sp.Symbol("X", positive=True): snr}
    positions, overlaps = [], []
    for _ in range(12):
        u, v = rng.normal(size=d), rng.normal(size=tokens)
        u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
        # W = Y Y^T/L in units of the noise: the signal's eigenvalue is q_hat/rho = X/beta
        y = rng.normal(size=(d, tokens)) / np.sqrt(tokens) + np.sqrt(snr / float(beta)) * np.outer(u, v)
        (value,), left = scipy.linalg.eigh(y @ y.T, subset_by_index=(d - 1, d - 1))
        right = y.T @ left[:, 0] / np.sqrt(value)
        positions.append(value)
        overlaps.append((left[:, 0] @ u) ** 2 * (right @ v) ** 2)
    for sampled, theory in (
        (positions, found.position.subs(at)),
        (overlaps, bsr_low_rank.low_rank_overlap(snr, beta)),
    ):
        bar = np.std(sampled, ddof=1) / np.sqrt(len(sampled))
        assert bar < 0.05
        assert np.mean(sampled) == pytest.approx(float(theory), abs=3.5 * bar + 2 / d)


@pytest.mark.parametrize(("beta", "snr"), [(1.0, 2.0), (1.5, 2.0), (4.0, 3.0), (2.0, 1.0)])
def test_low_rank_limit_of_the_full_denoiser(full_mmse, beta, snr):
    """1 - MMSE at q_hat = rho X/beta differs by a term linear in rho, above and below the threshold X^2 =
    beta.
    """
    limit = float(bsr_low_rank.low_rank_overlap(snr, beta))
    drift = {rho: (1 - full_mmse(beta, rho, rho * snr / beta) - limit) / rho for rho in (1e-3, 1e-4)}
    assert abs(drift[1e-4]) < 5
    assert drift[1e-3] == pytest.approx(drift[1e-4], rel=0.05)


def test_low_rank_limit_of_the_full_fixed_point(full_mmse):
    """q_hat (Delta + MMSE) = alpha solved at small rho, in X = beta q_hat/rho."""
    samples, beta, noise = 0.9, 2.0, 0.1
    limit = float(bsr_low_rank.low_rank_mmse(samples, beta, noise))
    drift = []
    for rho in (1e-3, 1e-4):
        snr = scipy.optimize.brentq(
            lambda s, rho=rho: s * (noise + full_mmse(beta, rho, rho * s / beta)) - (1 + beta) * samples,
            1.0,
            20.0,
            xtol=1e-12,
        )
        drift.append((full_mmse(beta, rho, rho * snr / beta) - limit) / rho)
    assert drift[0] == pytest.approx(drift[1], rel=0.1)
    assert 0.1 < abs(drift[1]) < 20


def test_low_rank_fixed_point_is_unique():
    """d/dX of X (Delta + 1 - q) has a numerator with positive coefficients: beta^2 - beta + 1 is (beta -
    1/2)^2 + 3/4.
    """
    snr, beta = sp.Symbol("X", positive=True), symbols.beta
    slope = sp.factor((snr * (1 - bsr_low_rank.outlier_overlap())).diff(snr))
    numerator, denominator = sp.fraction(slope)
    for coefficient in sp.Poly(numerator, snr).all_coeffs():
        remainder = sp.Poly(coefficient, beta)
        minimum = min(remainder.eval(b) for b in (0, sp.Rational(1, 2), 1, 5, 100))
        assert all(c >= 0 for c in remainder.all_coeffs()) or remainder == sp.Poly(beta**2 - beta + 1, beta)
        assert minimum >= 0
    assert all(c >= 0 for c in sp.Poly(denominator, snr, beta).coeffs())


def test_low_rank_branches():
    samples, beta, noise = Fraction(9, 10), 2, Fraction(1, 10)
    ((snr, overlap),) = bsr_low_rank.low_rank_branches(samples, beta, noise)
    snr, overlap = snr.evalf(30), overlap.evalf(30)
    assert abs(snr * (sp.Rational(11, 10) - overlap) - sp.Rational(27, 10)) < 1e-25
    ((_, overlap),) = bsr_low_rank.low_rank_branches("1/10", beta, noise)
    assert overlap == 0
    mmse = bsr_low_rank.low_rank_mmse(samples, beta, noise)
    assert abs(mmse.evalf(40) - mmse.evalf(60)) < 1e-39


def test_weak_recovery_threshold():
    beta, noise = symbols.beta, symbols.delta
    published = (1 + noise) * sp.sqrt(beta) / (1 + beta)  # arXiv 2410.18858
    assert sp.cancel(bsr_low_rank.weak_recovery_threshold() - published) == 0
    threshold = bsr_low_rank.weak_recovery_threshold(4, "1/10")
    assert threshold == sp.Rational(11, 25)
    assert bsr_low_rank.low_rank_mmse(threshold, 4, "1/10") == 1
    just_above = bsr_low_rank.low_rank_mmse(threshold + sp.Rational(1, 1000), 4, "1/10")
    # q grows with the square of the distance: the transition is of third order in the free entropy
    further = bsr_low_rank.low_rank_mmse(threshold + sp.Rational(2, 1000), 4, "1/10")
    assert float((1 - further) / (1 - just_above)) == pytest.approx(4, rel=0.02)


def test_low_rank_perfect_recovery_without_noise():
    """alpha_IT = rho (1 + beta - rho)/beta is alpha_LR = 1 as rho -> 0."""
    assert bsr_low_rank.low_rank_mmse(1, 3, 0) == 0
    assert 0 < bsr_low_rank.low_rank_mmse("999/1000", 3, 0).evalf() < 0.01


# --- minimal nuclear norm -----------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "beta"), [("1/10", 1), ("1/5", 2), ("1/2", 2), ("3/10", "17/10")])
def test_stationarity_at_the_numerical_threshold(rho, beta):
    """The symbolic statement, averaged with the density of the law of spectra.py, against the closed-form
    density in solvers.
    """
    found = recovery_threshold(beta, rho)
    law = bsr_nuclear_norm.bulk_law(beta, rho)
    coefficients = sp.lambdify(spectra.z, law.coefficients())
    edges = [float(e) for e in sp.Poly.from_list(law.branch_polynomial, gens=spectra.z).nroots() if e > 0]
    lower_end = max(min(edges) if len(edges) > 1 else 0.0, found.tau**2)

    def average(body):
        def integrand(s):  # x = lower + (upper - lower) sin^2 s
            x = lower_end + (max(edges) - lower_end) * np.sin(s) ** 2
            density = np.max(np.roots(coefficients(x)).imag) / np.pi
            jacobian = (max(edges) - lower_end) * np.sin(2 * s)
            return float(body.subs(dict.fromkeys(body.atoms(sp.Dummy), x))) * density * jacobian

        return scipy.integrate.quad(integrand, 0, np.pi / 2, epsabs=1e-10)[0]

    def number(expression):
        return float(
            expression.replace(
                SpectralIntegral, lambda body, *_: average(body.replace(SpectralDensity, lambda _: sp.S.One))
            )
        )

    threshold = Fraction(found.tau)
    assert number(bsr_nuclear_norm.stationarity(beta, rho, sp.Rational(threshold))) == pytest.approx(
        0, abs=1e-7
    )
    assert number(bsr_nuclear_norm.stationarity(beta, rho, sp.Rational(threshold * 9 / 10))) < -1e-2
    dimension = number(bsr_nuclear_norm.statistical_dimension(beta, rho, sp.Rational(threshold)))
    assert dimension == pytest.approx(found.alpha, abs=1e-7)


# --- input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: bsr_ridge.ridge_mse(-1, 0.1),
        lambda: bsr_ridge.ridge_mse(0.1, float("nan")),
        lambda: bsr_ridge.ridge_mse(sp.nan, 0.1),
        lambda: bsr_ridge.ridge_mse(sp.oo, 0.1),
        lambda: bsr_ridge.ridge_mse(-sp.sqrt(2), 0.1),
        lambda: bsr_ridge.ridge_risk(1, 1, 0),
        lambda: bsr_wide.wide_mmse(0.1, 0, 0.1),
        lambda: bsr_wide.wide_mmse(0.1, symbols.rho, 0.1),
        lambda: bsr_wide.wide_mmse("abc", 1, 0.1),
        lambda: bsr_low_rank.low_rank_overlap(0, 1),
        lambda: bsr_low_rank.low_rank_mmse(0.7, 0, 0),
        lambda: bsr_low_rank.low_rank_mmse(0.7, sp.sqrt(2), 0),
        lambda: bsr_low_rank.low_rank_branches(0.7, 1, -1),
        lambda: bsr_low_rank.weak_recovery_threshold(-1, 0),
        lambda: bsr_nuclear_norm.statistical_dimension(1, -1),
        lambda: bsr_nuclear_norm.stationarity("1/2", "1/5"),
        lambda: bsr_nuclear_norm.bulk_law(2, 1),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)


@settings(max_examples=50)
@given(st.fractions(0, 5), st.fractions("1/20", 3), st.fractions("1/100", 3))
def test_wide_error_between_ridge_and_zero(alpha, rho, noise):
    """More is known than to ridge: 0 < mmse <= ridge's error <= 1."""
    mmse = float(bsr_wide.wide_mmse(alpha, rho, noise))
    assert 0 < mmse <= float(bsr_ridge.ridge_mse(alpha, noise)) + 1e-12
