r"""Ridge regression on the vectorised tokens: the baseline of bilinear sequence regression.

Ridge sees y = x.w/sqrt(p) + sqrt(Delta) z with p = dL, x = vec(X) and w = vec(S), and minimises
|y - x w/sqrt(p)|^2 + strength |w|^2.  Of S it uses only that the entries have mean 0 and variance 1, so its
error E|w - w_hat|^2/p at the best strength is that of the Bayes-optimal estimator of a Gaussian w of that
variance: the state evolution of a generalised linear model with

    psi(q_hat) = q_hat/2 - log(1 + q_hat)/2,    q = 2 psi'(q_hat),    q_hat = alpha/(Delta + 1 - q),

where alpha = n/p.  The posterior mean of that model is ridge with strength = Delta.

Sources: V. Erba, E. Troiani, L. Biggio, A. Maillard and L. Zdeborova, arXiv 2410.18858 (ridge as the
baseline); J. Barbier, F. Krzakala, N. Macris, L. Miolane and L. Zdeborova, PNAS 116 (2019) 5451
(state evolution); E. Dobriban and S. Wager, Ann. Stat. 46 (2018) 247 (ridge through the Marchenko-Pastur
law).
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import sympy as sp

from replica import symbols
from replica.ingredients import spectra
from replica.models.exact import ZERO, exact, substitute
from replica.parameters import Parameter

ALPHA = Parameter("alpha", "alpha", "samples per coefficient, n/(dL)", lower=ZERO)
DELTA = Parameter("delta", "Delta", "noise variance", lower=ZERO)
STRENGTH = Parameter("strength", "lambda", "ridge strength", lower=ZERO, lower_open=True)

_strength = sp.Symbol("lambda", positive=True)
_unknown = sp.Symbol("m", real=True)


def gaussian_prior_potential(q_hat: sp.Expr) -> sp.Expr:
    r"""Evaluate psi = E log \int Dw exp(q_hat w w* + sqrt(q_hat) z w - q_hat w^2/2), w* standard normal."""
    return q_hat / 2 - sp.log(1 + q_hat) / 2


def ridge_polynomial(mse: sp.Expr) -> sp.Expr:
    """The polynomial in the error whose roots are the fixed points of state evolution.

    >>> ridge_polynomial(sp.Symbol("m"))
    Delta*m - Delta + alpha*m + m**2 - m
    """
    overlap = 2 * gaussian_prior_potential(symbols.q_hat).diff(symbols.q_hat)
    residual = (overlap - 1 + mse).subs(symbols.q_hat, symbols.alpha / (symbols.delta + mse))
    return sp.expand(sp.numer(sp.together(residual)))


@lru_cache(maxsize=1)
def _optimal_error() -> sp.Expr:
    return _positive_root(ridge_polynomial(_unknown), {symbols.alpha: 1, symbols.delta: 1})


def ridge_mse(alpha: object = symbols.alpha, delta: object = symbols.delta) -> sp.Expr:
    r"""E|S - S_hat|^2/(dL) of ridge regression at its optimal strength, Delta.

    The fixed points are the roots of m^2 + (alpha + Delta - 1) m - Delta; their product -Delta is not
    positive, and the error is the root that is not negative.

    >>> ridge_mse()
    -Delta/2 - alpha/2 + sqrt(Delta**2 + 2*Delta*alpha + 2*Delta + alpha**2 - 2*alpha + 1)/2 + 1/2
    >>> ridge_mse(0.3, 0), ridge_mse(2, 0), ridge_mse("1/2", "1/2")
    (7/10, 0, sqrt(2)/2)

    Raises:
        InputError: a negative alpha or delta, or no number.
    """
    values = {symbols.alpha: exact(ALPHA, alpha), symbols.delta: exact(DELTA, delta)}
    return _tidy(substitute(_optimal_error(), values))


def ridge_risk(alpha: object, delta: object, strength: object) -> sp.Expr:
    r"""E|S - S_hat|^2/(dL) of ridge regression at any strength, from the Marchenko-Pastur law.

    In the eigenbasis of x^T x/p, of eigenvalues s, bias and variance give E[(strength^2 + Delta s)/(s +
    strength)^2] = Delta G - strength (strength - Delta) G' with G(strength) = E 1/(s + strength), the
    Stieltjes transform of the law ``gaussian_matrix(1/alpha).scaled(alpha)`` at -strength (Dobriban and Wager
    2018, theorem 2.1).

    >>> ridge_risk("1/2", "1/2", "1/2") == ridge_mse("1/2", "1/2")
    True

    Raises:
        InputError: a negative alpha or delta, a strength that is not positive, or no number.
    """
    values = {
        symbols.alpha: exact(ALPHA, alpha),
        symbols.delta: exact(DELTA, delta),
        _strength: exact(STRENGTH, strength),
    }
    return _tidy(substitute(_risk(), values))


@lru_cache(maxsize=1)
def _risk() -> sp.Expr:
    law = spectra.gaussian_matrix(1 / symbols.alpha).scaled(symbols.alpha)
    relation = substitute(law.polynomial, {spectra.z: -_strength, spectra.g: -_unknown})
    resolvent = _positive_root(sp.expand(relation), {symbols.alpha: 1, _strength: 1})
    return symbols.delta * resolvent - _strength * (_strength - symbols.delta) * resolvent.diff(_strength)


def _positive_root(polynomial: sp.Expr, at: dict[sp.Symbol, int]) -> sp.Expr:
    """The root in the unknown that is positive at one point, hence everywhere.

    The polynomials given here have a product of roots of one sign and a discriminant that vanishes only on
    the boundary of the parameters' domain, so that roots do not change places.
    """
    roots = [cast(sp.Expr, r) for r in sp.roots(sp.Poly(polynomial, _unknown))]
    (root,) = [r for r in roots if substitute(r, at).is_positive]
    return root


def _tidy(expr: sp.Expr) -> sp.Expr:
    """Factor what stands under a square root: a perfect square, as at Delta = 0, then leaves it."""
    return cast(
        sp.Expr,
        expr.replace(
            lambda e: e.is_Pow and abs(e.exp) == sp.Rational(1, 2) and bool(e.base.free_symbols),
            lambda e: sp.Pow(cast(sp.Expr, sp.factor(e.base)), e.exp),
        ),
    )
