"""The rules that take the replicated action from E[Z^n] to n -> 0, each an Expr -> Expr with its check.

A check evaluates both sides at integer numbers of replicas, by independent routes, and compares what is
around the rewrite.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import sympy as sp

from replica.action import (
    D2,
    DL,
    Q_HAT,
    DifferentialEntropy,
    FieldAverage,
    LikelihoodEntropy,
    LikelihoodMoment,
    OverlapMoment,
    PairSum,
    Q,
    ReplicatedEvidence,
    geometry,
    nodes_of,
    noise_law,
)
from replica.ansatz import BayesOptimal, insert
from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import GaussianAverage, MixedOutputs, OutputSum
from replica.expr.binder import Binder, evaluate_inside
from replica.expr.replica_limit import replica_limit
from replica.expr.stable import xlogx
from replica.integer_replicas import laplace_comparisons
from replica.symbols import alpha, h, n, omega, q, q_hat, y


def _average_inputs(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: ReplicatedEvidence) -> sp.Expr:
        density, y_, h_, outputs, size, rate, coordinates = node.args
        counted = geometry(coordinates)
        fields = FieldAverage(density, h_, counted.field_variance * Q, size + 1)
        return (
            rate * sp.log(OutputSum(fields, y_, outputs))
            + OverlapMoment(Q_HAT, coordinates)
            - counted.share * PairSum(Q, Q_HAT)
        )

    return expr.replace(lambda e: isinstance(e, ReplicatedEvidence), rewrite)


def _check_average_inputs(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The fields of explicit matrices: covariance by contraction over the Gaussian inputs, entry by entry,
    against Tr S_a^T S_b/(dL). Then the value of the result at n = 1 and 2, node by node, against E[Z^n].
    """
    (evidence,) = nodes_of(before, ReplicatedEvidence)
    symmetric = evidence.parameters[3] == D2
    comparisons = _symmetric_fields(geometry(D2).field_variance) if symmetric else _rectangular_fields()
    return (*comparisons, *laplace_comparisons(before, after))


def _symmetric_fields(field_variance: sp.Expr) -> tuple[Comparison, ...]:
    """Tr(X S_a)/sqrt(d) for symmetric X: the entries off the diagonal count twice."""
    size = 3
    matrices = [
        sp.Matrix(size, size, lambda i, j, a=a: sp.Rational(2 * i * j - i - j + a, a + 1)) for a in (1, 2, 3)
    ]
    inputs = sp.Matrix(size, size, lambda i, j: sp.Symbol(f"x{min(i, j)}{max(i, j)}", real=True))
    fields = [(inputs * s).trace() / sp.sqrt(size) for s in matrices]
    comparisons = []
    for a, b in ((0, 0), (0, 1), (1, 2)):
        product = sp.expand(fields[a] * fields[b])
        for i in range(size):
            for j in range(i, size):
                product = sp.expand(GaussianAverage(product, inputs[i, j], 0, 1 + (i == j)).doit())
        overlap = (matrices[a] * matrices[b]).trace() / size
        comparisons.append(
            Comparison(f"E[h_{a} h_{b}] against the overlap", product, field_variance * overlap, 1e-14)
        )
    return tuple(comparisons)


def _rectangular_fields() -> tuple[Comparison, ...]:
    """Tr(X^T S_a)/sqrt(dL) for independent entries of X."""
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
    return tuple(comparisons)


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


class Overlap(NamedTuple):
    """What the ansatz puts in place of an overlap matrix and its conjugate."""

    matrix: sp.Symbol
    conjugate: sp.Symbol
    second_moment: sp.Expr
    q: sp.Symbol
    q_hat: sp.Symbol


def bayes_optimal(second_moment: sp.Expr) -> Rule:
    """The ansatz for one signal."""
    return planted_overlaps(Overlap(Q, Q_HAT, second_moment, q, q_hat))


def planted_overlaps(*overlaps: Overlap) -> Rule:
    """The ansatz for several."""
    planted, matrices, introduced = BayesOptimal(), {}, []
    for o in overlaps:
        matrices[o.matrix] = planted.matrix(o.second_moment, o.q)
        matrices[o.conjugate] = planted.matrix(0, o.q_hat)
        introduced += [
            (o.q, "overlap of two replicas, E x^2 - mmse"),
            (o.q_hat, "its conjugate, a signal-to-noise ratio"),
        ]
    return insert(
        planted,
        matrices,
        "Nishimori: teacher and replicas are exchangeable; the self-overlap is the second moment of the "
        "prior, which does not fluctuate",
        tuple(introduced),
    )


def _without_nodes(expr: sp.Expr) -> sp.Expr:
    """The terms of a sum that are plain expressions."""
    return sp.Add(
        *(
            t
            for t in sp.Add.make_args(expr)
            if not t.has(Binder, OverlapMoment, LikelihoodMoment, LikelihoodEntropy)
        )
    )


def _hierarchical(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: FieldAverage) -> sp.Expr:
        return node.covariance.nested_average(node.body, node.bound_symbols[0], (omega,))

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
    """Coordinate by coordinate: exp(q_hat sum_{a<b} x_a x_b) against the Gaussian average of the product."""
    moments = nodes_of(before, OverlapMoment)
    likelihoods = [next(iter(_decouple(m).atoms(LikelihoodMoment))) for m in moments]
    slots = [sp.Dummy() for _ in moments]
    comparisons = [
        _around(
            before.xreplace(dict(zip(moments, slots, strict=True))),
            after.xreplace(dict(zip(likelihoods, slots, strict=True))),
        )
    ]
    z = sp.Symbol("z", real=True)
    entries = (sp.Rational(1, 2), sp.S.One, sp.Rational(-2, 3), sp.Rational(-5, 4))
    for moment, likelihood in zip(moments, likelihoods, strict=True):
        for size in (2, 3, 4):
            at = {n: size - 1, moment.args[0].off_diagonal: sp.Rational(7, 5)}
            direct, strength = moment.args[0].subs(at), likelihood.args[1].subs(at)
            shown = entries[: direct.size]
            pairs = sp.Add(*(a * b for i, a in enumerate(shown) for b in shown[i + 1 :]))
            exponents = [
                sp.sqrt(strength) * z * s - strength * s**2 / 2
                for s in entries[: likelihood.args[0].subs(at)]
            ]
            decoupled = GaussianAverage(sp.exp(sp.expand(sp.Add(*exponents))), z, 0, 1).doit()
            left = sp.N(sp.exp(direct.off_diagonal * pairs), 20)
            comparisons.append(Comparison(f"{size} replicas", left, sp.N(decoupled, 20), 1e-14))
    return tuple(comparisons)


def decouple(coordinates: sp.Symbol) -> Rule:
    """The pairs of replicas as an average over noise, for the signal with this number of coordinates."""
    return Rule(
        "Hubbard-Stratonovich on the signal",
        Kind.IDENTITY,
        _decouple,
        "exp((c/2) u^2) = E_z exp(sqrt(c) z u), entry by entry, with u the sum over replicas",
        _check_decouple,
        ((sp.Symbol("Z"), noise_law(coordinates)),),
    )


decouple_signal = decouple(DL)


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    terms = []
    for term in sp.Add.make_args(expr):
        weight, moment = term.as_independent(LikelihoodMoment, as_Add=False)
        if isinstance(moment, LikelihoodMoment):
            size, strength, coordinates = moment.args
            if size != n + 1 or weight.has_free(n):
                raise ValueError(f"expected n + 1 replicas, got {term}")
            # d/dn log E[X^(n+1)] = E[X log X] since E[X] = 1
            terms.append(weight * LikelihoodEntropy(strength, coordinates))
        else:
            terms.append(replica_limit(term, n))
    return sp.Add(*terms)


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Term by term: the central difference in n of E[X^(n+1)] is E[X log X], at a fixed shared field and for
    a scalar signal.
    """
    totals, limits = nodes_of(before, OutputSum), nodes_of(after, OutputSum)
    moments = nodes_of(before, LikelihoodMoment)
    entropies = [LikelihoodEntropy(*m.args[1:]) for m in moments]
    slots = [sp.Dummy() for _ in (*totals, *moments)]
    around = [
        sp.Add(*(t for t in sp.Add.make_args(expr.xreplace(dict(pairs))) if t.has(*slots)))
        for expr, pairs in (
            (before, zip([*map(sp.log, totals), *moments], slots, strict=True)),
            (after, zip([*limits, *entropies], slots, strict=True)),
        )
    ]
    comparisons = [_around(*around)]
    for total, limit in zip(totals, limits, strict=True):
        comparisons.append(
            Comparison("normalisation at n = 0", _at_shared_field(total, sp.S.Zero), sp.S.One, 1e-10)
        )
        left, right = _slope(partial(_at_shared_field, total)), _at_shared_field(limit, sp.S.Zero)
        comparisons.append(Comparison("outputs", left, right, 1e-6))
    strength = sp.Rational(7, 5)
    for moment in moments:
        left = _slope(lambda step, size=moment.args[0]: _binary_moment(strength, size.subs(n, step)))
        comparisons.append(Comparison("scalar signal", left, _binary_entropy(strength), 1e-6))
    coupling = [_without_nodes(e) for e in (before, after)]
    at = {s: sp.Rational(2 + k, 5) for k, s in enumerate(sorted(coupling[0].free_symbols - {n}, key=str))}
    slope = _slope(lambda step: coupling[0].subs(at).subs(n, step))
    comparisons.append(Comparison("coupling", slope, coupling[1].subs(at), 1e-10))
    return tuple(comparisons)


def _at_shared_field(total: OutputSum, size: sp.Expr) -> sp.Expr:
    """The sum or integral over the outputs at n = ``size``, for one value of the field shared by the
    replicas.

    The parts of the outputs are taken one by one, so that atoms and densities meet their own formula.
    """
    point = sample_point(total, sp.S.One)
    del point[y]
    value = sp.S.Zero
    for part in total.parts():
        average = part.body
        inside = average.body.subs(n, size).subs({average.var: sp.Rational(2, 5)} | point)
        value += OutputSum(evaluate_inside(inside), *part.bound_symbols, part.outputs).doit()
    return sp.N(value, 15)


def _slope(f: Any) -> sp.Expr:
    """df/dn at n = 0 by differences of fourth order."""
    step = sp.Rational(1, 200)
    near, far = ((f(k * step) - f(-k * step)) / (2 * k * step) for k in (1, 2))
    return (4 * near - far) / 3


def _binary_moment(strength: sp.Expr, power: sp.Expr) -> sp.Expr:
    """E_z[X^power] of a scalar signal +-1, by quadrature."""
    z = sp.Symbol("z", real=True)
    return sp.N(GaussianAverage(_binary_ratio(strength, z) ** power, z, 0, 1), 15)


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


def observed_entropy(second_moment: sp.Expr) -> Rule:
    """E_z[X log X] by the entropy of the observed signal, for a signal of this second moment."""

    def apply(expr: sp.Expr) -> sp.Expr:
        def rewrite(node: LikelihoodEntropy) -> sp.Expr:
            c, coordinates = node.args
            gaussian = sp.expand_mul(1 + second_moment * c) / 2 + sp.log(2 * sp.pi / c) / 2
            return sp.expand_mul(geometry(coordinates).share * gaussian) - DifferentialEntropy(c, coordinates)

        return expr.replace(lambda e: isinstance(e, LikelihoodEntropy), rewrite)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At one coordinate of two values +-s: E_z[X log X] against the entropy of the two-Gaussian mixture,
        both by quadrature.
        """
        (ratio,), (entropy_node,) = nodes_of(before, LikelihoodEntropy), nodes_of(after, DifferentialEntropy)
        at = {q_hat: sp.Rational(7, 5)}
        at |= {p: sp.Rational(3 + k, 5) for k, p in enumerate(sorted(second_moment.free_symbols, key=str))}
        square, share = second_moment.subs(at), geometry(ratio.args[1]).share
        direct = share * _binary_entropy(ratio.args[0].subs(at) * square)
        z, c, s = sp.Symbol("z", real=True), entropy_node.args[0].subs(at), sp.sqrt(square)
        scale = sp.sqrt(c / (2 * sp.pi))

        def mixture(at: sp.Expr) -> sp.Expr:
            return scale * (sp.exp(-c * (at - s) ** 2 / 2) + sp.exp(-c * (at + s) ** 2 / 2)) / 2

        # symmetric: condition on the value s
        entropy = sp.N(GaussianAverage(-sp.log(mixture(z)), z, s, 1 / c), 15)
        around = after - before.xreplace({ratio: sp.S.Zero})
        replacing = around.xreplace({entropy_node: share * entropy}).subs(at)
        return (Comparison("scalar binary signal", direct, sp.N(replacing, 15), 1e-10),)

    return Rule(
        "entropy of the observed signal",
        Kind.IDENTITY,
        apply,
        "X is the likelihood ratio of Y = S + Z/sqrt(q_hat) to pure noise, and the square of a free "
        f"coordinate of Y is on average {second_moment} + 1/q_hat",
        check,
    )


def sample_outputs(outputs: Any) -> tuple[sp.Expr, ...]:
    """Outputs to check an identity at: all of a finite set, two points of a continuum, these of each part."""
    if isinstance(outputs, MixedOutputs):
        return tuple(value for part in outputs.args for value in sample_outputs(part))
    if isinstance(outputs, sp.FiniteSet):
        return tuple(outputs)
    points = (sp.Rational(7, 10), sp.Rational(-3, 10), sp.Rational(11, 10))
    return tuple(p for p in points if outputs.contains(p) == sp.true)[:2]


def sample_point(expr: sp.Expr, output: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
    """Values for the overlap, the output and whatever parameters the channel has."""
    point: dict[Any, Any] = {q: sp.Rational(3, 10), y: sp.sympify(output)}
    extra = sorted(expr.free_symbols - {q, y, omega, n, alpha, h}, key=sp.default_sort_key)
    return point | {s: sp.Rational(2 + k, 5) for k, s in enumerate(extra)}
