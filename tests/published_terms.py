"""What tests of published terms share: points, averages by mpmath, and how a term is compared.

The left-hand sides of those tests are the library's expressions. The right-hand sides are written in the tests from
the papers, in their form (which is often another than the library's: E x* <x> for E <x>^2, an average over
z ~ N(0, 1) for one over the field), and averaged here by mpmath at 30 digits, sharing no code. Terms without an
average are compared as expressions. Other terms of the same equations are in the tests of each model.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import random

import mpmath
import pytest
import sympy as sp
from mpmath import erfc, exp, log, mpf, npdf, quad, sqrt

from replica.expr.numeric import mp_function
from replica.ingredients.channels import GaussianNoise
from replica.ingredients.losses import SquareLoss
from replica.ingredients.priors import (
    Bernoulli,
    GaussBernoulli,
    Gaussian,
    Laplace,
    Rademacher,
    SparseRademacher,
)
from replica.models.empirical_risk import EmpiricalRisk
from replica.models.teacher_student import TeacherStudent
from replica.symbols import q, q_hat

DIGITS = 30

slow = pytest.mark.slow


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


def risk(*ingredients):
    return EmpiricalRisk(*ingredients)


RIDGE = risk(GaussianNoise(), SquareLoss())
