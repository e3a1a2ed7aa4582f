"""How many states there are: the complexity from the free entropy of one step at a given size of the blocks.

The states a of a system have weights exp(-N beta f_a).  Replicas in one block are in one state, so blocks of
m replicas weight the states by the m-th power: sum_a exp(-N beta m f_a) = exp(N m Phi(m)).  With exp(N
Sigma(f)) states of free energy f, m Phi is the Legendre transform of Sigma.  R. Monasson, PRL 75 (1995)
2847.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.binder import evaluate_inside
from replica.expr.recursion import LogMoment, Tilted, by_name, linear
from replica.expr.stable import log2cosh
from replica.symbols import beta, n, q
from solvers.errors import InputError

SIGMA, STATE = sp.Symbol("Sigma", real=True), sp.Symbol("f", real=True)
"""The complexity, and the free energy of the states that are counted."""


class StatesCounted(sp.Expr):
    """(1/N) log of the number of states of free energy f.  Args: Phi, its m, inverse temperature, f."""

    def _latex(self, printer: Any) -> str:
        _, m, inverse, state = (printer._print(a) for a in self.args)
        return (
            rf"\frac{{1}}{{N}}\log\#\{{a: f_a={state}\}},\quad "
            rf"\sum_a e^{{-N{inverse} {m}f_a}}=e^{{N{m}\Phi({m})}}"
        )


def _block(chosen: Any) -> sp.Symbol:
    if chosen.steps != 1:
        raise InputError(f"states are counted with one step of breaking, not with {chosen.name}")
    return chosen.blocks[0]


def complexity(chosen: Any, phi: sp.Expr) -> Derivation:
    """Sigma of the states that dominate at m: -m^2 dPhi/dm."""
    m = _block(chosen)
    start = Derivation.start("Complexity of the states", SIGMA, StatesCounted(phi, m, beta, STATE))
    return start.then(sum_over_states).then(_dominant_states(phi, m))


def state_free_energy(chosen: Any, phi: sp.Expr) -> Derivation:
    """The free energy of the states that dominate at m: d(m f)/dm at f = -Phi/beta."""
    m = _block(chosen)
    start = sp.Derivative(-m * phi / beta, m, evaluate=False)
    return Derivation.start("Free energy of the states", STATE, start).then(_slope_in_size(m))


sum_over_states = Rule(
    "the sum over states",
    Kind.CONJECTURE,
    lambda expr: expr.args[1] * (expr.args[0] + expr.args[2] * expr.args[3]),
    "Laplace's method in the sum over states: m Phi(m) is the maximum over f of Sigma(f) - beta m f, and its "
    "inverse transform is stationary in m",
    introduces=((STATE, "free energy of a state"),),
)


def _slope(phi: sp.Expr, m: sp.Symbol) -> sp.Expr:
    """dPhi/dm at fixed overlaps, in which Phi is stationary."""
    return linear(phi.diff(m))


def _spread(expr: sp.Expr) -> sp.Expr:
    """Products of sums multiplied out, what is inside averages left as it is."""
    terms = (sp.expand_mul(t, deep=False) for t in sp.Add.make_args(expr))
    return sp.Add(*terms)


def _dominant_states(phi: sp.Expr, m: sp.Symbol) -> Rule:
    def apply(expr: sp.Expr) -> sp.Expr:
        named = sp.Dummy("Phi")  # what is multiplied out stays a sum of averages
        chosen = -(named + m * sp.Symbol("slope")) / beta
        found = sp.expand(expr.subs(phi, named).subs(STATE, chosen))
        return _spread(found.subs(named, phi).subs(sp.Symbol("slope"), _slope(phi, m)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The transform at the f that it chooses is stationary in m, by differences, and has this value."""
        at, value = _probe(before, after)
        step = sp.Rational(1, 10**5)
        ends = [before.subs(m, at[m] + k * step) for k in (1, -1)]
        rise = value(ends[0].subs(STATE, 0)) - value(ends[1].subs(STATE, 0))
        chosen = -rise / (2 * step) / at[beta]
        return (
            Comparison("stationary in m", value(before.subs(STATE, chosen)), value(after), 1e-8),
            Comparison("-m^2 dPhi/dm", after - _spread(-(m**2) * _slope(phi, m)), sp.S.Zero, 0),
        )

    return Rule(
        "the states that dominate",
        Kind.IDENTITY,
        apply,
        "d/dm = 0 gives their free energy, -d(m Phi)/dm over beta; overlaps are stationary, not varied",
        check,
        shown=lambda before, after: Printed(*by_name(after)),
    )


def _slope_in_size(m: sp.Symbol) -> Rule:
    def apply(expr: sp.Expr) -> sp.Expr:
        return _spread(linear(sp.expand_mul(expr.expr, deep=False).diff(m)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        at, value = _probe(before.expr, after)
        step = sp.Rational(1, 10**5)
        up, down = (value(before.expr.subs(m, at[m] + k * step)) for k in (1, -1))
        return (Comparison("d(m f)/dm by differences", (up - down) / (2 * step), value(after), 1e-8),)

    return Rule(
        "derivative in the size of the blocks",
        Kind.IDENTITY,
        apply,
        "Price: dE[f]/dv = E[f'']/2; overlaps are stationary and are not varied",
        check,
        shown=lambda before, after: Printed(*by_name(after)),
    )


def _probe(*expressions: sp.Expr) -> tuple[dict[Any, Any], Any]:
    """A point, and how to evaluate there with spins of weight exp(w^2/10), where averages have closed forms
    (the rules do not look at the weight).
    """
    free = set().union(*(e.free_symbols for e in expressions)) - {STATE}
    at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(sorted(free, key=str))}

    def value(expr: sp.Expr) -> sp.Expr:
        probe = expr.replace(log2cosh, lambda x: x**2 / 10).replace(sp.tanh, lambda x: x / 5)
        flat = probe.subs(at).replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())
        return sp.N(evaluate_inside(flat), 25)

    return at, value


def pair_equation(chosen: Any, overlap: sp.Symbol, slope: sp.Expr) -> Derivation:
    """dPhi/dq over the number of pairs of replicas with this overlap, per replica, at n -> 0.

    At m = 1 no pair has the overlap of a block, and Phi does not depend on it; the quotient is what its
    stationarity tends to there.
    """
    row = sp.expand(chosen.matrix(n, 1, q).sum_over_pairs(lambda entry: entry) / n).subs(n, 0)
    count = row.coeff(overlap)

    def apply(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(sp.factor(term / count) for term in sp.Add.make_args(expr)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        free = sorted(before.free_symbols, key=str)
        at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}
        pairs = (chosen.matrix(n, 1, q).sum_over_pairs(lambda entry: entry) / n).diff(overlap)
        left, right = before.subs(at), (pairs.subs(n, 0) * after).subs(at)
        return (Comparison("times the number of pairs", sp.N(left, 20), sp.N(right, 20), 1e-15),)

    rule = Rule(
        "per pair of replicas",
        Kind.IDENTITY,
        apply,
        "dPhi/dQ_ab of one pair: the derivative in an overlap over the number of pairs that have it",
        check,
    )
    return Derivation.start("Overlap", sp.S.Zero, slope).then(rule)
