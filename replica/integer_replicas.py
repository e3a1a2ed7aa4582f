"""The replicated action at an integer number of replicas, against the sum over all signals at a finite size.

Laplace's method is what makes E[Z^n] an extremum over overlaps and conjugates.  For signals of entries +-1
and outputs h + noise the expression that it gives is evaluated node by node, from explicit matrices, and its
extremum compared with the limit of the finite sums of ``binary_evidence``, which know neither.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from replica.action import (
    Q_HAT,
    FieldAverage,
    Geometry,
    OverlapMoment,
    PairSum,
    Q,
    ReplicatedEvidence,
    covariance_of,
    geometry,
    nodes_of,
)
from replica.binary_evidence import noisy_fields, thermodynamic_log_moment
from replica.derivation import Comparison
from replica.expr.average import OutputSum
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import alpha, h, n, q, q_hat, y

_RATE = sp.Rational(6, 5)
_VARIANCE = sp.Rational(1, 2)
_CASES = ((1, 200, 1e-5), (2, 20, 1e-4))
"""n, smallest size and tolerance of the extrapolation; a wrong factor changes the value by more than 0.01.
"""
_LARGEST, _NODES = 0.9, 9


def laplace_comparisons(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """The step from ``ReplicatedEvidence`` to its extremum: the channel's place in it, and its value at n = 1
    and 2.
    """
    (evidence,) = nodes_of(before, ReplicatedEvidence)
    (total,), (fields,) = nodes_of(after, OutputSum), nodes_of(after, FieldAverage)
    stated = evidence.body.subs(dict(zip(evidence.bound_symbols, (y, h), strict=True)), simultaneous=True)
    names = {total.bound_symbols[0]: y, fields.bound_symbols[0]: h}
    comparisons = [
        Comparison("the factor of a replica", sp.expand(fields.body.xreplace(names) - stated), sp.S.Zero, 0),
        Comparison("the outputs", sp.Integer(total.outputs == evidence.parameters[0]), sp.S.One, 0),
    ]
    counted = geometry(evidence.parameters[3])
    share, scale = float(counted.share), float(counted.field_variance)
    noisy = noisy_fields(float(_VARIANCE) * scale)
    for k, smallest, tolerance in _CASES:
        replicas = int(evidence.parameters[1].subs(n, k)) + 1  # and the teacher
        # signs as the free coordinates: rate and noise per coordinate and unit of overlap are the same
        summed = share * thermodynamic_log_moment(
            replicas, lambda overlaps: noisy(scale * overlaps), float(_RATE), smallest
        )
        found = _extremum(after, k, counted)
        comparisons.append(
            Comparison(f"E[Z^{k}] of binary signals", sp.Float(found), sp.Float(summed), tolerance)
        )
    return tuple(comparisons)


def _extremum(after: sp.Expr, k: int, counted: Geometry) -> float:
    """The expression at n = k for binary signals and outputs with noise: the supremum over q of the infimum
    over q_hat; nan where there is none inside.
    """
    (total,), (fields,) = nodes_of(after, OutputSum), nodes_of(after, FieldAverage)
    size = fields.size.subs(n, k)
    matrices = {Q: ReplicaSymmetricMatrix(size, 1, q), Q_HAT: ReplicaSymmetricMatrix(size, 0, q_hat)}
    log_weight = sp.Dummy("log_weight", real=True)
    nodes: dict[Any, sp.Expr] = {total: sp.exp(log_weight)}
    for moment in nodes_of(after, OverlapMoment):
        share = geometry(moment.args[1]).share
        nodes[moment] = share * _binary_moment(moment.args[0].xreplace(matrices).explicit())
    for pairs in nodes_of(after, PairSum):
        left, right = (m.xreplace(matrices).explicit() for m in pairs.args)
        nodes[pairs] = sp.Add(*(left[a, b] * right[a, b] for a, b in _pairs(left.rows)))
    value = sp.expand_log(after.xreplace(nodes).subs({n: k, alpha: counted.share * _RATE}))
    slope = value.diff(q_hat)  # linear in q: the infimum over q_hat is reached at one q for each q_hat
    if slope.diff(q) == 0 or slope.diff(q).free_symbols:
        return np.nan
    strength = np.linspace(1e-4, 5, 100_000)
    overlap = sp.lambdify(q_hat, -slope.subs(q, 0) / slope.diff(q), "numpy")(strength)
    inside = (overlap > 0) & (overlap < _LARGEST)
    if not np.any(inside):
        return np.nan
    at, conjugate = overlap[inside], strength[inside]
    covariance = covariance_of(fields.covariance, matrices)
    log_weights = _log_weight(covariance, size, counted.field_variance * _VARIANCE)(at)
    values = sp.lambdify((q, q_hat, log_weight), value, "numpy")(at, conjugate, log_weights)
    best = int(np.argmax(values))
    return float(values[best]) if 0 < best < len(values) - 1 else np.nan


@lru_cache(maxsize=16)
def _log_weight(covariance: ReplicaSymmetricMatrix, size: sp.Expr, variance: sp.Expr) -> Any:
    """The logarithm of the integral over the output of the field average, as a function of q in (0, 0.9): a
    polynomial through exact evaluations.
    """
    density = sp.exp(-((y - h) ** 2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)
    nodes, values = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES), []
    overlaps = [sp.Rational(round(500 * _LARGEST * (1 + x)), 1000) for x in nodes]
    for overlap in overlaps:
        probe = FieldAverage(density, h, covariance.subs(q, overlap), size).explicit()
        # Gaussian in y and even: its integral from its value and its curvature at 0
        at_zero, curvature = (float(f.subs(y, 0)) for f in (probe, -probe.diff(y, 2)))
        values.append(np.log(at_zero * np.sqrt(2 * np.pi * at_zero / curvature)))
    return np.polynomial.Polynomial.fit([float(x) for x in overlaps], values, _NODES - 1)


def _binary_moment(conjugates: sp.Matrix) -> sp.Expr:
    """log E exp(sum_{a<b} Qhat_ab s_a s_b) for one site of independent signs."""
    replicas = conjugates.rows
    weights = [
        sp.exp(sp.Add(*(conjugates[a, b] * s[a] * s[b] for a, b in _pairs(replicas))))
        for s in itertools.product((1, -1), repeat=replicas)
    ]
    return sp.log(sp.Add(*weights) / 2**replicas)


def _pairs(size: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(size), 2))
