"""Stability of a saddle point in replica space: the Hessian over pairs of replicas and its eigenvalues.

The action A(Q, Q_hat) has the Hessian beta^2 xi''(Q_ab) over the overlaps, -1 between an overlap and its
conjugate, and C_(ab)(cd) = <s_a s_b s_c s_d> - <s_a s_b><s_c s_d> over the conjugates.  Fluctuations of Q_hat
integrated out, a family of eigenvectors with the eigenvalue c of C has 1 - beta^2 xi'' c > 0 where the saddle
point is stable.

J. R. L. de Almeida, D. J. Thouless, J. Phys. A 11 (1978) 983; E. Gardner, Nucl. Phys. B 257 (1985) 747; T.
Temesvari, C. De Dominicis, I. Kondor, J. Phys. A 27 (1994) 7569 (any number of steps).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any, NamedTuple

import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.recursion import Tilted, linear
from replica.symbols import beta, n


class PairEigenvalues(NamedTuple):
    """Of a symmetric matrix over pairs of replicas, alike under permutations: (eigenvalue, multiplicity)."""

    longitudinal: tuple[sp.Expr, sp.Expr]
    anomalous: tuple[sp.Expr, sp.Expr]
    replicon: tuple[sp.Expr, sp.Expr]


def pair_eigenvalues(same: Any, one: Any, none: Any, size: Any = n) -> PairEigenvalues:
    """The eigenvalues of M_(ab)(cd) = ``same`` for one pair with itself, ``one`` for pairs that share a
    replica, ``none`` for pairs that share none, at a symbolic number of replicas.

    A pair meets 2(n - 2) others in one replica and (n - 2)(n - 3)/2 in none.  Uniform vectors; vectors x_a +
    x_b with sum_a x_a = 0; and those whose sum over every row vanishes.

    >>> P, Q, R = sp.symbols("P Q R")
    >>> pair_eigenvalues(P, Q, R).replicon
    (P - 2*Q + R, n*(n - 3)/2)
    >>> [value.subs(n, 0) for value, _ in pair_eigenvalues(P, Q, R)]
    [P - 4*Q + 3*R, P - 4*Q + 3*R, P - 2*Q + R]
    """
    s, same, one, none = (sp.sympify(x) for x in (size, same, one, none))
    return PairEigenvalues(
        (same + 2 * (s - 2) * one + (s - 2) * (s - 3) / 2 * none, sp.S.One),
        (same + (s - 4) * one - (s - 3) * none, s - 1),
        (same - 2 * one + none, s * (s - 3) / 2),
    )


def spin_eigenvalues(magnetisation: Any, fields: Any) -> PairEigenvalues:
    """The eigenvalues of C at n -> 0 for Ising spins, replica-symmetric.

    ``magnetisation`` is that of a spin in a field and ``fields`` averages over it: at n -> 0 the moment of j
    different replicas is the average of its j-th power, and s_a^2 = 1.
    """
    second, fourth = (fields(magnetisation**j) for j in (2, 4))
    found = pair_eigenvalues(1 - second**2, second - second**2, fourth - second**2)
    return PairEigenvalues(*((sp.expand(value.subs(n, 0)), count) for value, count in found))


def replicons(model: Any) -> tuple[sp.Expr, ...]:
    """One for each overlap q_i from the outermost, positive where the saddle point is stable.

    1 - beta^2 xi''(q_i) E<(phi''_{i+1})^2>_i, phi'' being the response of the magnetisation inside level i to
    its field (1/(1 - q) for spherical spins, through the spectrum of the overlaps).  Replica-symmetric: that
    of de Almeida and Thouless; the innermost of one step: that of Gardner.
    """
    from replica.symbols import q

    overlaps, curvature = model.ansatz.overlaps(q), model.covariance.diff(q, 2)
    if model.spins == "spherical":
        matrix = model.ansatz.matrix(n, 1, q).subs(n, 0)
        responses = tuple(value**2 for value, _ in matrix.eigenvalues()[1:])
    else:
        saddle = model.saddle_point()
        updates = {c: e for c, e in saddle.updates if c not in overlaps}
        responses = tuple(linear(_response(saddle.update(s)).subs(updates)) for s in overlaps)
    return tuple(
        1 - beta**2 * curvature.subs(q, s) * response for s, response in zip(overlaps, responses, strict=True)
    )


def _response(update: Any) -> Any:
    """From E<M(w)^2>, w the field of the innermost average around the square, to E<(dM/dw)^2>."""
    if isinstance(update, GaussianAverage):
        return update.func(_squared_slope(update.body, update.var), *update.args[1:])
    raise TypeError(f"expected an average over fields, got {update}")


def _squared_slope(body: Any, field: sp.Symbol) -> Any:
    if isinstance(body, sp.Pow) and body.exp == 2:
        return body.base.diff(field) ** 2
    if isinstance(body, Tilted):
        inner = _squared_slope(body.observable, body.var)
        return Tilted(sp.Tuple(inner, body.inner), *body.args[1:])
    raise TypeError(f"expected the square of a magnetisation, got {body}")
