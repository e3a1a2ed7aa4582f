"""The rules that differentiate the energy of an empirical risk: its saddle point in textbook form.

Stein and Price for the averages over fields; the envelope's derivatives are the proximal operator.  B.
Loureiro et al., NeurIPS 34 (2021) 18137, arXiv 2102.08127.
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.derivation import Comparison, Derivation, Kind, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.ingredients.convex import ConvexProfile
from replica.risk_action import (
    Evidence,
    Legendre,
    Moreau,
)
from replica.risk_ground_rules import insert_penalty
from replica.risk_rules import F_OUT, FIELD, Components, point_for, with_evidence
from replica.symbols import V, V_hat, alpha, m, m_hat, omega, q, q_hat, y

# --- stationarity of the outputs' part ----------------------------------------------------------------------


def _is_named(node: Any) -> bool:
    return isinstance(node, GaussianAverage) and node.has(Evidence)


def _differentiate(expr: sp.Expr) -> sp.Expr:
    """Price's theorem, with the heat equation of Z_0 and dM/dV = -(dM/domega)^2/2 built into their names."""
    derived = expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables))
    return _merged(derived)


def _merged(expr: sp.Expr) -> sp.Expr:
    """E[f] + E[g] = E[f + g] and so for the sum over outputs, expanded so that equal terms cancel."""
    bodies, frame = [], None
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        outside, average = term.as_independent(GaussianAverage, as_Add=False)
        prefactor, total = average.body.as_independent(OutputSum, as_Add=False)
        frame = (average, total)
        bodies.append(outside * prefactor * total.body)
    if frame is None:
        return expr
    average, total = frame
    body = sp.expand(sp.Add(*bodies))
    return (
        average.func(OutputSum(body, total.var, total.outputs), *average.args[1:]) if body != 0 else sp.S.Zero
    )


def _integrate_by_parts(expr: sp.Expr) -> sp.Expr:
    """Stein's lemma on every term with a factor omega: E[omega F] = variance E[F']."""

    def rewrite(average: GaussianAverage) -> sp.Expr:
        total = average.body
        terms = []
        for term in sp.Add.make_args(sp.expand(total.body)):
            rest, power = _outer_power(term, average.var)
            terms.append(term if power == 0 else average.variance * rest.diff(average.var))
        body = sp.expand(sp.Add(*terms))
        constant, body = sp.factor_terms(body).as_independent(*_named_symbols(body), as_Add=False)
        return constant * average.func(OutputSum(body, total.var, total.outputs), *average.args[1:])

    return expr.replace(_is_named, rewrite)


def _outer_power(term: sp.Expr, x: sp.Symbol) -> tuple[sp.Expr, int]:
    """(term/x, 1) where x is a plain factor, else (term, 0)."""
    factors = sp.Mul.make_args(term)
    if x in factors:
        rest = list(factors)
        rest.remove(x)
        return sp.Mul(*rest), 1
    return term, 0


def _named_symbols(expr: sp.Expr) -> tuple[sp.Expr, ...]:
    return tuple(expr.atoms(Evidence, Moreau)) or (sp.Dummy(),)


def _score(expr: sp.Expr) -> sp.Expr:
    """dM/domega = -f."""
    return expr.replace(
        lambda e: isinstance(e, Moreau) and e.args[3] > 0,
        lambda e: -F_OUT if e.args[3] == 1 else -sp.Derivative(F_OUT, (omega, e.args[3] - 1)),
    )


def _check_with_square(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """With sign outputs and the square loss, whose Z_0 = ndtr(y omega/sqrt V) and M = (y - omega)^2/(2 (1 +
    V)) are known: quadrature by mpmath.
    """
    from replica.ingredients.channels import Sign

    at = point_for(before, after)
    envelope = (y - omega) ** 2 / (2 * (1 + V))
    values = []
    for side in (before, after):
        known = side.replace(F_OUT.func, lambda a, c, d: -envelope.diff(omega))
        known = known.replace(lambda e: isinstance(e, Moreau), lambda e: envelope.diff(omega, int(e.args[3])))
        known = known.replace(
            sp.Derivative,
            lambda e, *v: e.diff(*v) if not e.has(Evidence, OutputSum) else sp.Derivative(e, *v),
        )
        known = with_evidence(known, Sign())
        known = known.replace(sp.Derivative, lambda e, *v: e.diff(*v))
        known = known.replace(OutputSum, lambda e, v, _: OutputSum(e, v, sp.FiniteSet(-1, 1)))
        known = known.replace(OutputSum, lambda e, v, s: OutputSum(e, v, s).doit())
        values.append(sp.N(known.subs(at), 15))
    return (Comparison("sign outputs, square loss", values[0], values[1], 1e-9),)


PRICE = Rule(
    "Price's theorem",
    Kind.IDENTITY,
    _differentiate,
    "in the variance of omega; dZ_0/dV = (1/2) d^2 Z_0/domega^2 (heat) and dM/dV = -(dM/domega)^2/2",
    _check_with_square,
)
STEIN = Rule(
    "Stein's lemma",
    Kind.IDENTITY,
    _integrate_by_parts,
    "E[omega F(omega)] = q E[F'(omega)]",
    _check_with_square,
)
SCORE = Rule(
    "output function",
    Kind.IDENTITY,
    _score,
    "f = (prox - omega)/V = -dM/domega",
    _check_with_square,
    ((F_OUT, "(prox - omega)/V"),),
)


def conjugate_equation(
    conjugate: sp.Symbol, order_parameter: sp.Symbol, factor: int, outputs: sp.Set, second_moment: sp.Expr
) -> Derivation:
    """conjugate = factor * alpha * d/d(order parameter) of -E_omega int dy Z_0 M, in textbook form.

    The Legendre term is -m m_hat + (q V_hat - V q_hat)/2, so V_hat belongs to q (factor -2), q_hat to V
    (factor 2) and m_hat to m (factor 1).
    """
    psi = _named_average(outputs, second_moment)
    derivation = Derivation.start(
        f"Conjugate of {order_parameter}", conjugate, -factor * alpha * sp.Derivative(psi, order_parameter)
    ).then(PRICE)
    if order_parameter != V:
        derivation = derivation.then(STEIN)
    return derivation.then(SCORE)


def _named_average(outputs: sp.Set, second_moment: sp.Expr) -> sp.Expr:
    evidence = Evidence(y, m * omega / q, second_moment - m**2 / q, 0)
    return GaussianAverage(OutputSum(evidence * Moreau(y, omega, V, 0), y, outputs), omega, 0, q)


# --- stationarity of the weights' part ----------------------------------------------------------------------


def _differentiate_weights(expr: sp.Expr) -> sp.Expr:
    return sp.expand(expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables)))


def _check_with_parabola(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """With the penalty w^2/2, phi = B^2/(2 (1 + V_hat)): exact Gaussian moments."""
    at = point_for(before, after)
    phi = FIELD**2 / (2 * (1 + V_hat))
    values = []
    for side in (before, after):
        known = side.replace(lambda e: isinstance(e, Legendre), lambda e: phi.diff(FIELD, int(e.args[2])))
        known = known.replace(GaussianAverage, lambda *a: GaussianAverage(*a).doit())
        values.append(sp.N(known.doit().subs(at), 15))
    return (Comparison("r(w) = w^2/2", values[0], values[1], 1e-12),)


PRICE_WEIGHTS = Rule(
    "Price's theorem on the weights",
    Kind.IDENTITY,
    _differentiate_weights,
    "in mean and variance of B; dphi/dV_hat = -(dphi/dB)^2/2 (envelope theorem)",
    _check_with_parabola,
)


def overlap_equation(
    unknown: sp.Symbol, conjugate: sp.Symbol, factor: int, components: Components, profile: ConvexProfile
) -> Derivation:
    """unknown = factor * d/d(conjugate) of E_B phi(B, V_hat): m (factor 1), q (-2), V (2)."""
    psi = sp.Add(
        *(
            p * GaussianAverage(Legendre(FIELD, V_hat, 0), FIELD, m_hat * mean, q_hat + m_hat**2 * v)
            for p, mean, v in components
        )
    )
    start = factor * sp.Derivative(psi, conjugate)
    return (
        Derivation.start(f"Overlap {unknown}", unknown, start)
        .then(PRICE_WEIGHTS)
        .then(insert_penalty(profile))
    )
