"""Terms of matrices of extensive rank against the published ones, one a test.

Bilinear sequence regression: V. Erba et al., arXiv 2410.18858; quadratic networks of extensive width: A. Maillard
et al., arXiv 2408.03733.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from published_terms import DIGITS, same

from replica.expr.spectral import LogPotential, SpectralDensity, SpectralIntegral
from replica.models.bsr import BilinearSequenceRegression
from replica.models.quadratic_network import QuadraticNetwork
from replica.symbols import alpha, beta, delta, kappa, q, q_hat

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
