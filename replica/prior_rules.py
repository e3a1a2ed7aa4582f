"""Rules for a separable prior: its free entropy from Z_in, and the overlap q = E f_in^2."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from functools import partial
from typing import Any

import sympy as sp

from replica.action import LikelihoodEntropy, cancel_rational, nodes_of
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.printing import fits
from replica.expr.rules import heat_equation
from replica.symbols import A, B, q, q_hat, rho

Z_IN = sp.Function("Z_in", positive=True)(A, B)
"""E_x exp(B x - A x^2/2), by name."""
F_IN = sp.Function("f_in", real=True)(A, B)
"""The denoiser, d log Z_in/dB, by name."""

_POINT = {q_hat: sp.Rational(7, 5), rho: sp.Rational(2, 5)}
Z_IN_MEANING = (Z_IN, "moment generating function of the prior, E_x exp(B x - A x^2/2)")


def insert_prior(prior: Any, strength: sp.Symbol = q_hat, owner: str = "") -> Rule:
    """Coordinates decouple: E_z[X log X] of one coordinate, X = Z_in(q_hat, B) with B = sqrt(q_hat) z, by the
    law of B given x.  ``strength`` is the conjugate whose signal has this prior; ``owner`` names that signal
    in print where there are several.
    """

    def node_of(expr: sp.Expr) -> LikelihoodEntropy:
        (node,) = (m for m in nodes_of(expr, LikelihoodEntropy) if m.args[0] == strength)
        return node

    def apply(expr: sp.Expr) -> sp.Expr:
        inserted = observed_average(prior, prior.log_partition(), strength)
        return expr.xreplace({node_of(expr): inserted})

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """E_z[X log X] with X from the definition, against what stands in its place."""
        node = node_of(before)
        weight = before.coeff(node)
        inserted = (after - before.xreplace({node: sp.S.Zero})) / weight
        at = _POINT | {strength: _POINT[q_hat]}
        direct = _direct_average(prior, _POINT[q_hat], lambda ratio: ratio * sp.log(ratio))
        return (Comparison("one coordinate", direct, sp.N(sp.expand_mul(inserted).subs(at), 15), 1e-9),)

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        node = node_of(before)
        around = sp.Add.make_args(before.xreplace({node: sp.S.Zero}))
        inserted = sp.Add(after, *(-term for term in around))
        if fits(inserted) or not inserted.has(Binder):
            return None
        named = _owned(Z_IN, owner).subs(A, strength)
        entropy = GaussianAverage(named * sp.log(named), B, 0, strength)
        return Printed(before.xreplace({node: entropy}), partition_definitions(prior, owner))

    return Rule(
        "separable prior",
        Kind.IDENTITY,
        apply,
        "the coordinates are independent; Z_in(A, B) N(B; 0, A) is the law of B = A x + sqrt(A) z, A = q_hat",
        check,
        (Z_IN_MEANING,),
        shown,
    )


def observed_average(prior: Any, body: sp.Expr, strength: sp.Expr) -> sp.Expr:
    """E of body(A, B) over B = A x + sqrt(A) z at A = ``strength``, x from the prior, in closed form where a
    rule gives one.
    """
    return cancel_rational(evaluate_inside(prior.observed(body).subs(A, strength)))


def _owned(expr: sp.Expr, owner: str) -> sp.Expr:
    """Z_in and f_in with the name of the signal whose prior they are of."""
    if not owner:
        return expr
    names = {
        Z_IN.func: sp.Function(f"Z_in^{owner}", positive=True),
        F_IN.func: sp.Function(f"f_in^{owner}", real=True),
    }
    return expr.replace(lambda e: e.func in names, lambda e: names[e.func](*e.args))


def partition_definitions(prior: Any, owner: str = "") -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """Z_in(A, B) of the prior."""
    return ((_owned(Z_IN, owner), _with_cosh(prior.partition())),)


def denoiser_definitions(prior: Any, owner: str = "") -> tuple[tuple[sp.Expr, sp.Expr], ...]:
    """Z_in and f_in."""
    score = sp.Derivative(sp.log(_owned(Z_IN, owner)), B)
    return (*partition_definitions(prior, owner), (_owned(F_IN, owner), score))


def _with_cosh(partition: sp.Expr) -> sp.Expr:
    """Mirror images e^(a + b) + e^(a - b), b odd in B, as 2 e^a cosh b; for print."""
    rest = list(sp.Add.make_args(partition))
    total: list[sp.Expr] = []
    while rest:
        term = rest.pop(0)
        image = term.subs(B, -B)
        if image == term or image not in rest or len(term.atoms(sp.exp)) != 1:
            total.append(term)
            continue
        rest.remove(image)
        (power,) = term.atoms(sp.exp)
        odd = sp.expand((power.args[0] - power.args[0].subs(B, -B)) / 2)
        odd = -odd if odd.could_extract_minus_sign() else odd
        even = sp.expand((power.args[0] + power.args[0].subs(B, -B)) / 2)
        total.append(2 * term / power * sp.exp(even) * sp.cosh(odd))
    return sp.Add(*total)


def overlap_equation(overlap: sp.Symbol = q) -> Derivation:
    """q = 2 dPsi_in/dq_hat for any separable prior, Psi_in = E_{B ~ N(0, A)} Z_in log Z_in at A = q_hat."""
    psi = GaussianAverage(Z_IN * sp.log(Z_IN), B, 0, A)
    start = 2 * sp.Derivative(psi, A)
    derivation = Derivation.start("Overlap", overlap, start)
    return derivation.then(_PRICE).then(_HEAT).then(_DENOISER)


def insert_denoiser(prior: Any, strength: sp.Symbol = q_hat, owner: str = "") -> Rule:
    """The denoiser of the prior in E_B Z_in f_in^2; arguments as of ``insert_prior``."""

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(_: GaussianAverage) -> sp.Expr:
            return observed_average(prior, prior.denoiser() ** 2, strength)

        return expr.replace(lambda e: isinstance(e, GaussianAverage), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        after = after.subs(strength, q_hat)
        return (_against_posterior("E <x>^2", prior, after, lambda m0, m1, m2: m1**2 / m0),)

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        if fits(after) or not after.has(Binder):
            return None
        return Printed(_owned(before, owner).subs(A, strength), denoiser_definitions(prior, owner))

    reference = "closed form of Z_in and of its logarithmic derivative; B has the law A x + sqrt(A) z"
    return Rule("denoiser of the prior", Kind.IDENTITY, apply, reference, check, shown=shown)


def mean_square_error(prior: Any) -> Rule:
    """From q = E f_in^2 to the error v = E x^2 - q = E df_in/dB, a sum of positive terms: small v keep
    their digits.
    """

    def apply(expr: sp.Expr) -> sp.Expr:
        return observed_average(prior, prior.posterior_variance(), q_hat)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        posterior = _against_posterior("E Var x", prior, after, lambda m0, m1, m2: m2 - m1**2 / m0)
        total = sp.N((before + after).subs(_POINT), 15)
        second = sp.sympify(prior.second_moment).subs(_POINT)
        return (posterior, Comparison("q + v = E x^2", total, sp.N(second, 15), 1e-10))

    reference = "f_in is the posterior mean, df_in/dB the posterior variance; q + v = E x^2 (Nishimori)"
    return Rule("posterior variance", Kind.IDENTITY, apply, reference, check)


def signal_part(phi: sp.Expr, overlap: sp.Symbol, conjugate: sp.Symbol) -> sp.Expr:
    """The terms of a free entropy that know the prior: those of the conjugate alone."""
    return sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(conjugate) and not t.has(overlap)))


def in_digits(
    phi: sp.Expr, prior: Any, overlap: sp.Symbol, conjugate: sp.Symbol, weight: sp.Expr = sp.S.One
) -> sp.Expr:
    """Phi for numbers: what is of order q_hat, or 1/q_hat, and cancels in it is cancelled in symbols.

    The signal's part of Phi, ``weight`` times (psi(q_hat) - q q_hat/2), is that of psi = q_hat E x^2/2 - I.
    """
    lost = prior.lost_information()
    if lost is None:
        return phi
    rest = phi - signal_part(phi, overlap, conjugate) + weight * overlap * conjugate / 2
    spread = conjugate * (prior.second_moment - overlap) / 2
    return rest + weight * (spread + lost.subs(A, conjugate))


def _against_posterior(what: str, prior: Any, after: sp.Expr, of_moments: Any) -> Comparison:
    """A function of the posterior moments Z_in <x^k> averaged over z, from the definition by quadrature."""
    z = sp.Symbol("z", real=True)
    strength = _POINT[q_hat]
    moments = [_posterior_moment(prior, strength, z, k) for k in range(3)]
    direct = sp.N(GaussianAverage(of_moments(*moments).subs(_POINT), z, 0, 1), 15)
    return Comparison(what, direct, sp.N(after.subs(_POINT), 15), 1e-9)


def _posterior_moment(prior: Any, strength: sp.Expr, z: sp.Symbol, order: int) -> sp.Expr:
    """E_x x^order exp(sqrt(q_hat) z x - q_hat x^2/2)."""
    return prior.tilted_moment(order).subs({A: strength, B: sp.sqrt(strength) * z})


def _direct_average(prior: Any, strength: sp.Expr, function: Any) -> sp.Expr:
    z = sp.Symbol("z", real=True)
    ratio = _posterior_moment(prior, strength, z, 0).subs(_POINT)
    return sp.N(GaussianAverage(function(ratio), z, 0, 1), 15)


def _merged(expr: sp.Expr) -> sp.Expr:
    """E f + E g = E (f + g) for averages over the same variable."""
    bodies, law = [], ()
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        (average,) = term.atoms(GaussianAverage)
        bodies.append(term / average * average.body)
        law = average.args[1:]
    constant, body = sp.expand(sp.Add(*bodies)).as_independent(A, B, as_Add=False)
    return constant * GaussianAverage(body, *law)


def _price(expr: sp.Expr) -> sp.Expr:
    return _merged(sp.expand_mul(expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables))))


def _heat(expr: sp.Expr) -> sp.Expr:
    return _merged(heat_equation(expr, Z_IN, B, A, sign=-1))


def _denoise(expr: sp.Expr) -> sp.Expr:
    return expr.replace(lambda e: e == sp.Derivative(Z_IN, B), lambda _: Z_IN * F_IN)


def _check_with_spin(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """On the prior +-1, whose Z_in = exp(-A/2) cosh B is known: both sides by quadrature."""
    values = []
    for side in (before, after):
        known = side.replace(F_IN.func, lambda a, b: sp.tanh(b))
        known = known.replace(Z_IN.func, lambda a, b: sp.exp(-a / 2) * sp.cosh(b)).doit()
        values.append(sp.N(known.subs(A, _POINT[q_hat]), 15))
    return (Comparison("prior +-1", values[0], values[1], 1e-10),)


_rule = partial(Rule, kind=Kind.IDENTITY, check=_check_with_spin)
_PRICE = _rule(
    name="Price's theorem",
    apply=_price,
    reference="dE f/dA = E df/dA + E f''/2 in the variance of B; A = q_hat",
    introduces=(Z_IN_MEANING,),
)
_HEAT = _rule(
    name="heat equation, backwards",
    apply=_heat,
    reference="dZ_in/dA = -(1/2) d^2 Z_in/dB^2: the terms with log Z_in and the total derivative cancel",
)
_DENOISER = _rule(
    name="denoiser",
    apply=_denoise,
    reference="f_in = d log Z_in/dB",
    introduces=((F_IN, "d log Z_in/dB, the posterior mean"),),
)
