"""The rules of the perceptron: from the replicated volume to the free entropy, and its saddle point.

E. Gardner, J. Phys. A 21 (1988) 257; E. Gardner, B. Derrida, J. Phys. A 21 (1988) 271; W. Krauth, M. Mezard,
J. Phys. France 50 (1989) 3057 (Ising weights); B. Aubin, W. Perkins, L. Zdeborova, J. Phys. A 52 (2019)
294003 (symmetric constraints).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from replica.action import Q_HAT, FieldAverage, PairSum, Q, nodes_of
from replica.binary_evidence import spin_log_moment, thermodynamic_limit
from replica.derivation import Comparison, Derivation, Kind, Printed, Rule
from replica.expr.average import GaussianAverage
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.replica_limit import replica_limit
from replica.expr.rules import heat_equation
from replica.expr.stable import log2cosh, ndtr
from replica.field_action import ISING, SphereVolume, SpinSum, spin_moment
from replica.field_rules import shared_fields
from replica.overlaps import ReplicaSymmetricMatrix
from replica.perceptron_action import ReplicatedVolume
from replica.symbols import V, alpha, h, n, omega, q, q_hat

Z_ONE = sp.Function("Z_out", positive=True)(omega, V)
"""The probability that a field of mean omega and variance V satisfies its constraint, by name."""
G_ONE = sp.Function("g_out", real=True)(omega, V)
"""The output function, d log Z_out/domega, by name."""


def pattern_fields(count: int) -> tuple[sp.Symbol, ...]:
    """The field of a pattern that all replicas share, then those of the blocks; omega where it is one."""
    if count == 1:
        return (omega,)
    return tuple(sp.Symbol(f"omega_{i}", real=True) for i in range(count))


# --- the average over the patterns --------------------------------------------------------------------------


def _average_patterns(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: ReplicatedVolume) -> sp.Expr:
        size, rate, kind = node.parameters
        fields = FieldAverage(node.body, *node.bound_symbols, Q, size)
        entropy = SphereVolume(Q)
        if kind == ISING:
            entropy = spin_moment(Q_HAT, sp.S.Zero, size) - PairSum(Q, Q_HAT)
        return rate * sp.log(fields) + entropy

    return expr.replace(lambda e: isinstance(e, ReplicatedVolume), rewrite)


_RATE, _LARGEST, _NODES = sp.Rational(1, 4), 0.8, 12


def _check_average_patterns(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """E[Z^n] at n = 1 and 2: the sum over all weights (or over the overlap of two points of a sphere) at
    growing N, with no saddle point and no conjugate, against the extremum of the expression.
    """
    (node,), (fields,) = nodes_of(before, ReplicatedVolume), nodes_of(after, FieldAverage)
    at = {s: sp.Rational(3 + k, 5 + k) for k, s in enumerate(sorted(node.body.free_symbols - {h}, key=str))}
    at[alpha] = _RATE
    comparisons = [
        Comparison("the factor of a replica", sp.expand(fields.body - node.body), sp.S.Zero, 0),
        *_covariance_of_fields(),
    ]
    for size in (1, 2):
        log_weight = _log_weight(node.body.subs(at), size)

        def energies(overlaps: np.ndarray, log_weight: Any = log_weight) -> np.ndarray:
            return float(_RATE) * log_weight(overlaps[..., 0, -1])

        if node.parameters[2] == ISING:
            summed = thermodynamic_limit(
                lambda k, size=size, f=energies: spin_log_moment(size, f, 0.0, k), 40
            )
        else:
            summed = thermodynamic_limit(lambda k, size=size, f=energies: _sphere_log_moment(size, f, k), 400)
        found = _extremum(after.subs(at), size, log_weight)
        comparisons.append(Comparison(f"E[Z^{size}]", sp.Float(found), sp.Float(summed), 1e-4))
    return tuple(comparisons)


def _covariance_of_fields() -> list[Comparison]:
    """The fields of explicit weights: by contraction over a Gaussian row, against the overlaps."""
    size = 3
    row = [sp.Symbol(f"F{i}", real=True) for i in range(size)]
    weights = [[sp.Rational(2 * i - a, a + 1) for i in range(size)] for a in range(3)]
    fields = [sp.Add(*(f * j for f, j in zip(row, some, strict=True))) for some in weights]
    comparisons = []
    for a, c in ((0, 0), (0, 1), (1, 2)):
        product = sp.expand(fields[a] * fields[c])
        for f in row:
            product = sp.expand(GaussianAverage(product, f, 0, sp.Rational(1, size)).doit())
        overlap = sp.Add(*(u * v for u, v in zip(weights[a], weights[c], strict=True))) / size
        comparisons.append(Comparison(f"E[h_{a} h_{c}] against the overlap", product, overlap, 1e-14))
    return comparisons


def _log_weight(weight: sp.Expr, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """The logarithm of E prod_a w(h_a) for one or two fields, as a function of their overlap: a polynomial
    through evaluations by quadrature, held constant where overlaps are too large to matter.
    """
    if size == 1:
        single = float(sp.N(sp.log(FieldAverage(weight, h, ReplicaSymmetricMatrix(1, 1, q), 1).explicit())))
        return lambda overlaps: np.full(np.shape(overlaps), single)
    places = [
        sp.Rational(round(1000 * _LARGEST * np.cos(np.pi * (k + 0.5) / _NODES)), 1000) for k in range(_NODES)
    ]
    pairs = [FieldAverage(weight, h, ReplicaSymmetricMatrix(2, 1, p), 2).explicit() for p in places]
    values = [float(sp.N(sp.log(pair), 12)) for pair in pairs]
    fitted = np.polynomial.Polynomial.fit([float(p) for p in places], values, _NODES - 1)
    return lambda overlaps: fitted(np.clip(overlaps, -_LARGEST, _LARGEST))


def _sphere_log_moment(size: int, energies: Any, entries: int) -> float:
    """(1/N) log of the average over the overlap of two uniform points of a sphere, of density (1 -
    q^2)^((N-3)/2); one point at size 1.
    """
    overlap = np.linspace(-1, 1, 20_001)[1:-1] if size == 2 else np.ones(1)
    matrices = np.ones((overlap.size, 2, 2))
    matrices[:, 0, 1] = matrices[:, 1, 0] = overlap
    law = (entries - 3) / 2 * np.log1p(-(overlap**2)) if size == 2 else np.zeros(1)
    exponent = entries * energies(matrices) + law
    top = exponent.max()
    return float(top - law.max() + np.log(np.exp(exponent - top).sum() / np.exp(law - law.max()).sum())) / (
        entries
    )


def _extremum(after: sp.Expr, size: int, log_weight: Callable[[np.ndarray], np.ndarray]) -> float:
    """The expression at n = ``size`` <= 2: at n = 2 the supremum over q of the infimum over q_hat."""
    matrices = {Q: ReplicaSymmetricMatrix(size, 1, q), Q_HAT: ReplicaSymmetricMatrix(size, 0, q_hat)}
    explicit = {symbol: matrix.explicit() for symbol, matrix in matrices.items()}
    weight = sp.Dummy("log_weight", real=True)
    value = after.subs(n, size)
    nodes: dict[Any, sp.Expr] = {node: sp.exp(weight) for node in nodes_of(value, FieldAverage)}
    for node in nodes_of(value, PairSum) + nodes_of(value, SphereVolume):
        nodes[node] = node.explicit(*(explicit[symbol] for symbol in node.matrices))
    for node in nodes_of(value, SpinSum):
        nodes[node] = node.xreplace(matrices).explicit()
    value = value.xreplace(nodes)
    if size == 1:
        return float(value.subs(weight, float(log_weight(np.ones(1))[0])))
    if value.has(q_hat):
        conjugate = np.linspace(1e-6, 1.0, 200_001)
        overlap = sp.lambdify(q_hat, value.diff(q_hat).subs(q, 0), "numpy")(conjugate)
    else:
        overlap = np.linspace(1e-6, _LARGEST, 200_001)
        conjugate = overlap
    return float(
        np.max(sp.lambdify((q, q_hat, weight), value, "numpy")(overlap, conjugate, log_weight(overlap)))
    )


average_patterns = Rule(
    "average over the patterns; overlaps",
    Kind.LIMIT,
    _average_patterns,
    "Gaussian fields given the weights; Laplace's method in Q_ab = J_a.J_b/N and, for Ising weights, its "
    "conjugate at N -> infinity (E. Gardner, J. Phys. A 21 (1988) 257)",
    _check_average_patterns,
    ((Q, "overlap matrix of the n replicas"), (Q_HAT, "its conjugate; an extremum is understood")),
)


# --- one pattern --------------------------------------------------------------------------------------------


def share_fields(chosen: Any) -> Rule:
    """The fields of one pattern as nested averages: those that replicas share, then their own."""
    names = pattern_fields(chosen.steps + 1)

    def rewrite(node: FieldAverage) -> sp.Expr:
        return node.covariance.nested_average(node.body, node.bound_symbols[0], names)

    def apply(expr: sp.Expr) -> sp.Expr:
        return expr.replace(lambda e: isinstance(e, FieldAverage), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At integer n from the entries of the matrix: with a Gaussian for the weight, in closed form; with
        the weight itself for two replicas, by quadrature.
        """
        (node,) = nodes_of(before, FieldAverage)
        around = sp.expand(after - before.xreplace({node: rewrite(node)}))
        comparisons = [Comparison("what surrounds it", around, sp.S.Zero, 0)]
        probe = node.func(sp.exp(h / 3 - h**2 / 5), h, *node.parameters)
        at = _values(node.free_symbols - {n, *chosen.blocks})
        for sizes in chosen.integer_points():
            small = probe.subs(sizes).subs(at)
            left, right = (sp.N(evaluate_inside(e), 15) for e in (small.explicit(), rewrite(small)))
            comparisons.append(Comparison(f"n = {sizes[n]}, a Gaussian weight", left, right, 1e-12))
        if not chosen.steps:
            pair = node.subs(n, 2).subs(at)
            left, right = (sp.N(evaluate_inside(e), 12) for e in (pair.explicit(), rewrite(pair)))
            comparisons.append(Comparison("n = 2, the constraint", left, right, 1e-9))
        return tuple(comparisons)

    return Rule(
        "shared and private fields",
        Kind.IDENTITY,
        apply,
        "a hierarchical covariance is a sum of independent Gaussians: one shared by all replicas, one of "
        "each block, one of each replica",
        check,
        ((names[0], "the field that all replicas share"),),
    )


def _values(symbols: Any) -> dict[Any, sp.Expr]:
    """Numbers below 1, all different, increasing with the name."""
    return {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(sorted(symbols, key=str))}


# --- n -> 0 -------------------------------------------------------------------------------------------------


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Central differences in n: of the terms without averages, and of the averages at weights exp(h/3) and
    exp(w/2), which have closed forms.
    """
    at = _values((before.free_symbols | after.free_symbols) - {n})

    def plain(expr: sp.Expr) -> sp.Expr:
        return sp.Add(*(t for t in sp.Add.make_args(expr) if not t.has(Binder))).subs(at)

    def probed(expr: sp.Expr) -> sp.Expr:
        simple = expr.replace(
            lambda e: isinstance(e, GaussianAverage) and e.var == h,
            lambda e: e.func(sp.exp(h / 3), *e.args[1:]),
        )
        return evaluate_inside(simple.replace(sp.cosh, lambda x: sp.exp(x / 2) / 2).subs(at))

    comparisons = [Comparison("terms without averages", _slope(plain(before)), plain(after), 1e-8)]
    averaged = [sp.Add(*(t for t in sp.Add.make_args(e) if t.has(Binder))) for e in (before, after)]
    left, right = _slope(probed(averaged[0])), sp.N(probed(averaged[1]), 12)
    comparisons.append(Comparison("averages", left, right, 1e-6))
    return tuple(comparisons)


def _slope(expr: sp.Expr) -> sp.Expr:
    """d/dn at n = 0 by differences of fourth order."""
    step = sp.Rational(1, 1000)
    near, far = ((expr.subs(n, k * step) - expr.subs(n, -k * step)) / (2 * k * step) for k in (1, 2))
    return sp.N((4 * near - far) / 3, 20)


n_to_zero = Rule(
    "n -> 0",
    Kind.LIMIT,
    lambda expr: replica_limit(expr, n),
    "d/dn at n = 0 of log E[X^n] = E[log X]; sizes of blocks become numbers between 0 and 1",
    _check_n_to_zero,
)


# --- the constraint -----------------------------------------------------------------------------------------


def insert_constraint(channel: Any) -> Rule:
    """The probability of the constraint given the shared field in closed form."""

    def apply(expr: sp.Expr) -> sp.Expr:
        def own(e: Any) -> bool:
            return isinstance(e, GaussianAverage) and e.var == h

        logs = expr.replace(
            lambda e: isinstance(e, sp.log) and own(e.args[0]),
            lambda e: channel.log_evidence(sp.S.One, e.args[0].mean, e.args[0].variance),
        )
        return logs.replace(own, lambda e: channel.evidence(sp.S.One, e.mean, e.variance))

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At three shared fields, by quadrature; and what surrounds it."""
        single = next(e for e in nodes_of(before, GaussianAverage) if e.var == h)
        law = single.mean, single.variance
        chance, log_chance = channel.evidence(sp.S.One, *law), channel.log_evidence(sp.S.One, *law)
        at = _values(single.free_symbols - {single.mean})
        comparisons = [Comparison("what surrounds it", sp.expand(after - apply(before)), sp.S.Zero, 0)]
        for place in (sp.Rational(-9, 10), sp.S.Zero, sp.Rational(7, 5)):
            here = at | {single.mean: place}
            direct = sp.N(single.subs(here), 12)
            closed = sp.N(chance.subs(here), 12)
            logarithm = sp.N(sp.exp(log_chance.subs(here)), 12)
            comparisons.append(Comparison(f"probability at a field {place}", direct, closed, 1e-9))
            comparisons.append(Comparison(f"its logarithm at {place}", direct, logarithm, 1e-9))
        return tuple(comparisons)

    return Rule(
        "probability of the constraint",
        Kind.IDENTITY,
        apply,
        "closed form of E_{h ~ N(omega, V)} w(h), V the variance of a field given those that replicas share",
        check,
    )


def _name_spin(expr: sp.Expr) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, sp.log) and isinstance(e.args[0] / 2, sp.cosh),
        lambda e: log2cosh(e.args[0].args[-1].args[0]),
    )


def _check_name_spin(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """At two fields; and what surrounds it."""
    comparisons = [Comparison("what surrounds it", sp.expand(after - _name_spin(before)), sp.S.Zero, 0)]
    for logarithm in (e for e in nodes_of(before, sp.log) if e.has(sp.cosh)):
        for place in (sp.Rational(-3, 2), sp.Rational(1, 5)):
            left, right = (sp.N(e.subs(FIELD_OF_SPIN, place), 15) for e in (logarithm, _name_spin(logarithm)))
            comparisons.append(Comparison(f"at the field {place}", left, right, 1e-14))
    return tuple(comparisons)


(FIELD_OF_SPIN,) = shared_fields(1)
name_spin = Rule(
    "free entropy of a weight",
    Kind.IDENTITY,
    _name_spin,
    "log 2cosh w, the logarithm of the sum over J = +-1 of exp(w J)",
    _check_name_spin,
)


# --- the saddle point ---------------------------------------------------------------------------------------


def conjugate_equation(channel: Any) -> Derivation:
    """q_hat = -2 d/dq of alpha E log Z_out, omega ~ N(0, q), V = 1 - q: in textbook form alpha E g_out^2."""
    psi = GaussianAverage(sp.log(Z_ONE), omega, 0, q)
    start = -2 * alpha * (sp.Derivative(psi, q) - sp.Derivative(psi, V))
    derivation = Derivation.start("Conjugate of the overlap", q_hat, start)
    return derivation.then(_PRICE).then(_HEAT).then(_SCORE).then(_insert_output(channel))


def _price(expr: sp.Expr) -> sp.Expr:
    return _one_average(expr.replace(sp.Derivative, lambda body, *variables: body.diff(*variables)))


def _one_average(expr: sp.Expr) -> sp.Expr:
    """alpha times one average over omega."""
    bodies, law = [], ()
    for term in sp.Add.make_args(sp.expand_mul(expr)):
        (average,) = term.atoms(GaussianAverage)
        bodies.append(term / average / alpha * average.body)
        law = average.args[1:]
    return alpha * GaussianAverage(sp.expand(sp.Add(*bodies)), *law)


def _score(expr: sp.Expr) -> sp.Expr:
    return expr.replace(lambda e: e == sp.Derivative(Z_ONE, omega), lambda _: Z_ONE * G_ONE)


def _check_with_step(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """On the constraint h >= 0, whose Z_out = ndtr(omega/sqrt V) is known: both sides by quadrature."""
    point = {q: sp.Rational(3, 10), V: sp.Rational(7, 10), alpha: sp.S.One}
    values = []
    for side in (before, after):
        known = side.replace(G_ONE.func, lambda a, c: sp.diff(sp.log(ndtr(a / sp.sqrt(c))), a))
        known = known.replace(Z_ONE.func, lambda a, c: ndtr(a / sp.sqrt(c)))
        values.append(sp.N(evaluate_inside(known).subs(point), 15))
    return (Comparison("the constraint h >= 0", values[0], values[1], 1e-10),)


_PRICE = Rule(
    "Price's theorem",
    Kind.IDENTITY,
    _price,
    "the derivative of E f in the variance of omega is E f''/2; V, the rest of the variance of the field, "
    "gives the other term",
    _check_with_step,
    ((Z_ONE, "probability of the constraint, E_{h ~ N(omega, V)} w(h), V = 1 - q"),),
)
_HEAT = Rule(
    "heat equation",
    Kind.IDENTITY,
    lambda expr: _one_average(heat_equation(expr, Z_ONE, omega, V)),
    "dZ_out/dV = (1/2) d^2 Z_out/domega^2: second derivatives cancel",
    _check_with_step,
)
_SCORE = Rule(
    "output function",
    Kind.IDENTITY,
    _score,
    "g_out = d log Z_out/domega",
    _check_with_step,
    ((G_ONE, "d log Z_out/domega"),),
)


def _insert_output(channel: Any) -> Rule:
    """g_out of a constraint, at V = 1 - q; what does not depend on omega stands before the average."""

    def apply(expr: sp.Expr) -> sp.Expr:
        score = channel.output_function(sp.S.One, omega, V)

        def rewrite(node: GaussianAverage) -> sp.Expr:
            outside, inside = node.body.xreplace({G_ONE: score}).as_independent(node.var, as_Add=False)
            return sp.cancel(outside).subs(V, 1 - q) * node.func(inside.subs(V, 1 - q), *node.args[1:])

        return expr.replace(lambda e: isinstance(e, GaussianAverage), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """The slope of log Z_out by differences of quadratures, at three fields; and what surrounds it."""
        single = GaussianAverage(channel.density(sp.S.One, h), h, omega, V)
        at = _values(single.free_symbols - {omega})
        step = sp.Rational(1, 10**4)
        score = channel.output_function(sp.S.One, omega, V).subs(at)
        comparisons = [Comparison("what surrounds it", sp.expand(after - apply(before)), sp.S.Zero, 0)]
        for place in (sp.Rational(-9, 10), sp.Rational(1, 10), sp.Rational(7, 5)):
            up, down = (sp.N(sp.log(single.subs(at | {omega: place + k * step})), 20) for k in (1, -1))
            slope = sp.N(score.subs(omega, place), 15)
            comparisons.append(
                Comparison(f"d log Z_out/domega at {place}", (up - down) / (2 * step), slope, 1e-6)
            )
        return tuple(comparisons)

    def shown(before: sp.Expr, after: sp.Expr) -> Printed | None:
        if not after.has(sp.exp):
            return None
        inside = GaussianAverage(channel.density(sp.S.One, h), h, omega, V).doit()
        return Printed(before, ((V, 1 - q), (Z_ONE, inside), (G_ONE, sp.Derivative(sp.log(Z_ONE), omega))))

    return Rule(
        "output function of the constraint",
        Kind.IDENTITY,
        apply,
        "logarithmic derivative of the closed form of Z_out",
        check,
        shown=shown,
    )


def sphere_overlap(entropy: sp.Expr) -> Derivation:
    """q(q_hat) on the sphere, from d entropy/dq = q_hat/2."""
    start = q_hat / sp.cancel(2 * entropy.diff(q) / q)
    return Derivation.start("Overlap", q, start).then(_QUADRATIC)


def _quadratic_root(expr: sp.Expr) -> sp.Expr:
    """The root with q = 0 at q_hat = 0 of q = expr, a quadratic polynomial in 1 - q without linear term, in
    the form that does not cancel.
    """
    u = sp.Dummy("u", positive=True)
    a, b, c = sp.Poly(sp.expand((expr - q).subs(q, 1 - u)), u).all_coeffs()
    return 1 + 2 * c / (b + sp.sqrt(b**2 - 4 * a * c))


def _check_quadratic(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    comparisons = []
    for strength in (sp.Rational(1, 10), sp.Rational(7, 5), sp.Integer(40)):
        root = sp.N(after.subs(q_hat, strength), 20)
        again = sp.N(before.subs({q: root, q_hat: strength}), 15)
        comparisons.append(Comparison(f"q_hat = {strength}", again, root, 1e-12))
        inside = min(max(root, sp.S.Zero), sp.S.One)
        comparisons.append(Comparison("between 0 and 1", root, inside, 0))
    return tuple(comparisons)


_QUADRATIC = Rule(
    "root of the quadratic equation",
    Kind.IDENTITY,
    _quadratic_root,
    "q_hat = q/(1 - q)^2 is quadratic in 1 - q; the root that is 0 at q_hat = 0",
    _check_quadratic,
)
