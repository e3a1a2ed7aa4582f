r"""Bilinear sequence regression at low rank: rho = r/d -> 0 at fixed alpha_LR = n/(r(d + L)).

Then alpha = n/(dL) = alpha_LR rho (1 + beta)/beta is of order rho, and so is q_hat = alpha/(Delta + 1 - q) =
rho X/beta, with X = (1 + beta) alpha_LR/(Delta + 1 - q).  In units of the noise, W = q_hat Y Y^T/L has

1. a polynomial P(z, g) regular in rho, whose value at rho = 0 is a product: the Marchenko-Pastur law of the
   noise (the bulk), times a second factor;
2. to first order g = g_0 + rho g_1 with g_1 = -P_rho/P_g, which has a pole where the second factor vanishes
   on the bulk's curve: the rank-r signal is an outlier of weight rho.  Its position is the resultant of the
   two factors.

The entropy of the matrix seen through noise (arXiv 2410.18858) is, with mu the law of W and beta >= 1,

    I = (1/(2 beta)) \int\int log|x - y| dmu dmu + ((beta - 1)/(2 beta)) \int log x dmu + const,
    MMSE = 2 dI/dq_hat.

Its first variation at the bulk is the potential (1/beta) (U_0(x) + ((beta - 1)/2) log x), linear on the
bulk's support (the bulk is its equilibrium measure); so I is to first order in rho that line times the shift
of the mean, plus what the outlier's potential exceeds the line by, the large-deviation cost of an eigenvalue
there.  Differentiation in X, dI/dq_hat = (beta/rho) dI/dX, gives

    q = (X^2 - beta)^2/(X^2 (1 + X)(beta + X))    for X > sqrt(beta),    0 below,

where the outlier merges with the edge of the bulk.  (The r outliers spread over a width of order sqrt(rho):
their repulsion is of higher order.)  The result is symmetric under (X, beta) -> (X/beta, 1/beta), which
covers beta < 1.  The weak-recovery threshold is X = sqrt(beta) at q = 0.

Sources: V. Erba, E. Troiani, L. Biggio, A. Maillard and L. Zdeborova, arXiv 2410.18858 (model, entropy, the
limit and its threshold); F. Benaych-Georges and R. R. Nadakuditi, J. Multivariate Anal. 111 (2012) 120
(outliers of rectangular matrices); L. Miolane, arXiv 1702.00473 (the same overlap in rank-one matrix
estimation).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, cast

import sympy as sp

from replica import symbols
from replica.ingredients import spectra
from replica.ingredients.spectra import g, z
from replica.models.exact import ZERO, exact, numeric, real_roots, substitute
from replica.parameters import Parameter

SNR = Parameter("X", "X", "beta q_hat/rho", lower=ZERO, lower_open=True)
BETA = Parameter("beta", "beta", "tokens over dimension, L/d", lower=ZERO, lower_open=True)
DELTA = Parameter("delta", "Delta", "noise variance", lower=ZERO)
ALPHA_LR = Parameter("alpha_lr", "alpha_LR", "samples per parameter, n/(r(d + L))", lower=ZERO)

_X = sp.Symbol("X", positive=True)
_alpha_lr = sp.Symbol("alpha_LR", nonnegative=True)
_m1 = sp.Dummy("m1")
_u = sp.Dummy("u")


class Outlier(NamedTuple):
    """The spectrum of W to first order in rho, in the symbols beta and X.

    ``bulk`` is the polynomial of the bulk; ``position`` and ``transform`` are (z, g_0) at the outlier, on the
    physical sheet for X > sqrt(beta); ``weight`` is the residue of g_1 there; ``mean`` is d/drho of the mean
    eigenvalue.
    """

    bulk: sp.Expr
    position: sp.Expr
    transform: sp.Expr
    weight: sp.Expr
    mean: sp.Expr


@lru_cache(maxsize=1)
def outlier() -> Outlier:
    """Perturb the polynomial of the law of W in rho.

    >>> outlier().position, outlier().weight, outlier().mean
    ((X + 1)*(X + beta)/(X*beta), 1, X/beta)
    """
    beta, rho = symbols.beta, symbols.rho
    law = spectra.gaussian_factors(beta, rho).scaled(rho * _X / beta).plus_gaussian(1, 1 / beta)
    polynomial = law.polynomial
    leading = sp.expand(polynomial.subs(rho, 0))
    bulk = spectra.physical_factor(leading)
    signal = sp.quo(leading, bulk, g)
    # the common zero of the two factors: z by the resultant, then g from the remainder, which is linear in it
    (position,) = [
        root
        for factor, _ in sp.factor_list(sp.numer(sp.together(sp.resultant(bulk, signal, g))), z)[1]
        if factor.has(z)
        for root in sp.roots(sp.Poly(factor, z))
        if root != 0
    ]
    slope, intercept = sp.Poly(sp.rem(signal, bulk, g), g).all_coeffs()
    transform = cast(sp.Expr, sp.factor((-intercept / slope).subs(z, position)))
    # g_1 = -P_rho/(bulk_g signal) along the bulk's curve dg/dz = -bulk_z/bulk_g; at the pole signal is 0
    signal_slope = signal.diff(z) - signal.diff(g) * bulk.diff(z) / bulk.diff(g)
    residue = -polynomial.diff(rho) / (bulk.diff(g) * signal_slope)
    weight = cast(sp.Expr, sp.factor(substitute(residue.subs(rho, 0), {z: position, g: transform})))
    return Outlier(
        bulk, cast(sp.Expr, sp.factor(position)), transform, weight, _mean(polynomial).diff(rho).subs(rho, 0)
    )


def _mean(polynomial: sp.Expr) -> sp.Expr:
    """The first moment m1 of a law, from the lowest order in u = 1/z of P at g = u + m1 u^2 + O(u^3)."""
    expansion = sp.Poly(sp.numer(sp.together(polynomial.subs({z: 1 / _u, g: _u + _m1 * _u**2}))), _u)
    lowest = next(c for c in reversed(expansion.all_coeffs()) if sp.expand(c) != 0)
    (mean,) = sp.roots(sp.Poly(lowest, _m1))
    return cast(sp.Expr, sp.factor(mean))


@lru_cache(maxsize=1)
def outlier_overlap() -> sp.Expr:
    """Overlap q = 1 - MMSE of the informative branch, from the entropy's first variation.

    >>> outlier_overlap()
    (X**2 - beta)**2/(X**2*(X + 1)*(X + beta))
    """
    beta = symbols.beta
    found = outlier()
    quadratic, linear, _ = sp.Poly(found.bulk, g).all_coeffs()
    repulsion = (beta - 1) / (2 * z)
    # on the support Re g_0 is half the sum of the two roots; with the repulsion from 0 it is a constant
    line = sp.factor(-linear / (2 * quadratic) + repulsion)
    if line.has(z):  # a wrong weight of the logarithm would end here
        raise ArithmeticError("the bulk is not at equilibrium")
    excess = found.transform + repulsion.subs(z, found.position) - line
    mmse = 2 * (line * found.mean.diff(_X) + excess * found.position.diff(_X))
    return cast(sp.Expr, sp.factor(1 - mmse))


def low_rank_overlap(X: object = _X, beta: object = symbols.beta) -> sp.Expr:
    """Overlap q = 1 - mmse at X = beta q_hat/rho as rho -> 0.

    Symmetric under (X, beta) -> (X/beta, 1/beta).

    >>> low_rank_overlap("5/3", 1), low_rank_overlap(1, 2)
    (4/25, 0)

    Raises:
        InputError: X or beta not positive, or no number.
    """
    snr, aspect = exact(SNR, X), exact(BETA, beta)
    informative = substitute(outlier_overlap(), {_X: snr, symbols.beta: aspect})
    return cast(sp.Expr, sp.Piecewise((informative, snr**2 > aspect), (0, True)))


def weak_recovery_threshold(beta: object = symbols.beta, delta: object = symbols.delta) -> sp.Expr:
    """The alpha_LR above which q > 0: the informative branch starts there, the outlier at the bulk's edge.

    >>> weak_recovery_threshold()
    sqrt(beta)*(Delta + 1)/(beta + 1)

    Raises:
        InputError: beta not positive, delta negative, or no number.
    """
    values = {symbols.beta: exact(BETA, beta), symbols.delta: exact(DELTA, delta)}
    onsets = sp.roots(sp.Poly(sp.numer(outlier_overlap()), _X))
    (onset,) = [x for x in onsets if x.is_positive]
    # X = (1 + beta) alpha_LR/(Delta + 1 - q) at q = 0
    return substitute(onset * (symbols.delta + 1) / (symbols.beta + 1), values)


def low_rank_polynomial(X: sp.Expr, alpha_lr: object, beta: object, delta: object) -> sp.Expr:
    """The polynomial in X of the informative branch's fixed points, X (Delta + 1 - q) = (1 + beta) alpha_LR.

    Raises:
        InputError: beta not positive, alpha_lr or delta negative, or no number.
    """
    values = {
        _X: X,
        _alpha_lr: exact(ALPHA_LR, alpha_lr),
        symbols.beta: exact(BETA, beta),
        symbols.delta: exact(DELTA, delta),
    }
    return sp.expand(substitute(_fixed_point(), values))


@lru_cache(maxsize=1)
def _fixed_point() -> sp.Expr:
    relation = _X * (symbols.delta + 1 - outlier_overlap()) - (1 + symbols.beta) * _alpha_lr
    return sp.numer(sp.together(relation))


def low_rank_branches(alpha_lr: object, beta: object, delta: object) -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """Every fixed point (X, q) at alpha_LR > 0, exact: q = 0 where it is one, then the informative ones.

    Raises:
        InputError: beta not positive, alpha_lr or delta negative, or no number.
    """
    samples, aspect, noise = exact(ALPHA_LR, alpha_lr), exact(BETA, beta), exact(DELTA, delta)
    numeric(alpha_lr=samples, beta=aspect, delta=noise)
    branches = []
    uninformative = (1 + aspect) * samples / (1 + noise)
    if 0 < uninformative <= sp.sqrt(aspect):
        branches.append((uninformative, sp.S.Zero))
    polynomial = low_rank_polynomial(_X, samples, aspect, noise)
    overlap = outlier_overlap().subs(symbols.beta, aspect)
    branches += [
        (root, overlap.subs(_X, root)) for root in real_roots(polynomial, _X) if root > sp.sqrt(aspect)
    ]
    return tuple(branches)


def low_rank_mmse(alpha_lr: object, beta: object, delta: object) -> sp.Expr:
    """The Bayes-optimal error E|S - S_hat|^2/(dL) as rho -> 0 at n = alpha_LR r(d + L), exact.

    Physical root: X (Delta + 1 - q(X)) increases with X (every coefficient of the numerator of its derivative
    is positive; the tests check it), so there is one fixed point and nothing to choose: q = 0 up to the
    weak-recovery threshold, then the one root X > sqrt(beta).  At Delta = 0 it reaches infinity at alpha_LR =
    1: perfect recovery.

    >>> low_rank_mmse(0.7, 1, 0), low_rank_mmse(0.5, 1, 0), low_rank_mmse(1, 1, 0)
    (21/25, 1, 0)
    >>> low_rank_mmse(0.7, 2, "1/10").evalf(20)
    0.89363786670644191204

    Raises:
        InputError: beta not positive, alpha_lr or delta negative, or no number.
    """
    samples, aspect, noise = exact(ALPHA_LR, alpha_lr), exact(BETA, beta), exact(DELTA, delta)
    numeric(alpha_lr=samples, beta=aspect, delta=noise)
    if noise == 0 and samples >= 1:
        return sp.S.Zero
    if samples == 0:
        return sp.S.One
    ((_, overlap),) = low_rank_branches(samples, aspect, noise)
    return 1 - overlap
