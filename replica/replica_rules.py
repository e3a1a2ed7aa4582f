"""The rules that take the replicated action from E[Z^n] to n -> 0, each an Expr -> Expr with its check.

A check evaluates both sides at integer numbers of replicas, by independent routes, and compares what is
around the rewrite.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from functools import partial
from typing import Any

import sympy as sp

from replica.action import (
    Q_HAT,
    DifferentialEntropy,
    FieldAverage,
    LikelihoodEntropy,
    LikelihoodMoment,
    OverlapMoment,
    PairSum,
    Q,
    ReplicatedEvidence,
    nodes_of,
)
from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import xlogx
from replica.integer_replicas import laplace_comparisons
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import alpha, h, n, omega, q, q_hat, y


def _average_inputs(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: ReplicatedEvidence) -> sp.Expr:
        density, y_, h_, outputs, size, rate, coordinates = node.args
        fields = FieldAverage(density, h_, Q, size + 1)
        return (
            rate * sp.log(OutputSum(fields, y_, outputs))
            + OverlapMoment(Q_HAT, coordinates)
            - PairSum(Q, Q_HAT)
        )

    return expr.replace(lambda e: isinstance(e, ReplicatedEvidence), rewrite)


def _check_average_inputs(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The fields of explicit matrices: covariance by contraction over the Gaussian inputs, entry by entry,
    against Tr S_a^T S_b/(dL). Then the value of the result at n = 1 and 2, node by node, against E[Z^n].
    """
    rows, columns = 2, 3
    matrices = [
        sp.Matrix(rows, columns, lambda i, j, a=a: sp.Rational(2 * i - j + a, a + 1)) for a in (1, 2, 3)
    ]
    inputs = sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"x{i}{j}", real=True))
    fields = [
        sp.Add(*(inputs[k] * s[k] for k in range(rows * columns))) / sp.sqrt(rows * columns) for s in matrices
    ]
    comparisons = []
    for a, b in ((0, 0), (0, 1), (1, 2)):
        product = sp.expand(fields[a] * fields[b])
        for x in inputs:
            product = sp.expand(GaussianAverage(product, x, 0, 1).doit())
        overlap = (matrices[a].T * matrices[b]).trace() / (rows * columns)
        comparisons.append(Comparison(f"E[h_{a} h_{b}] against the overlap", product, overlap, 1e-14))
    return (*comparisons, *laplace_comparisons(before, after))


average_inputs = Rule(
    "average over the inputs; overlaps",
    Kind.LIMIT,
    _average_inputs,
    "Gaussian fields given the replicas; Laplace's method in Q_ab = Tr S_a^T S_b/(dL) and its conjugate, at "
    "dL -> infinity (arXiv 2410.18858, appendix)",
    _check_average_inputs,
    (
        (Q, "overlap matrix of the n + 1 replicas"),
        (Q_HAT, "its conjugate; an extremum over both is understood"),
    ),
)


def bayes_optimal(second_moment: sp.Expr) -> Rule:
    """Every two of the n + 1 replicas have the overlap q; the self-overlap is the second moment of the
    prior.
    """
    overlap = ReplicaSymmetricMatrix(n + 1, second_moment, q)
    conjugate = ReplicaSymmetricMatrix(n + 1, 0, q_hat)

    def apply(expr: sp.Expr) -> sp.Expr:
        expr = expr.replace(
            lambda e: isinstance(e, PairSum),
            lambda e: overlap.sum_over_pairs(lambda entry: entry * conjugate.off_diagonal),
        )
        return expr.xreplace({Q: overlap, Q_HAT: conjugate})

    return Rule(
        "Bayes-optimal ansatz",
        Kind.ANSATZ,
        apply,
        "Nishimori: teacher and replicas are exchangeable; Q_aa is the second moment of the prior, which "
        "does not fluctuate",
        _check_bayes_optimal,
        (
            (q, "overlap of two replicas, E x^2 - mmse"),
            (q_hat, "its conjugate, the signal-to-noise ratio of the signal"),
        ),
    )


def _check_bayes_optimal(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    point = {q: sp.Rational(3, 10), q_hat: sp.Rational(7, 5)}
    coupling = sp.Add(*(t for t in sp.Add.make_args(after) if not t.has(Binder, OverlapMoment)))
    comparisons = []
    for size in (2, 4, 6):
        matrix = ReplicaSymmetricMatrix(size, 1, q).explicit()
        explicit = sp.Add(*(matrix[a, b] * q_hat for a in range(size) for b in range(a + 1, size)))
        comparisons.append(
            Comparison(
                f"sum over pairs at n + 1 = {size}",
                -coupling.subs(n, size - 1).subs(point),
                explicit.subs(point),
                1e-14,
            )
        )
    return tuple(comparisons)


def _hierarchical(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: FieldAverage) -> sp.Expr:
        shared, own = node.covariance.levels()
        single = GaussianAverage(node.body, node.bound_symbols[0], omega, own)
        return GaussianAverage(single**node.size, omega, 0, shared)

    return expr.replace(lambda e: isinstance(e, FieldAverage), rewrite)


def _check_hierarchical(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    (node,) = nodes_of(before, FieldAverage)
    (total,) = nodes_of(after, OutputSum)
    comparisons = [_around(before.xreplace({node: _SLOT}), after.xreplace({total.body: _SLOT}))]
    for size in (2, 3):
        for output in sample_outputs(total.outputs):
            point = sample_point(node, output) | {n: size - 1}
            explicit = node.subs(point).explicit()
            if len(explicit.atoms(GaussianAverage)) > 1:
                continue  # a nested quadrature: minutes, and size 2 has said it
            levels = total.body.subs(point).doit()
            comparisons.append(
                Comparison(f"{size} replicas at y = {output}", sp.N(explicit, 12), sp.N(levels, 12), 1e-9)
            )
    return tuple(comparisons)


hierarchical_fields = Rule(
    "shared and private fields",
    Kind.IDENTITY,
    _hierarchical,
    "a covariance constant off its diagonal is a sum of two independent Gaussians",
    _check_hierarchical,
    ((omega, "the field that all replicas share"),),
)


def _decouple(expr: sp.Expr) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, OverlapMoment),
        lambda e: LikelihoodMoment(e.args[0].size, e.args[0].off_diagonal, e.args[1]),
    )


def _check_decouple(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Entry by entry: exp(q_hat sum_{a<b} s_a s_b) against the Gaussian average of the product."""
    (moment,), (likelihood,) = nodes_of(before, OverlapMoment), nodes_of(after, LikelihoodMoment)
    z = sp.Symbol("z", real=True)
    entries = (sp.Rational(1, 2), sp.S.One, sp.Rational(-2, 3), sp.Rational(-5, 4))
    comparisons = [_around(before.xreplace({moment: _SLOT}), after.xreplace({likelihood: _SLOT}))]
    for size in (2, 3, 4):
        at = {n: size - 1, q_hat: sp.Rational(7, 5)}
        direct, strength = moment.args[0].subs(at), likelihood.args[1].subs(at)
        shown = entries[: direct.size]
        pairs = sp.Add(*(a * b for i, a in enumerate(shown) for b in shown[i + 1 :]))
        exponents = [
            sp.sqrt(strength) * z * s - strength * s**2 / 2 for s in entries[: likelihood.args[0].subs(at)]
        ]
        decoupled = GaussianAverage(sp.exp(sp.expand(sp.Add(*exponents))), z, 0, 1).doit()
        left = sp.N(sp.exp(direct.off_diagonal * pairs), 20)
        comparisons.append(Comparison(f"{size} replicas", left, sp.N(decoupled, 20), 1e-14))
    return tuple(comparisons)


decouple_signal = Rule(
    "Hubbard-Stratonovich on the signal",
    Kind.IDENTITY,
    _decouple,
    "exp((c/2) u^2) = E_z exp(sqrt(c) z u), entry by entry, with u the sum over replicas",
    _check_decouple,
    ((sp.Symbol("Z"), "a d x L matrix of iid N(0, 1) entries"),),
)


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    terms = []
    for term in sp.Add.make_args(expr):
        if isinstance(term, LikelihoodMoment):
            size, strength, coordinates = term.args
            if size != n + 1:
                raise ValueError(f"expected n + 1 replicas, got {size}")
            terms.append(
                LikelihoodEntropy(strength, coordinates)
            )  # d/dn log E[X^(n+1)] = E[X log X] since E[X] = 1
        else:
            terms.append(replica_limit(term, n))
    return sp.Add(*terms)


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Term by term: the central difference in n of E[X^(n+1)] is E[X log X], at a fixed shared field and for
    a scalar signal.
    """
    (total,) = nodes_of(before, OutputSum)
    (limit,) = nodes_of(after, OutputSum)
    point = sample_point(total, sp.S.One) | {omega: sp.Rational(2, 5)}
    del point[y]

    def at_field(node: OutputSum, size: sp.Expr) -> sp.Expr:
        average = node.body
        inside = average.body.subs(n, size).subs({average.var: point[omega]} | point)
        return sp.N(OutputSum(evaluate_inside(inside), *node.bound_symbols, node.outputs).doit(), 15)

    (moment,), (entropy,) = nodes_of(before, LikelihoodMoment), nodes_of(after, LikelihoodEntropy)
    at = {q: point[q], q_hat: sp.Rational(7, 5)}

    around = [
        sp.Add(*(t for t in sp.Add.make_args(expr.xreplace(slots)) if t.has(*slots.values())))
        for expr, slots in (
            (before, {sp.log(total): _SLOT, moment: _SLOT**2}),
            (after, {limit: _SLOT, entropy: _SLOT**2}),
        )
    ]

    def coupling(expr: sp.Expr) -> sp.Expr:
        return sp.Add(
            *(t for t in sp.Add.make_args(expr) if not t.has(Binder, LikelihoodMoment, LikelihoodEntropy))
        ).subs(at)

    def signal(size: sp.Expr) -> sp.Expr:
        z, power = sp.Symbol("z", real=True), moment.args[0].subs(n, size)
        return sp.N(GaussianAverage(_binary_ratio(moment.args[1].subs(at), z) ** power, z, 0, 1), 15)

    def slope(f: Any) -> sp.Expr:
        step = sp.Rational(1, 200)
        near, far = ((f(k * step) - f(-k * step)) / (2 * k * step) for k in (1, 2))
        return (4 * near - far) / 3

    return (
        _around(*around),
        Comparison("normalisation at n = 0", at_field(total, sp.S.Zero), sp.S.One, 1e-10),
        Comparison("outputs", slope(partial(at_field, total)), at_field(limit, sp.S.Zero), 1e-6),
        Comparison("scalar signal", slope(signal), _binary_entropy(entropy.args[0].subs(at)), 1e-6),
        Comparison("coupling", slope(lambda k: coupling(before).subs(n, k)), coupling(after), 1e-10),
    )


_SLOT = sp.Dummy("rewritten")


def _around(before: sp.Expr, after: sp.Expr) -> Comparison:
    """That the expressions around what was rewritten are the same."""
    return Comparison("what surrounds it", sp.expand(before - after), sp.S.Zero, 0)


def _binary_ratio(strength: sp.Expr, z: sp.Symbol) -> sp.Expr:
    """The likelihood ratio X(z) of a scalar signal S = +-1."""
    return sp.exp(-strength / 2) * sp.cosh(sp.sqrt(strength) * z)


def _binary_entropy(strength: sp.Expr) -> sp.Expr:
    """E_z[X log X] of a scalar signal S = +-1, by quadrature."""
    z = sp.Symbol("z", real=True)
    return sp.N(GaussianAverage(xlogx(_binary_ratio(strength, z)), z, 0, 1), 15)


n_to_zero = Rule(
    "n -> 0",
    Kind.LIMIT,
    _n_to_zero,
    "d/dn at n = 0 of log E[X^(n+1)] = E[X log X] for a normalised X",
    _check_n_to_zero,
)


def _to_differential_entropy(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: LikelihoodEntropy) -> sp.Expr:
        c = node.args[0]
        return (1 + c) / 2 + sp.log(2 * sp.pi / c) / 2 - DifferentialEntropy(c)

    return expr.replace(lambda e: isinstance(e, LikelihoodEntropy), rewrite)


def _check_differential_entropy(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """At d = L = 1 with S = +-1: E_z[X log X] against the entropy of the two-Gaussian mixture, both by
    quadrature.
    """
    (ratio,), (entropy_node,) = nodes_of(before, LikelihoodEntropy), nodes_of(after, DifferentialEntropy)
    at = {q_hat: sp.Rational(7, 5)}
    direct = _binary_entropy(ratio.args[0].subs(at))
    z, c = sp.Symbol("z", real=True), entropy_node.args[0].subs(at)
    scale = sp.sqrt(c / (2 * sp.pi))

    def mixture(at: sp.Expr) -> sp.Expr:
        return scale * (sp.exp(-c * (at - 1) ** 2 / 2) + sp.exp(-c * (at + 1) ** 2 / 2)) / 2

    entropy = sp.N(GaussianAverage(-sp.log(mixture(z)), z, 1, 1 / c), 15)  # symmetric: condition on S = 1
    replacing = (after - before.xreplace({ratio: sp.S.Zero})).xreplace({entropy_node: entropy}).subs(at)
    return (Comparison("scalar binary signal", direct, sp.N(replacing, 15), 1e-10),)


to_differential_entropy = Rule(
    "entropy of the observed signal",
    Kind.IDENTITY,
    _to_differential_entropy,
    "X is the likelihood ratio of Y = S + Z/sqrt(q_hat) to pure noise, and E|Y|^2/(dL) = 1 + 1/q_hat",
    _check_differential_entropy,
)


def sample_outputs(outputs: Any) -> tuple[sp.Expr, ...]:
    """Outputs to check an identity at: all of a finite set, two points of a continuum."""
    return tuple(outputs) if isinstance(outputs, sp.FiniteSet) else (sp.Rational(7, 10), sp.Rational(-3, 10))


def sample_point(expr: sp.Expr, output: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
    """Values for the overlap, the output and whatever parameters the channel has."""
    point: dict[Any, Any] = {q: sp.Rational(3, 10), y: sp.sympify(output)}
    extra = sorted(expr.free_symbols - {q, y, omega, n, alpha, h}, key=sp.default_sort_key)
    return point | {s: sp.Rational(2 + k, 5) for k, s in enumerate(extra)}
