"""The rules for spins with condensed order parameters; the rest of the derivation is that of ``field_rules``.

D. J. Amit, H. Gutfreund, H. Sompolinsky, Phys. Rev. Lett. 55 (1985) 1530; Ann. Phys. 173 (1987) 30.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from replica.action import Q_HAT, PairSum, Q, nodes_of
from replica.binary_evidence import log_moment, thermodynamic_limit
from replica.condensed_action import (
    CondensedPartition,
    QuadraticMoment,
    QuadraticPatterns,
    ReplicaSum,
    site_law,
    vanishes,
)
from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import DiscreteAverage, GaussianAverage
from replica.field_action import EntrySum, SpinSum
from replica.field_rules import conjugate_update
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import n, q, q_hat


def conjugate_of(overlap: sp.Symbol) -> sp.Symbol:
    """The field, over x, that belongs to the overlap with a pattern."""
    name, _, index = overlap.name.partition("_")
    return sp.Symbol(rf"\hat{{{name}}}" + (f"_{index}" if index else ""), real=True)


# --- the average over the disorder --------------------------------------------------------------------------


def _order_parameters(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: CondensedPartition) -> sp.Expr:
        energy, overlaps, laws, noise, inverse, field, variance, size = node.args
        fields = [conjugate_of(m) for m in overlaps]
        energies = energy - sp.Add(*(m * f for m, f in zip(overlaps, fields, strict=True)))
        directions = [f * law.scale * law.variable for f, law in zip(fields, laws, strict=True)]
        mean = field + sp.Add(*directions)
        spread = variance + sp.Add(*(law.blur * x**2 for x, law in zip(directions, laws, strict=True)))
        silent = vanishes(noise)
        coupling = ReplicaSymmetricMatrix(size, 0, 0) if silent else Q_HAT
        site = SpinSum(coupling, inverse * mean, size, inverse**2 * spread)
        for law in reversed(laws):
            site = law.average(site)
        exponent = ReplicaSum(inverse * energies, size) + sp.log(site)
        return exponent if silent else exponent + noise.replicated(inverse, size) - PairSum(Q, Q_HAT)

    return expr.replace(lambda e: isinstance(e, CondensedPartition), rewrite)


def _check_order_parameters(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """E[Z^n] at n = 1 and 2, up to two patterns of +-1: the sum over all configurations at growing N, with
    no conjugates, against the extremum; and that it is the step's own expression for the laws at hand.
    """
    (node,) = nodes_of(before, CondensedPartition)
    energy, overlaps, _, noise, inverse, _, _, size = node.args
    kept = tuple(overlaps[:2])
    plain = energy.subs(dict.fromkeys(overlaps[2:], 0))
    laws = sp.Tuple(*(site_law(i + 1, (-1, 1), (sp.S.Half, sp.S.Half)) for i in range(len(kept))))
    at = _small(plain, overlaps, noise, inverse)
    whole = plain.subs(at).subs({overlaps[0]: 1} | dict.fromkeys(overlaps[1:], 0))
    plain = _ORDERED / (at[inverse] * whole) * plain
    probe = CondensedPartition(plain, sp.Tuple(*kept), laws, noise, inverse, 0, 0, size).subs(at)
    same = sp.expand(after - _order_parameters(before))
    comparisons = [Comparison("the laws at hand", same, sp.S.Zero, 0)]
    for replicas in (1, 2):
        if len(kept) + replicas > _MOST:
            continue
        summed = thermodynamic_limit(lambda k, r=replicas: _summed(probe, r, k), 24)
        found = _extremum(_order_parameters(probe), kept, replicas)
        comparisons.append(Comparison(f"E[Z^{replicas}]", sp.Float(found), sp.Float(summed), 1e-4))
    return tuple(comparisons)


_ORDERED = 2
"""Energy of a retrieved pattern over the temperature: far from where order sets in, finite sizes differ from
the limit by powers of 1/N."""
_MOST = 3
"""Patterns and replicas: more have too many overlaps to sum over."""


def _small(energy: sp.Expr, overlaps: Any, noise: sp.Basic, inverse: sp.Symbol) -> dict[Any, Any]:
    """A point where E[Z^2] of the noise is finite: little of it, high temperature."""
    of_noise = sorted(noise.free_symbols - {q}, key=str)
    others = energy.free_symbols - {*overlaps, *of_noise}
    found = {s: sp.Rational(1, 3 + k) for k, s in enumerate(of_noise)}
    return found | dict.fromkeys(others, sp.Rational(2, 3)) | {inverse: sp.Rational(2, 5)}


def _summed(node: CondensedPartition, replicas: int, spins: int) -> float:
    """(1/N) log E[Z^n]: the patterns are replicas of the spins that do not interact."""
    energy, overlaps, _, noise, inverse, *_ = node.args
    patterns = len(overlaps)
    potential = sp.lambdify(tuple(overlaps), energy, "numpy")

    def weight(matrices: np.ndarray) -> np.ndarray:
        exponent = np.zeros(len(matrices))
        for a in range(patterns, patterns + replicas):
            exponent += float(inverse) * potential(*(matrices[:, mu, a] for mu in range(patterns)))
        own = matrices[:, patterns:, patterns:]
        return np.exp(exponent + _noise_exponent(noise, float(inverse), own))

    counted = replicas * float(np.log(2))
    return log_moment(patterns + replicas, weight, 1.0, spins) + counted


def _noise_exponent(noise: Any, inverse: float, overlaps: np.ndarray) -> np.ndarray:
    """Gaussian energies by their variance; many patterns by quadrature over h ~ N(0, Q)."""
    if not isinstance(noise, QuadraticPatterns):
        xi = sp.lambdify(q, noise.args[0], "numpy")
        return inverse**2 / 2 * np.broadcast_to(xi(overlaps), overlaps.shape).sum(axis=(-1, -2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    size = overlaps.shape[-1]
    values, where = np.unique(np.round(overlaps[:, 0, -1], 12), return_inverse=True)
    if size == 1:
        moments = np.array([weights @ np.exp(inverse * nodes**2 / 2)] * len(values))
    else:
        first, second = np.meshgrid(nodes, nodes, indexing="ij")
        moments = np.array(
            [
                weights
                @ np.exp(inverse / 2 * (first**2 + (c * first + np.sqrt(1 - c**2) * second) ** 2))
                @ weights
                for c, s in ((c, np.sqrt(1 - c**2)) for c in np.clip(values, -1, 1))
            ]
        )
    return float(noise.args[0]) * (np.log(moments)[where] - size * inverse / 2)


def _extremum(after: sp.Expr, overlaps: tuple[sp.Symbol, ...], size: int) -> float:
    """The expression at n = ``size``: the supremum over overlaps of its value at stationary conjugates."""
    from scipy.optimize import minimize

    matrices = {Q: ReplicaSymmetricMatrix(size, 1, q), Q_HAT: ReplicaSymmetricMatrix(size, 0, q_hat)}
    explicit = {symbol: matrix.explicit() for symbol, matrix in matrices.items()}
    value = after.replace(
        lambda e: isinstance(e, DiscreteAverage),
        lambda e: e.doit(deep=False),
    ).subs(n, size)
    for node in nodes_of(value, EntrySum) + nodes_of(value, PairSum) + nodes_of(value, QuadraticMoment):
        value = value.xreplace({node: node.explicit(*(explicit[symbol] for symbol in node.matrices))})
    value = value.replace(lambda e: isinstance(e, ReplicaSum), lambda e: e.total())
    for node in nodes_of(value, SpinSum):
        value = value.xreplace({node: node.xreplace(matrices).explicit()})
    outside = value - sp.Add(*(t for t in sp.Add.make_args(value) if t.has(sp.exp)))
    coupled = [(q, q_hat)] if size > 1 and value.has(q_hat) else []
    pairs = [*((m, conjugate_of(m)) for m in overlaps), *coupled]
    conjugates = {c: conjugate_update(outside, overlap, c) for overlap, c in pairs}
    reduced = sp.lambdify([overlap for overlap, _ in pairs], -value.subs(conjugates), "numpy")
    starts = [[0.05] * len(pairs), [0.5] * len(pairs)]
    found = [minimize(lambda x: float(reduced(*x)), s, bounds=[(0, 0.999)] * len(pairs)) for s in starts]
    return -min(f.fun for f in found)


order_parameters = Rule(
    "average over the disorder; order parameters",
    Kind.LIMIT,
    _order_parameters,
    "the noise is Gaussian in law at N -> infinity; Laplace's method in the overlaps with the patterns, "
    "those of the replicas, and their conjugates",
    _check_order_parameters,
    (
        (Q, "overlap matrix of the n replicas"),
        (Q_HAT, "its conjugate; an extremum is understood"),
    ),
)


# --- a symmetry ---------------------------------------------------------------------------------------------


def _gauge(expr: sp.Expr) -> sp.Expr:
    """One term for each pair of opposite values where the body is even in xi."""

    def rewrite(node: DiscreteAverage) -> sp.Expr:
        weights = dict(node.atoms_of())
        symmetric = all(weights.get(-value) == weight for value, weight in node.atoms_of())
        if not (symmetric and _upright(node, 1) == _upright(node, -1)):
            return node
        return sp.Add(
            *(
                sp.factor(weight if value == 0 else 2 * weight) * node.body.subs(node.var, value)
                for value, weight in node.atoms_of()
                if not value.could_extract_minus_sign()
            )
        )

    return expr.replace(lambda e: isinstance(e, DiscreteAverage), rewrite)


def _upright(node: DiscreteAverage, sign: int) -> sp.Expr:
    """The body at sign * xi; a Gaussian average of an even function is even in its mean."""
    body = node.body.subs(node.var, sign * node.var)
    even = isinstance(body, GaussianAverage) and body.body.subs(body.var, -body.var) == body.body
    if not even:
        return body
    return body.func(body.body, body.var, sp.Abs(sp.expand(body.mean)), sp.expand(body.variance))


def _check_gauge(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    free = sorted((before.free_symbols | after.free_symbols), key=str)
    at = {s: sp.Rational(3 + 2 * k, 10 + k) for k, s in enumerate(free)}
    return (Comparison("one spin", *(sp.N(e.subs(at), 12) for e in (before, after)), 1e-9),)


gauge = Rule(
    "gauge transformation",
    Kind.IDENTITY,
    _gauge,
    "s_i -> xi_i s_i: log 2cosh is even, so that opposite values of a pattern contribute alike",
    _check_gauge,
)
