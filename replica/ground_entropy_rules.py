"""The entropy of the ground state of Ising spins: the free energy to first order in the temperature.

At low temperature q = 1 - V T for the innermost overlap and m = a T; T log 2cosh(w/T) is |w| up to what a
smooth law of w turns into order T^2.  So -f is a function of T that the energies and the variances of the
fields give, and s = -df/dT at T = 0; overlaps and blocks are stationary and are not varied.  V first enters
at this order.  D. Sherrington, S. Kirkpatrick, PRL 35 (1975) 1792 found -1/(2 pi) for their model.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.recursion import KinkLevel, LogMoment, Tilted, by_name, linear
from replica.expr.stable import log2cosh
from replica.ground_rules import expanded, insert_spin, slopes
from replica.symbols import V, beta, q

TEMPERATURE = sp.Symbol("T", positive=True)
ENTROPY = sp.Symbol("s", real=True)


def ground_entropy(chosen: Any, phi: sp.Expr) -> Derivation:
    """From the free entropy to s at T = 0, a function of the unknowns of the ground state."""
    cold = sp.expand_mul(TEMPERATURE * phi.subs(beta, 1 / TEMPERATURE), deep=False)
    start = sp.Derivative(cold, TEMPERATURE, evaluate=False)
    derivation = Derivation.start("Entropy of the ground state", ENTROPY, start)
    for rule in (_low_temperature(chosen), insert_spin, first_order, stationary_response):
        derivation = derivation.then(rule)
    return derivation


def _low_temperature(chosen: Any) -> Rule:
    innermost = chosen.overlaps(q)[-1]
    scaled: dict[Any, Any] = {innermost: 1 - V * TEMPERATURE}
    scaled |= {m: a * TEMPERATURE for m, a in zip(chosen.blocks, slopes(chosen), strict=True)}

    def rescaled(expr: sp.Expr, power: int) -> sp.Expr:
        return sp.cancel(sp.expand(expanded(expr.subs(scaled), TEMPERATURE) * TEMPERATURE**power))

    def cooled(node: Any) -> sp.Expr:
        """Of T times a free entropy, fields times T."""
        if isinstance(node, LogMoment):
            law = (node.var, node.mean, rescaled(node.variance, 2))
            return LogMoment(cooled(node.inner), *law, rescaled(node.power, -1))
        if isinstance(node, log2cosh):
            return sp.Abs(node.args[0])
        raise ValueError(f"no low-temperature form of {node}")

    def apply(expr: sp.Expr) -> sp.Expr:
        total = sp.S.Zero
        for term in sp.Add.make_args(expr.expr):
            factor, rest = term.as_independent(GaussianAverage, as_Add=False)
            if isinstance(rest, GaussianAverage) and factor == TEMPERATURE:
                law = (rescaled(rest.mean, 1), rescaled(rest.variance, 2))
                total += GaussianAverage(cooled(rest.body), rest.var, *law)
            else:
                total += rescaled(term, 0)
        return sp.Derivative(total, TEMPERATURE, evaluate=False)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The energies at a point, where the change of variables is exact; a spin in a smooth field."""
        plain = [sp.Add(*(t for t in sp.Add.make_args(e.expr) if not t.has(Binder))) for e in (before, after)]
        free = sorted((plain[0].subs(scaled) - plain[1]).free_symbols | {V, TEMPERATURE}, key=str)
        at = {s: sp.Rational(3 + 2 * k, 20 + k) for k, s in enumerate(free)}
        left, right = plain[0].subs(scaled).subs(at), plain[1].subs(at)
        u = sp.Dummy("u", real=True)
        law = (u, sp.Rational(3, 10), sp.Rational(7, 5))
        frozen = GaussianAverage(sp.Abs(u), *law).doit()
        excess = [
            sp.N(GaussianAverage(log2cosh(k * u) / k, *law) - frozen, 15)
            for k in (sp.Integer(10), sp.Integer(20))
        ]
        return (
            Comparison("energies", sp.N(left, 20), sp.N(right, 20), 1e-15),
            Comparison("a spin differs by order T^2", excess[0] / excess[1], sp.Integer(4), 0.01),
        )

    introduces = (
        (V, "(1 - q)/T of the innermost overlap"),
        *((a, "replicas in a block, over the temperature") for a in slopes(chosen)),
    )
    return Rule(
        "low temperature",
        Kind.LIMIT,
        apply,
        "q = 1 - V T and m = a T; T log 2cosh(w/T) = |w| up to terms that vanish faster than T on average",
        check,
        introduces,
    )


def _first_order(expr: sp.Expr) -> sp.Expr:
    slope = linear(expr.expr.diff(TEMPERATURE))
    terms = (sp.expand_mul(t, deep=False) for t in sp.Add.make_args(slope))
    return linear(sp.Add(*terms).subs(TEMPERATURE, 0))


def _check_first_order(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Against differences in T, with spins of weight exp(w^2/10) where there are levels."""
    whole = before.expr
    free = sorted((whole.free_symbols | after.free_symbols) - {TEMPERATURE}, key=str)
    at = {s: sp.Rational(3 + 2 * k, 20 + k) for k, s in enumerate(free)}
    step = sp.Rational(1, 10**6)

    def value(expr: sp.Expr) -> sp.Expr:
        flat = expr.subs(at).replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())
        return sp.N(evaluate_inside(flat), 25)

    probe = whole.replace(KinkLevel, _quadratic)
    slope = _first_order(sp.Derivative(probe, TEMPERATURE, evaluate=False))
    up, down = (value(probe.subs(TEMPERATURE, k * step)) for k in (1, -1))
    return (
        Comparison("d(-f)/dT by differences", (up - down) / (2 * step), value(slope), 1e-8),
        Comparison("the rule on the spin", _first_order(before) - after, sp.S.Zero, 0),
    )


def _quadratic(w: Any, v: Any, a: Any, *orders: Any) -> sp.Expr:
    """(1/a) log E exp(a u^2/10) in place of |u|, u ~ N(w, v)."""
    at = dict(zip(sp.symbols("w v a", real=True), (w, v, a), strict=True))
    x, variance, slope = at
    stiff = 1 - slope * variance / 5
    found = x**2 / (10 * stiff) - sp.log(stiff) / (2 * slope)
    return found.diff(x, int(orders[0]), slope, int(orders[1])).subs(at)


first_order = Rule(
    "first order in T",
    Kind.LIMIT,
    _first_order,
    "Price: dE[f]/dv = E[f'']/2 for the variances, which depend on T through q = 1 - V T",
    _check_first_order,
    shown=lambda before, after: Printed(*by_name(after)),
)


def response(derivation: Derivation) -> sp.Expr:
    """V = (1 - q)/T of the innermost overlap at T -> 0, from the derivation of the entropy."""
    flat, averages = _without_averages(derivation["stationarity in V"].before)
    return _extremum(flat).xreplace(averages)


def _without_averages(expr: sp.Expr) -> tuple[sp.Expr, dict[sp.Basic, sp.Basic]]:
    slots = {e: sp.Dummy() for e in expr.atoms(GaussianAverage)}
    return sp.expand(expr.xreplace(slots)), {d: e for e, d in slots.items()}


def _extremum(parabola: sp.Expr) -> sp.Expr:
    (found,) = sp.roots(sp.Poly(parabola.diff(V), V))
    return found


def _stationary_response(expr: sp.Expr) -> sp.Expr:
    flat, averages = _without_averages(expr)
    return sp.factor(flat.subs(V, _extremum(flat))).xreplace(averages)


def _check_stationary_response(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The extremum of a parabola through three points."""
    slots = {e: sp.Dummy() for e in before.atoms(GaussianAverage)}
    flat = before.xreplace(slots)
    free = sorted(flat.free_symbols - {V}, key=str)
    at = {s: sp.Rational(3 + 2 * k, 20 + k) for k, s in enumerate(free)}
    low, middle, high = (sp.N(flat.subs(at).subs(V, k), 30) for k in (-1, 0, 1))
    bend, slope = (high + low) / 2 - middle, (high - low) / 2
    found = sp.N(after.xreplace(slots).subs(at), 30)
    return (Comparison("at its extremum", found, middle - slope**2 / (4 * bend), 1e-15),)


stationary_response = Rule(
    "stationarity in V",
    Kind.IDENTITY,
    _stationary_response,
    "V enters the free energy first at this order, in which it is quadratic",
    _check_stationary_response,
)
