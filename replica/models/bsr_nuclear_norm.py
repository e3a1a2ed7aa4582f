r"""Noiseless recovery of S by the minimal nuclear norm, the convex competitor of the Bayes-optimal estimator.

min |S'|_* subject to the n equations y = h(S') with Gaussian X recovers S, of rank r, when n exceeds the
statistical dimension of the cone of directions along which the nuclear norm descends at S, and fails below
it.  That dimension is the minimum over tau of E dist^2(G, tau subdifferential) for a Gaussian matrix G of the
shape of S, and the subdifferential leaves one block of G, (d - r) x (L - r), to be thresholded by its
singular values.  Divided by dL, with nu = d/L = 1/beta <= 1 and tau in units of sqrt(L - r),

    alpha = min_tau { rho nu + (1 - rho nu) [ rho (1 + tau^2) + (1 - rho) E (sigma - tau)_+^2 ] },

sigma^2 of the Marchenko-Pastur law of aspect y = (d - r)/(L - r) = (1 - rho)/(beta - rho).

Source: D. Amelunxen, M. Lotz, M. B. McCoy and J. A. Tropp, Inf. Inference 3 (2014) 224, arXiv 1303.6672,
proposition 4.7 and theorem II (their m, n, rho, nu are d, L, r/d, d/L here); the same curve, by other means:
S. Oymak and B. Hassibi, arXiv 1011.6326, and D. L. Donoho, M. Gavish and A. Montanari, PNAS 110 (2013) 8405,
arXiv 1302.2331.

`statistical_dimension` and `stationarity` state the problem; `solvers.nuclear_norm.recovery_threshold` solves
it.
"""

from __future__ import annotations

import sympy as sp

from replica import symbols
from replica.expr.spectral import SpectralDensity, SpectralIntegral
from replica.ingredients import spectra
from replica.models.exact import ZERO, exact, substitute
from replica.parameters import Parameter
from solvers.errors import InputError

BETA = Parameter("beta", "beta", "tokens over dimension, L/d", lower=ZERO, lower_open=True)
RHO = Parameter("rho", "rho", "rank over dimension, r/d", lower=ZERO, lower_open=True)
TAU = Parameter("tau", "tau", "threshold on singular values over sqrt(L - r)", lower=ZERO)

tau = sp.Symbol("tau", nonnegative=True)
_x = sp.Dummy("x", positive=True, dummy_index=1_000_011)
_g = sp.Dummy("g", dummy_index=1_000_012)


def statistical_dimension(
    beta: object = symbols.beta, rho: object = symbols.rho, threshold: object = tau
) -> sp.Expr:
    r"""E dist^2(G, tau subdifferential)/(dL) for beta >= 1 and rho < 1: its minimum over tau is the recovery
    threshold.

    For beta < 1 use the symmetry (beta, rho) -> (1/beta, rho/beta).

    Raises:
        InputError: beta or rho not positive, tau negative, or no number.
    """
    values = {
        symbols.beta: exact(BETA, beta),
        symbols.rho: exact(RHO, rho),
        tau: exact(TAU, threshold),
    }
    _check_shape(values[symbols.beta], values[symbols.rho])
    nu, rank = 1 / symbols.beta, symbols.rho
    excess = sp.Max(sp.sqrt(_x) - tau, 0)
    thresholded = SpectralIntegral(excess**2 * SpectralDensity(_g), _x, _g, bulk_law())
    dimension = rank * nu + (1 - rank * nu) * (rank * (1 + tau**2) + (1 - rank) * thresholded)
    return substitute(dimension, values)


def _check_shape(beta: sp.Expr, rho: sp.Expr) -> None:
    """The formula is for d <= L and r < d."""
    if (beta - 1).is_negative or (rho - 1).is_nonnegative:
        raise InputError(f"beta >= 1 and rho < 1 must hold here (transpose for beta < 1), got {beta}, {rho}")


def bulk_law(beta: object = symbols.beta, rho: object = symbols.rho) -> spectra.Law:
    """The law of sigma^2: a Gaussian (d - r) x (L - r) matrix, of aspect (1 - rho)/(beta - rho), over sqrt(L
    - r).
    """
    aspect, rank = exact(BETA, beta), exact(RHO, rho)
    _check_shape(aspect, rank)
    return spectra.gaussian_matrix((1 - rank) / (aspect - rank))


def stationarity(beta: object = symbols.beta, rho: object = symbols.rho, threshold: object = tau) -> sp.Expr:
    r"""The derivative in tau over 2 (1 - rho nu)(1 - rho): rho tau/(1 - rho) - E (sigma - tau)_+.

    It increases with tau and changes its sign once, at the minimum: the stationarity condition of
    proposition 4.7, times tau.

    Raises:
        InputError: beta or rho not positive, tau negative, or no number.
    """
    values = {
        symbols.beta: exact(BETA, beta),
        symbols.rho: exact(RHO, rho),
        tau: exact(TAU, threshold),
    }
    _check_shape(values[symbols.beta], values[symbols.rho])
    slope = statistical_dimension().diff(tau)
    slope = slope.replace(sp.Heaviside, lambda *_: sp.S.One)  # (u)_+ Heaviside(u) = (u)_+
    slope = slope.replace(SpectralIntegral, _without_factor)
    (integral,) = slope.atoms(SpectralIntegral)
    tail = sp.Dummy("tail")
    scaled = slope.xreplace({integral: tail}) / (2 * (1 - symbols.rho / symbols.beta) * (1 - symbols.rho))
    linear = sp.factor(scaled.subs(tail, 0)) + sp.factor(scaled.diff(tail)) * integral
    return substitute(linear, values)


def _without_factor(body: sp.Expr, *rest: sp.Basic) -> sp.Expr:
    """A numerical factor of the body in front of the integral."""
    factor, remaining = body.as_coeff_Mul()
    return factor * SpectralIntegral(remaining, *rest)
