r"""Bilinear sequence regression with many more tokens than dimensions.

The limit is beta = L/d -> infinity at fixed rho = r/d and alpha = n/(dL).

In the denoising of Y = S + Z/sqrt(q_hat) the law of Y Y^T/L loses its noise: as c = 1/beta -> 0 its
polynomial becomes that of U U^T/r + 1/q_hat, a shifted Marchenko-Pastur law.  The d x d covariance of the
tokens of S is then known, and what is left is linear estimation in its eigenbasis.  In

    MMSE(q_hat) = 1/q_hat - (1/q_hat^2) [ (4 pi^2 c^2/3) \int x rho(x)^3 dx + (1 - c)^2 \int rho(x)/x dx ]

the first integral stays finite and drops out, and the second is -g(0) of the limiting law, an algebraic
function:

    MMSE(q_hat) = \int t/(1 + q_hat t) dMP(t),    t the eigenvalues of U U^T/r.

With the state evolution q_hat = alpha/(Delta + MMSE) the error is a root of a cubic (`wide_polynomial`), and
at Delta = 0 it is (1 - alpha)(1 - alpha/rho) below alpha = min(1, rho).

Source: V. Erba, E. Troiani, L. Biggio, A. Maillard and L. Zdeborova, arXiv 2410.18858 (model, state
evolution, the limit); the cubic is derived here.  Normalisations as there: mmse = E|S - S_hat|^2/(dL), alpha
= n/(dL).
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import sympy as sp

from replica import symbols
from replica.ingredients import spectra
from replica.models.exact import ZERO, exact, numeric, real_roots, substitute
from replica.parameters import Parameter

ALPHA = Parameter("alpha", "alpha", "samples per coefficient, n/(dL)", lower=ZERO)
RHO = Parameter("rho", "rho", "rank over dimension, r/d", lower=ZERO, lower_open=True)
DELTA = Parameter("delta", "Delta", "noise variance", lower=ZERO)

_aspect = sp.Symbol("c", positive=True)  # d/L = 1/beta
_mmse = sp.Symbol("m", nonnegative=True)


@lru_cache(maxsize=1)
def wide_law_polynomial() -> sp.Expr:
    """P(z, g) of the limit of the law of Y Y^T/L, in the symbols rho, q_hat and the law's (z, g).

    The limit of the polynomial is its value at c = 1/beta = 0, where the noise is a shift.
    """
    law = spectra.gaussian_factors(1 / _aspect, symbols.rho).plus_gaussian(1 / symbols.q_hat, _aspect)
    return spectra.physical_factor(sp.numer(sp.together(law.polynomial.subs(_aspect, 0))))


def wide_denoising_polynomial(mmse: sp.Expr, q_hat: sp.Expr, rho: sp.Expr) -> sp.Expr:
    r"""The polynomial relation between MMSE(q_hat) and q_hat.

    MMSE = 1/q_hat - I/q_hat^2 with I = \int rho(x)/x dx = -g(0), so g(0) = -q_hat (1 - q_hat MMSE).

    >>> m, q_hat, rho = sp.symbols("m q_hat rho")
    >>> sp.factor(wide_denoising_polynomial(m, q_hat, rho).subs(q_hat, 0))
    -rho*(m - 1)
    """
    at_zero = {spectra.z: 0, spectra.g: -symbols.q_hat * (1 - symbols.q_hat * _mmse)}
    relation = sp.expand(substitute(wide_law_polynomial(), at_zero))
    (factor,) = [f for f, _ in sp.factor_list(relation)[1] if f.has(_mmse)]
    return sp.expand(substitute(factor, {_mmse: mmse, symbols.q_hat: q_hat, symbols.rho: rho}))


@lru_cache(maxsize=1)
def _cubic() -> sp.Expr:
    denoising = wide_denoising_polynomial(_mmse, symbols.q_hat, symbols.rho)
    channel = symbols.q_hat * (symbols.delta + _mmse) - symbols.alpha
    eliminated = sp.factor_list(sp.resultant(denoising, channel, symbols.q_hat))[1]
    return sp.expand(sp.Mul(*(f for f, _ in eliminated if f.has(_mmse))))


def wide_polynomial(
    mmse: sp.Expr,
    alpha: object = symbols.alpha,
    rho: object = symbols.rho,
    delta: object = symbols.delta,
) -> sp.Expr:
    """The cubic in the error at beta -> infinity: q_hat eliminated between denoising and channel.

    It is (Delta + m - alpha m)(rho (Delta + m) - alpha m) - rho m (Delta + m)^2 up to its sign.

    Raises:
        InputError: alpha or delta negative, rho not positive, or no number.
    """
    values = {
        _mmse: mmse,
        symbols.alpha: exact(ALPHA, alpha),
        symbols.rho: exact(RHO, rho),
        symbols.delta: exact(DELTA, delta),
    }
    return sp.expand(substitute(_cubic(), values))


def wide_mmse(alpha: object = symbols.alpha, rho: object = symbols.rho, delta: object = 0) -> sp.Expr:
    r"""The Bayes-optimal error E|S - S_hat|^2/(dL) at beta -> infinity, exact.

    Numbers give an algebraic number (``evalf(50)`` gives its digits); symbols are allowed for alpha and rho
    at delta = 0, where the answer is a Piecewise.

    Physical root, Delta > 0: q_hat MMSE(q_hat) = \int q_hat t/(1 + q_hat t) dMP(t) is the fraction of
    directions learnt; it increases with q_hat and stays below min(1, rho), the rank of U U^T.  So w = alpha
    m/(Delta + m) has one root with 0 <= w < min(1, rho), and the other sheet of the law has w > max(1, rho).
    At Delta = 0, w = alpha: above min(1, rho) no positive error is left, and m = 0.

    >>> wide_mmse()
    Piecewise(((alpha - 1)*(alpha - rho)/rho, (alpha < 1) & (alpha < rho)), (0, True))
    >>> wide_mmse("3/10", "1/2"), wide_mmse("3/10", "1/2", "1/10").evalf(20)
    (7/25, 0.39615018172696453198)

    Raises:
        InputError: alpha or delta negative, rho not positive, no number, or symbols where delta is not 0.
    """
    a, r, noise = exact(ALPHA, alpha), exact(RHO, rho), exact(DELTA, delta)
    if noise == 0:
        return _noiseless(a, r)
    numeric(alpha=a, rho=r, delta=noise)  # symbols: see wide_polynomial
    bound = sp.Min(1, r)
    roots = real_roots(wide_polynomial(_mmse, a, r, noise), _mmse)
    (root,) = [m for m in roots if m >= 0 and m * (a - bound) <= bound * noise]
    return root


def _noiseless(alpha: sp.Expr, rho: sp.Expr) -> sp.Expr:
    cubic = wide_polynomial(_mmse, symbols.alpha, symbols.rho, 0)
    (linear,) = [f for f, power in sp.factor_list(cubic, _mmse)[1] if power == 1]  # the others are m = 0
    (root,) = sp.roots(sp.Poly(linear, _mmse))
    error = substitute(cast(sp.Expr, sp.factor(root)), {symbols.alpha: alpha, symbols.rho: rho})
    return cast(sp.Expr, sp.Piecewise((error, sp.And(alpha < 1, alpha < rho)), (0, True)))
