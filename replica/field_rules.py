"""The rules for spins with Gaussian energies: from E[Z^n] to the free entropy of any ansatz.

D. Sherrington, S. Kirkpatrick, Phys. Rev. Lett. 35 (1975) 1792; B. Derrida, Phys. Rev. B 24 (1981) 2613; A.
Crisanti, H.-J. Sommers, Z. Phys. B 87 (1992) 341 (spherical); M. Mezard, G. Parisi, M. A. Virasoro, Spin
Glass Theory and Beyond (1987), chapter III.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from replica import ansatz as ansaetze
from replica.action import Q_HAT, PairSum, Q, nodes_of
from replica.binary_evidence import spin_log_moment, thermodynamic_limit
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.recursion import LogMoment, Tilted, by_name, linear
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import log2cosh
from replica.field_action import ISING, EntrySum, ReplicatedSpins, SphereVolume, SpinSum, spin_moment
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import beta, n, q, q_hat

FIELD = sp.Symbol("w", real=True)
"""The field on a spin, in units of the temperature."""


def shared_fields(count: int) -> tuple[sp.Symbol, ...]:
    """w_0, ..., w_{count-1}: the field that all replicas share, those that a block shares, ..."""
    return tuple(sp.Symbol(f"w_{i}", real=True) for i in range(count))


# --- the average over the energies --------------------------------------------------------------------------


def _average_energies(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: ReplicatedSpins) -> sp.Expr:
        inverse, field, size, kind = node.parameters
        covariance, variable = node.body, node.bound_symbols[0]
        if kind == ISING:
            entropy = spin_moment(Q_HAT, inverse * field, size) - PairSum(Q, Q_HAT)
        else:
            covariance, entropy = covariance + field**2 * variable, SphereVolume(Q)
        return inverse**2 / 2 * EntrySum(covariance, variable, Q) + entropy

    return expr.replace(lambda e: isinstance(e, ReplicatedSpins), rewrite)


def _check_average_energies(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """E[Z^n] at n = 1 and 2: the sum over all configurations at growing N, with no overlap and no conjugate,
    against the extremum of the expression.
    """
    (node,) = nodes_of(before, ReplicatedSpins)
    kind = node.parameters[3]
    at = {
        s: sp.Rational(3 + k, 10 + k)
        for k, s in enumerate(sorted(node.free_symbols - {n, kind}, key=sp.default_sort_key))
    }
    xi, inverse, field = (
        sp.lambdify(node.bound_symbols[0], node.body.subs(at), "numpy"),
        float(node.parameters[0].subs(at)),
        float(sp.sympify(node.parameters[1]).subs(at)),
    )

    def energies(overlaps: np.ndarray) -> np.ndarray:
        spread = inverse**2 / 2 * np.broadcast_to(xi(overlaps), overlaps.shape).sum(axis=(-1, -2))
        return spread if kind == ISING else spread + (inverse * field) ** 2 / 2 * overlaps.sum(axis=(-1, -2))

    comparisons = []
    for size in (1, 2):
        if kind == ISING:
            summed = thermodynamic_limit(
                lambda k, size=size: spin_log_moment(size, energies, inverse * field, k), 40
            )
        else:
            summed = thermodynamic_limit(lambda k, size=size: _sphere_log_moment(size, energies, k), 400)
        found = _extremum(after.subs(at), size)
        comparisons.append(Comparison(f"E[Z^{size}]", sp.Float(found), sp.Float(summed), 1e-4))
    return tuple(comparisons)


def _sphere_log_moment(size: int, energies: Any, spins: int) -> float:
    """(1/N) log of the average over the overlap of two uniform points of a sphere, of density (1 -
    q^2)^((N-3)/2); one point at size 1.
    """
    overlap = np.linspace(-1, 1, 20_001)[1:-1] if size == 2 else np.zeros(1)
    matrices = np.ones((overlap.size, size, size))
    if size == 2:
        matrices[:, 0, 1] = matrices[:, 1, 0] = overlap
    law = (spins - 3) / 2 * np.log1p(-(overlap**2))
    exponent = spins * energies(matrices) + law
    top = exponent.max()
    weighted, total = np.exp(exponent - top).sum(), np.exp(law - law.max()).sum()
    return float(top - law.max() + np.log(weighted / total)) / spins


def _extremum(after: sp.Expr, size: int) -> float:
    """The expression at n = ``size`` <= 2: at n = 2 the supremum over q of the infimum over q_hat."""
    matrices = {Q: ReplicaSymmetricMatrix(size, 1, q), Q_HAT: ReplicaSymmetricMatrix(size, 0, q_hat)}
    explicit = {symbol: matrix.explicit() for symbol, matrix in matrices.items()}
    value = after.subs(n, size)
    for node in nodes_of(value, EntrySum) + nodes_of(value, PairSum) + nodes_of(value, SphereVolume):
        value = value.xreplace({node: node.explicit(*(explicit[symbol] for symbol in node.matrices))})
    for node in nodes_of(value, SpinSum):
        value = value.xreplace({node: node.xreplace(matrices).explicit()})
    if size == 1:
        return float(value)
    grid = np.linspace(1e-6, 0.95, 200_001)
    if not value.has(q_hat):
        return float(np.max(sp.lambdify(q, value, "numpy")(grid)))
    strength = np.linspace(1e-6, 6, 200_001)
    slope = value.diff(q_hat)  # -q + an average over two spins
    overlap = sp.lambdify(q_hat, slope.subs(q, 0), "numpy")(strength)
    return float(np.max(sp.lambdify((q, q_hat), value, "numpy")(overlap, strength)))


average_energies = Rule(
    "average over the energies; overlaps",
    Kind.LIMIT,
    _average_energies,
    "E exp(-b sum_a H_a) = exp(N (b^2/2) sum_ab xi(Q_ab)) for Gaussian energies; Laplace's method in Q_ab "
    "and, for Ising spins, its conjugate at N -> infinity",
    _check_average_energies,
    ((Q, "overlap matrix of the n replicas"), (Q_HAT, "its conjugate; an extremum is understood")),
)


# --- the ansatz ---------------------------------------------------------------------------------------------


def insert_ansatz(chosen: ansaetze.ReplicaSymmetric | ansaetze.KStepRSB, kind: sp.Symbol) -> Rule:
    """The matrices of an ansatz for n replicas of spins of norm 1; only Ising spins have conjugates."""
    names = [
        (s, f"overlap of replicas, level {i}" if chosen.steps else "overlap of two replicas")
        for i, s in enumerate(chosen.overlaps(q))
    ]
    names += [(s, "replicas in a block") for s in chosen.blocks]
    matrices = {Q: chosen.matrix(n, 1, q)}
    if kind == ISING:
        names += [(s, "conjugate") for s in chosen.overlaps(q_hat)]
        matrices[Q_HAT] = chosen.matrix(n, 0, q_hat)
    return ansaetze.insert(
        chosen,
        matrices,
        "the structure of the saddle point is assumed",
        tuple(names),
    )


# --- one spin -----------------------------------------------------------------------------------------------


def _site_fields(expr: sp.Expr) -> sp.Expr:
    """Of log E[SpinSum], with any discrete averages."""

    def rewrite(logarithm: sp.log) -> sp.Expr:
        (node,) = nodes_of(logarithm, SpinSum)
        matrix, field, size, spread = node.args
        inside = matrix.overlaps[-1]
        first, *others = (*matrix.levels()[:-1], sp.S.Zero)
        covariance = matrix.from_levels((first + spread, *others))
        names = shared_fields(len(matrix.overlaps))
        average = covariance.nested_average(2 * sp.cosh(FIELD), FIELD, names, field)
        # not xreplace, which would rename the patterns that the field holds
        summed = logarithm.replace(lambda e: isinstance(e, SpinSum), lambda _: average)
        return summed - size * (inside - matrix.diagonal) / 2

    return expr.replace(lambda e: isinstance(e, sp.log) and e.has(SpinSum), rewrite)


def site_fields(chosen: Any) -> Rule:
    """The sum over the replicas of one spin as nested averages over fields."""

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At integer n: the sum over all signs of the replicas."""
        (whole,) = (e for e in nodes_of(before, sp.log) if e.has(SpinSum))
        (node,) = nodes_of(whole, SpinSum)
        at = {
            s: sp.Rational(3 + 2 * k, 10 + k)
            for k, s in enumerate(sorted(node.free_symbols - {n, *chosen.blocks}, key=str))
        }
        comparisons = []
        for sizes in chosen.integer_points():
            if sizes[n] > _MOST_SPINS:
                continue
            explicit = sp.log(node.subs(sizes).subs(at).explicit())
            found = _site_fields(sp.log(node)).subs(sizes).subs(at).replace(sp.cosh, _exponentials)
            comparisons.append(
                Comparison(
                    f"n = {sizes[n]}",
                    sp.N(explicit, 15),
                    sp.N(found.replace(lambda e: isinstance(e, GaussianAverage), _expanded), 15),
                    1e-12,
                )
            )
        around = sp.expand(after - before.xreplace({whole: _site_fields(whole)}))
        return (Comparison("what surrounds it", around, sp.S.Zero, 0), *comparisons)

    return Rule(
        "Hubbard-Stratonovich on the spins",
        Kind.IDENTITY,
        _site_fields,
        "replicas of a spin interact through q_hat, a covariance: they are independent in Gaussian fields, "
        "one shared by all, one by each block",
        check,
        tuple((s, "field on a spin, over the temperature") for s in shared_fields(chosen.steps + 1)),
    )


_MOST_SPINS = 9


def _exponentials(x: sp.Expr) -> sp.Expr:
    return (sp.exp(x) + sp.exp(-x)) / 2


def _expanded(average: GaussianAverage) -> sp.Expr:
    """The average of a polynomial in exponentials, term by term."""
    return evaluate_inside(average.func(sp.expand(average.body), *average.args[1:]))


# --- n -> 0 -------------------------------------------------------------------------------------------------


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    return replica_limit(expr, n)


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences in n: of the terms without averages, and of the average at a weight that has a
    closed form, not odd in the field: what is odd in a symmetric pattern would vanish on both sides.
    """
    free = sorted((before.free_symbols | after.free_symbols) - {n}, key=str)
    at = {s: sp.Rational(3 + 2 * k, 40 + k) for k, s in enumerate(free)}  # small: determinants are positive

    def plain(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(t for t in sp.Add.make_args(expr) if not t.has(Binder))).subs(at)

    comparisons = [Comparison("terms without averages", _slope(plain(before)), plain(after), 1e-8)]
    for average in _outermost(before):
        probe = average.replace(sp.cosh, _probe_weight).subs(at)
        found = _n_to_zero(sp.log(average)).replace(sp.cosh, _probe_weight).subs(at)
        left = _slope(sp.log(evaluate_inside(probe)))
        comparisons.append(Comparison("average", sp.N(left, 12), sp.N(evaluate_inside(found), 12), 1e-6))
    return tuple(comparisons)


def _probe_weight(x: sp.Expr) -> sp.Expr:
    return sp.exp(x / 2 + sp.Rational(1, 3)) / 2


def _slope(expr: sp.Expr) -> sp.Expr:
    """d/dn at n = 0 by differences of fourth order."""
    step = sp.Rational(1, 1000)
    near, far = ((expr.subs(n, k * step) - expr.subs(n, -k * step)) / (2 * k * step) for k in (1, 2))
    return sp.N((4 * near - far) / 3, 20)


n_to_zero = Rule(
    "n -> 0",
    Kind.LIMIT,
    _n_to_zero,
    "d/dn at n = 0 of log E[X^n] = E[log X]; sizes of blocks become numbers between 0 and 1",
    _check_n_to_zero,
)


# --- the recursion by name ----------------------------------------------------------------------------------


def _name_levels(expr: sp.Expr) -> sp.Expr:
    named = expr.replace(
        lambda e: isinstance(e, sp.log) and isinstance(e.args[0], GaussianAverage),
        lambda e: _power(e.args[0]) * _level(e.args[0]),
    )
    return named.replace(lambda e: isinstance(e, sp.log), _leaf)


def _power(average: GaussianAverage) -> sp.Expr:
    """m of a level: the power of 2 cosh at the bottom, through the ratios of sizes."""
    base, power = average.body.as_base_exp()
    return power * _power(base) if isinstance(base, GaussianAverage) else power


def _level(average: GaussianAverage) -> LogMoment:
    base, _ = average.body.as_base_exp()
    inner = _level(base) if isinstance(base, GaussianAverage) else _leaf(sp.log(base))
    return LogMoment(inner, *average.args[1:], _power(average))


def _leaf(logarithm: sp.Expr) -> sp.Expr:
    half = logarithm.args[0] / 2
    return log2cosh(half.args[0]) if isinstance(half, sp.cosh) else logarithm


def _check_name_levels(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """At one value of the field that all replicas share: by quadrature for one level, and with the weight
    exp(w/2) of a spin, in closed form, for any number.
    """
    comparisons = []
    for averages in zip(_outermost(before), _outermost(after), strict=True):
        at = {
            s: sp.Rational(3 + 2 * k, 10 + k)
            for k, s in enumerate(sorted(averages[0].body.free_symbols, key=str))
        }
        left, right = (average.body.subs(at) for average in averages)
        probes = (
            left.replace(sp.cosh, lambda x: sp.exp(x / 2) / 2),
            right.replace(log2cosh, lambda x: x / 2).replace(LogMoment, lambda *a: LogMoment(*a).unfold()),
        )
        values = [sp.N(evaluate_inside(e), 15) for e in probes]
        comparisons.append(Comparison("weight exp(w/2)", *values, 1e-12))
        if len(averages[1].atoms(LogMoment)) < 2:
            comparisons.append(Comparison("free entropy of a spin", sp.N(left, 12), sp.N(right, 12), 1e-9))
    return tuple(comparisons)


def _outermost(expr: sp.Expr) -> list[GaussianAverage | DiscreteAverage]:
    """The averages that are in no other."""
    found = sorted(expr.atoms(GaussianAverage, DiscreteAverage), key=sp.default_sort_key)
    kinds = (GaussianAverage, DiscreteAverage)
    return [e for e in found if not any(e in other.body.atoms(*kinds) for other in found)]


name_levels = Rule(
    "the recursion over levels",
    Kind.IDENTITY,
    _name_levels,
    "phi_i(w) = (1/m_i) log E exp(m_i phi_{i+1}), with phi = log 2cosh innermost",
    _check_name_levels,
    shown=lambda before, after: Printed(*by_name(after)),
)


# --- conjugates ---------------------------------------------------------------------------------------------


def eliminate_conjugates(chosen: Any, others: tuple[tuple[sp.Symbol, sp.Symbol], ...] = ()) -> Rule:
    """Conjugates at their stationary values, of the overlaps of an ansatz and any others: what is left is a
    function of the overlaps.
    """
    known = (*others, *zip(chosen.overlaps(q), chosen.overlaps(q_hat), strict=True))

    def apply(expr: sp.Expr) -> sp.Expr:
        pairs = [pair for pair in known if expr.has(pair[1])]
        plain = sp.Add(*(t for t in sp.Add.make_args(sp.expand(expr)) if not t.has(Binder)))
        values = {conjugate: conjugate_update(plain, overlap, conjugate) for overlap, conjugate in pairs}
        coupling = _tidy(sp.expand_mul(plain.subs(values)))
        return coupling + sp.Add(*(t.subs(values) for t in sp.Add.make_args(expr) if t.has(Binder)))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The derivative in every overlap vanishes there, by differences of the terms that have it."""
        pairs = [pair for pair in known if before.has(pair[1])]
        plain = sp.Add(*(t for t in sp.Add.make_args(sp.expand(before)) if not t.has(Binder)))
        free = sorted(plain.free_symbols - {c for _, c in pairs}, key=str)
        at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}
        comparisons = [_same_value(before, after, {c: conjugate_update(plain, o, c) for o, c in pairs})]
        for overlap, _ in pairs:
            values = {c: conjugate_update(plain, o, c).subs(at) for o, c in pairs}
            step = sp.Rational(1, 10**6)
            here = {s: v for s, v in at.items() if s != overlap}
            up, down = (plain.subs(values).subs(here).subs(overlap, at[overlap] + k * step) for k in (1, -1))
            comparisons.append(
                Comparison(f"stationary in {overlap}", sp.N((up - down) / (2 * step), 15), sp.S.Zero, 1e-8)
            )
        return tuple(comparisons)

    return Rule(
        "stationarity in the overlaps",
        Kind.IDENTITY,
        apply,
        "dPhi/dq = 0 gives q_hat, which the coupling holds linearly; true at the saddle point",
        check,
        shown=lambda before, after: Printed(*by_name(after)),
    )


def _same_value(before: sp.Expr, after: sp.Expr, values: dict[Any, Any]) -> Comparison:
    """That the result is the expression at these conjugates, at a point, with spins of weight exp(w^2/50)."""
    left, right = (e.replace(log2cosh, lambda x: x**2 / 50) for e in (before.subs(values), after))
    at = {
        s: sp.Rational(3 + 2 * k, 40 + k)
        for k, s in enumerate(sorted(left.free_symbols | right.free_symbols, key=str))
    }

    def value(expr: sp.Expr) -> sp.Expr:
        flat = expr.subs(at).replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())
        return sp.N(evaluate_inside(flat), 20)

    return Comparison("the result at the conjugates", value(left), value(right), 1e-12)


def conjugate_update(phi: sp.Expr, overlap: sp.Symbol, conjugate: sp.Symbol) -> sp.Expr:
    """Q_hat from dPhi/dq = 0, in which it is linear."""
    slope = sp.expand(phi.diff(overlap))
    factor = slope.coeff(conjugate)
    found = -(slope - sp.expand(factor * conjugate)) / factor
    return sp.cancel(found) if found.is_polynomial() else _tidy(sp.cancel(found))


def _tidy(expr: sp.Expr) -> sp.Expr:
    """Three sums, each factored: a polynomial, what has a denominator, and the factor of each logarithm."""
    logs = sorted(expr.atoms(sp.log), key=sp.default_sort_key)
    collected = [sp.factor(sp.cancel(sp.expand(expr).coeff(e))) * e for e in logs]
    plain = sp.expand_mul(expr.subs(dict.fromkeys(logs, 0)))
    smooth = [t for t in sp.Add.make_args(plain) if t.is_polynomial()]
    others = [t for t in sp.Add.make_args(plain) if not t.is_polynomial()]
    return sp.factor(sp.Add(*smooth)) + sp.factor(sp.Add(*others)) + sp.Add(*collected)


def overlap_equation(phi: sp.Expr, overlap: sp.Symbol, conjugate: sp.Symbol) -> Derivation:
    """q = an average over fields, from dPhi/dq_hat = 0, in which q is linear."""
    factor = sp.expand(_plain(phi).diff(conjugate)).coeff(overlap)
    rest = sp.expand(phi - factor * overlap * conjugate)
    start = sp.Derivative(sp.Add(*(-t / factor for t in sp.Add.make_args(rest))), conjugate)
    return Derivation.start("Overlap", overlap, start).then(_price_on_levels)


def conjugate_equation(phi: sp.Expr, overlap: sp.Symbol, conjugate: sp.Symbol) -> Derivation:
    """q_hat from dPhi/dq = 0, in which it is linear."""
    plain = _plain(phi)
    factor = sp.expand(plain.diff(overlap)).coeff(conjugate)
    rest = sp.Add(*(t for t in sp.Add.make_args(sp.expand(plain)) if t.has(overlap) and not t.has(conjugate)))
    start = sp.Derivative(sp.Add(*(-t / factor for t in sp.Add.make_args(rest))), overlap)
    return Derivation.start("Conjugate of the overlap", conjugate, start).then(_DIFFERENTIATE)


def stationary(phi: sp.Expr, unknown: sp.Symbol) -> sp.Expr:
    """dPhi/d unknown: the term of the energies, that of the entropy, averages."""
    slope = linear(phi.diff(unknown))
    terms = sp.Add.make_args(slope if slope.is_Add else sp.expand_mul(slope, deep=False))
    averaged = sp.expand(sp.Add(*(t for t in terms if t.has(Binder))))
    energies = sp.Add(*(t for t in terms if not t.has(Binder) and t.has(beta)))
    logs = sp.Add(*(t for t in terms if t.has(sp.log) and not t.has(Binder)))
    entropy = sp.Add(*(t for t in terms if not t.has(Binder, sp.log, beta)))
    return sp.factor(energies) + sp.factor(entropy) + logs + averaged


def _plain(expr: sp.Expr) -> sp.Expr:
    """The terms without averages."""
    return sp.Add(*(t for t in sp.Add.make_args(sp.expand(expr)) if not t.has(Binder)))


def _differentiate_levels(expr: sp.Expr) -> sp.Expr:
    slope = sp.expand(linear(expr.expr.diff(*expr.variables)))
    outer = _outermost(slope)
    collected = sp.Add(*(sp.cancel(slope.coeff(e)) * e for e in outer))
    return collected + sp.cancel(slope.subs(dict.fromkeys(outer, 0)))


def _check_differentiate_levels(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The same rule on spins of weight exp(w^2/10), where averages have closed forms, against differences;
    and that the result is what the rule gives for the weight of an Ising spin.
    """
    (unknown,) = before.variables
    probe = before.replace(log2cosh, lambda x: x**2 / 10)
    at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(sorted(probe.expr.free_symbols, key=str))}

    def value(expr: sp.Expr) -> sp.Expr:
        flat = expr.replace(lambda e: isinstance(e, LogMoment | Tilted), lambda e: e.unfold())
        return sp.N(evaluate_inside(flat), 25)

    step = sp.Rational(1, 10**5)
    here = {s: v for s, v in at.items() if s != unknown}
    up, down = (value(probe.expr.subs(here).subs(unknown, at[unknown] + k * step)) for k in (1, -1))
    return (
        Comparison(
            "dPhi/dq_hat by differences",
            (up - down) / (2 * step),
            value(_differentiate_levels(probe).subs(at)),
            1e-8,
        ),
        Comparison("the Ising spin", sp.expand(_differentiate_levels(before) - after), sp.S.Zero, 0),
    )


_price_on_levels = Rule(
    "stationarity in the conjugate",
    Kind.IDENTITY,
    _differentiate_levels,
    "Price: dE[f]/dv = E[f'']/2 at every level; second derivatives cancel between a level and the one inside",
    _check_differentiate_levels,
    shown=lambda before, after: Printed(*by_name(after)),
)


def _check_differentiate(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """A polynomial's derivative against central differences."""
    (unknown,) = before.variables
    free = sorted(before.expr.free_symbols | after.free_symbols | {unknown}, key=str)
    at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}
    step = sp.Rational(1, 10**8)
    up, down = (before.expr.subs(at | {unknown: at[unknown] + k * step}) for k in (1, -1))
    slope = sp.N((up - down) / (2 * step), 15)
    return (Comparison("dPhi/dq by differences", slope, sp.N(after.subs(at), 15), 1e-12),)


def _solved(expr: sp.Expr) -> sp.Expr:
    """A polynomial written out, anything else over one denominator."""
    found = sp.expand(expr.doit())
    return found if found.is_polynomial() else _tidy(sp.cancel(found))


_DIFFERENTIATE = Rule(
    "stationarity in the overlap",
    Kind.IDENTITY,
    _solved,
    "dPhi/dq = 0, solved for q_hat, which enters linearly",
    _check_differentiate,
)
