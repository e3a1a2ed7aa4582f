"""Rules of a separable prior: every step verifies and a wrong one does not; overlap and error against the definition by
scipy.
"""

from __future__ import annotations

import dataclasses
from math import sqrt

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats

from replica import prior_rules
from replica.action import LikelihoodEntropy, nodes_of
from replica.derivation import Kind
from replica.expr.average import GaussianAverage
from replica.expr.numeric import mp_function
from replica.ingredients.channels import Sign
from replica.ingredients.priors import (
    Bernoulli,
    Discrete,
    GaussBernoulli,
    Gaussian,
    GaussianMixture,
    Rademacher,
    SparseRademacher,
)
from replica.models.teacher_student import TeacherStudent
from replica.symbols import A, B, q_hat, rho

SHARE = sp.Rational(3, 10)
LAWS = {  # weight, mean, variance
    Gaussian(): [(1, 0, 1)],
    Rademacher(): [(0.5, 1, 0), (0.5, -1, 0)],
    GaussBernoulli(): [(0.3, 0, 1), (0.7, 0, 0)],
    Bernoulli(): [(0.3, 1, 0), (0.7, 0, 0)],
    SparseRademacher(): [(0.15, 0.3**-0.5, 0), (0.15, -(0.3**-0.5), 0), (0.7, 0, 0)],
    Discrete((-1, 0, 2), ("1/4", "1/2", "1/4")): [(0.25, -1, 0), (0.5, 0, 0), (0.25, 2, 0)],
    GaussianMixture(("1/3", "2/3"), (-1, "1/2"), ("1/4", 0)): [(1 / 3, -1, 0.25), (2 / 3, 0.5, 0)],
}
every = pytest.mark.parametrize("prior", LAWS, ids=lambda p: p.name)


def by_hand(prior, strength, function):
    """E over R = sqrt(A) x + z of function(E[x|R], E[x^2|R], density of R): the scalar channel of signal to noise A."""

    def integrand(r):
        moments = np.zeros(3)
        for weight, mean, variance in LAWS[prior]:
            spread = 1 + strength * variance
            density = weight * stats.norm.pdf(r, sqrt(strength) * mean, sqrt(spread))
            centre = mean + sqrt(strength) * variance / spread * (r - sqrt(strength) * mean)
            moments += density * np.array([1, centre, centre**2 + variance / spread])
        return moments[0] * function(moments[1] / moments[0], moments[2] / moments[0], moments[0])

    return integrate.quad(integrand, -24, 24, points=[-6, -2, 0, 2, 6], epsabs=1e-13, limit=300)[0]


def number(expr, strength):
    return float(mp_function(expr.subs(rho, SHARE).subs(q_hat, sp.Rational(str(strength))), ())())


@every
@pytest.mark.parametrize("strength", [0.4, 3.0])
def test_overlap_and_error(prior, strength):
    """q = E <x>^2 and v = E Var x in Gaussian noise of variance 1/q_hat; q + v = E x^2."""
    derivation, error = prior.overlap(sp.S.Zero)
    overlap = by_hand(prior, strength, lambda m1, m2, _: m1**2)
    assert number(derivation.result, strength) == pytest.approx(overlap, rel=1e-10)
    variance = by_hand(prior, strength, lambda m1, m2, _: m2 - m1**2)
    assert number(error, strength) == pytest.approx(variance, rel=1e-10)
    second = sum(w * (m**2 + v) for w, m, v in LAWS[prior])
    assert number(derivation.result + error, strength) == pytest.approx(second, rel=1e-12)


@every
def test_signal_part_of_the_free_entropy(prior):
    """Psi = q_hat E x^2/2 - I(x; sqrt(q_hat) x + z), with I from the entropy of the observation."""
    strength = 0.9
    phi = TeacherStudent(prior, Sign()).free_entropy().expression
    psi = sp.Add(
        *(t for t in sp.Add.make_args(phi) if t.has(q_hat) and not t.has(sp.Symbol("q", nonnegative=True)))
    )
    noise = 0.5 * np.log(2 * np.pi * np.e)
    information = by_hand(prior, strength, lambda m1, m2, density: -np.log(density)) - noise
    second = sum(w * (m**2 + v) for w, m, v in LAWS[prior])
    # constants of Phi without q_hat are not in psi; they vanish with q_hat
    at_zero = number(psi, "1e-9")
    assert number(psi, strength) - at_zero == pytest.approx(strength * second / 2 - information, abs=1e-8)


quick = pytest.mark.parametrize(
    "prior",
    [p if p in (Rademacher(), GaussBernoulli()) else pytest.param(p, marks=pytest.mark.slow) for p in LAWS],
    ids=lambda p: p.name,
)


@quick
def test_every_step_verifies(prior):
    derivation = prior.overlap(sp.S.Zero)[0]
    assert [s.kind for s in derivation.steps] == [Kind.IDENTITY] * len(derivation.steps)
    for step in derivation.steps:
        assert step.verifiable
        assert step.verify()
    inserted = TeacherStudent(prior, Sign()).derive()["separable prior"]
    assert inserted.kind is Kind.IDENTITY
    assert inserted.verify()
    assert nodes_of(inserted.before, LikelihoodEntropy)
    assert not nodes_of(inserted.after, LikelihoodEntropy)
    error = derivation.then(prior_rules.mean_square_error(prior)).steps[-1]
    assert [c.what for c in error.verify()] == ["E Var x", "q + v = E x^2"]


def test_the_general_steps_are_those_of_the_lemma():
    names = [s.name for s in prior_rules.overlap_equation().steps]
    assert names == ["Price's theorem", "heat equation, backwards", "denoiser"]
    (average,) = prior_rules.overlap_equation().result.atoms(GaussianAverage)
    assert average == GaussianAverage(prior_rules.Z_IN * prior_rules.F_IN**2, B, 0, A)


@pytest.mark.parametrize("index", range(4))
def test_a_wrong_step_is_caught(index):
    derivation = Rademacher().overlap(sp.S.Zero)[0]
    step = derivation.steps[index]
    with pytest.raises(ArithmeticError, match="fails"):
        dataclasses.replace(step, after=sp.Rational(11, 10) * step.after).verify()


def test_a_wrong_error_is_caught():
    prior = GaussBernoulli()
    step = prior.overlap(sp.S.Zero)[0].then(prior_rules.mean_square_error(prior)).steps[-1]
    with pytest.raises(ArithmeticError, match="fails"):
        dataclasses.replace(step, after=step.after * sp.Rational(101, 100)).verify()


@every
def test_law_of_the_observation(prior):
    """E over B ~ N(0, A) weighted with Z_in is E over x and z of A x + sqrt(A) z: the two ways to write it, at 20 digits."""
    body = sp.tanh(B / 2) ** 2 + B / 3
    mixed = prior_rules.observed_average(prior, body, q_hat).subs(rho, SHARE).subs(q_hat, sp.Rational(4, 5))
    weighted = GaussianAverage(prior.partition().subs(rho, SHARE) * body, B, 0, A).subs(A, sp.Rational(4, 5))
    with mpmath.workdps(20):
        left, right = (mp_function(e, ())() for e in (mixed, weighted))
        assert abs(left - right) < mpmath.mpf(10) ** -12


def test_mirror_images_are_averaged_once():
    """A symmetric prior has one average for +1 and -1."""
    overlap = Rademacher().overlap(sp.S.Zero)[0].result
    assert overlap == GaussianAverage(sp.tanh(B) ** 2, B, q_hat, q_hat)
    assert len(SparseRademacher().overlap(sp.S.Zero)[0].result.atoms(GaussianAverage)) == 2


def test_definitions_name_the_functions():
    names = [name for name, _ in prior_rules.denoiser_definitions(Rademacher())]
    assert names == [prior_rules.Z_IN, prior_rules.F_IN]
