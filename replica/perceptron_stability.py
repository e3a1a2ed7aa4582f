"""Stability of the symmetric saddle point of a perceptron in replica space.

The action alpha log E prod_a w(h_a) + S(Q_hat) - sum_{a<b} Q_ab Q_hat_ab has, over pairs of replicas, the
Hessian alpha G between overlaps, -1 between an overlap and its conjugate, and C between conjugates.  With
fields h ~ N(0, Q), d/dQ_ab is d^2/dh_a dh_b (Price), so that G_(ab)(cd) = <d_a d_b d_c d_d> - <d_a d_b><d_c
d_d> in ratios of derivatives of Z_out; C_(ab)(cd) = <J_a J_b J_c J_d> - <J_a J_b><J_c J_d>, for spherical
weights minus the inverse of the Hessian of (1/2) log det Q.  In each family of eigenvectors the block
((alpha G, -1), (-1, C)) has the determinant alpha G C - 1, which is -1 without patterns: stable where 1 -
alpha G C > 0.

J. R. L. de Almeida, D. J. Thouless, J. Phys. A 11 (1978) 983; E. Gardner, J. Phys. A 21 (1988) 257; E.
Gardner, B. Derrida, J. Phys. A 21 (1988) 271.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.stable import inverse_mills, truncated_mean
from replica.overlaps import HierarchicalMatrix
from replica.stability import PairEigenvalues, pair_eigenvalues, spin_eigenvalues
from replica.symbols import V, alpha, n, omega, q, q_hat

FIRST, SECOND = sp.symbols("z_1 z_2", real=True)
"""Z_out'/Z_out and Z_out''/Z_out of one replica given the shared field."""


def pattern_eigenvalues(mean: Any) -> PairEigenvalues:
    """The eigenvalues of G at n -> 0; ``mean`` averages a polynomial in ``FIRST`` and ``SECOND`` over the
    shared field.

    A replica that occurs in both pairs is differentiated twice.
    """
    connected = mean(FIRST**2) ** 2
    moments = (SECOND**2, SECOND * FIRST**2, FIRST**4)
    found = pair_eigenvalues(*(mean(moment) - connected for moment in moments))
    return PairEigenvalues(*((sp.expand(value.subs(n, 0)), count) for value, count in found))


def sphere_eigenvalues(matrix: HierarchicalMatrix) -> PairEigenvalues:
    """The eigenvalues at n -> 0 of the Hessian of (1/2) log det Q over pairs: -(A_ac A_bd + A_ad A_bc), A =
    Q^-1.
    """
    inverse = matrix.inverse()
    own, other = (value.subs(n, 0) for value in (inverse.diagonal, inverse.overlaps[0]))
    found = pair_eigenvalues(-(own**2) - other**2, -own * other - other**2, -2 * other**2)
    return PairEigenvalues(*((sp.factor(value.subs(n, 0)), count) for value, count in found))


def replicon(channel: Any, spherical: bool, matrix: HierarchicalMatrix, spin_field: sp.Symbol) -> sp.Expr:
    """1 - alpha G C of the replicon family, at the overlap q and its conjugate."""
    return 1 - alpha * _pattern_replicon(channel) * _weight_replicon(spherical, matrix, spin_field)


def _pattern_replicon(channel: Any) -> sp.Expr:
    """E (d^2 log Z_out/domega^2)^2: the connected parts cancel, and what is left is a square."""
    ratios = sp.factor(pattern_eigenvalues(lambda moment: moment).replicon[0])
    slope = channel.output_function(sp.S.One, omega, V)
    curvature = _without_cancellation(slope.diff(omega))
    body = sp.expand(sp.sqrt(ratios).subs(SECOND, sp.Symbol("c", real=True) + FIRST**2)) ** 2
    inserted = body.subs(sp.Symbol("c", real=True), curvature).subs(FIRST, slope).subs(V, 1 - q)
    return GaussianAverage(inserted, omega, 0, q)


def _weight_replicon(spherical: bool, matrix: HierarchicalMatrix, spin_field: sp.Symbol) -> sp.Expr:
    if spherical:
        return -1 / sphere_eigenvalues(matrix).replicon[0]
    moment = sp.Symbol("m", real=True)
    polynomial = sp.factor(spin_eigenvalues(moment, lambda power: power).replicon[0])
    return GaussianAverage(polynomial.subs(moment, sp.tanh(spin_field)), spin_field, 0, q_hat)


def _without_cancellation(expr: sp.Expr) -> sp.Expr:
    """U + inverse_mills(u), which is small at large -u, by its own name."""
    named = {m.args[0] + m: truncated_mean(m.args[0]) for m in expr.atoms(inverse_mills)}
    return expr.xreplace(named)
