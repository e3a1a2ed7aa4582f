"""Terms of the loss of empirical risks against the published ones, one a test.

B. Aubin, F. Krzakala, Y. Lu and L. Zdeborova, arXiv 2006.06560; B. Loureiro et al.,
arXiv 2102.08127.

The left-hand sides are the library's expressions. The right-hand sides are written here from the papers, in their
form (which is often another than the library's), and averaged by mpmath at 30 digits: ``published_terms``.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import mpmath
import sympy as sp
from mpmath import exp, mpf, npdf, sqrt
from published_terms import DIGITS, RIDGE, agree, average, cdf, point, risk, same, sigmoid, slow, terms

from replica.ingredients.channels import GaussianNoise, Sign
from replica.ingredients.losses import (
    AbsoluteLoss,
    HingeLoss,
    HuberLoss,
    LogisticLoss,
    SquaredHingeLoss,
    SquareLoss,
    epsilon,
)
from replica.symbols import V, V_hat, alpha, delta, m, m_hat, q, q_hat


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
    """r^2/(2 (1 + V)) for |r| < e (1 + V), else e |r| - e^2 (1 + V)/2, with the threshold e."""

    def energy(a, b, v, noise, k):
        spread, knee = sqrt(noise + 1 + b - 2 * a), k * (1 + v)

        def envelope(r):
            return r**2 / (2 * (1 + v)) if abs(r) < knee else k * abs(r) - k * knee / 2

        return -average(lambda z: envelope(spread * z), knee / spread, -knee / spread)

    agree(loss_energy(risk(GaussianNoise(), HuberLoss())), at_residuals(1, epsilon), energy)


@slow
def test_huber_reaction_to_the_noise():
    """q_hat/alpha = E f^2, f = r/(1 + V) cut at the threshold."""

    def term(a, b, v, noise, k):
        spread, knee = sqrt(noise + 1 + b - 2 * a), k * (1 + v)
        return average(lambda z: min(k, abs(spread * z) / (1 + v)) ** 2, knee / spread, -knee / spread)

    saddle = risk(GaussianNoise(), HuberLoss()).saddle_point()
    agree(saddle.update(q_hat).subs(alpha, 1), at_residuals(2, epsilon), term)


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
