"""The rules for Gaussian spins: every integral is Gaussian, so that all is read off spectra.

T. H. Berlin, M. Kac, Phys. Rev. 86 (1952) 821 (Gaussian spins); J. M. Kosterlitz, D. J. Thouless, R. C.
Jones, Phys. Rev. Lett. 36 (1976) 1217 (quadratic energies of random couplings).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from replica import ansatz as ansaetze
from replica.action import Q_HAT, Q, nodes_of
from replica.binary_evidence import thermodynamic_limit
from replica.condensed_action import ReplicaSum
from replica.derivation import Comparison, Derivation, Kind, Rule
from replica.field_action import EntrySum
from replica.gaussian_spin_action import GaussianSpinPartition, HalfTrace, SpinDeterminant, SpinIntegral
from replica.overlaps import ReplicaSymmetricMatrix
from replica.symbols import m, m_hat, n, q, q_hat

r = sp.Symbol("r", positive=True)
"""The squared norm of a configuration, over N."""
r_hat = sp.Symbol(r"\hat{r}", real=True)


# --- the average over the energies --------------------------------------------------------------------------


def _order_parameters(expr: sp.Expr) -> sp.Expr:
    def rewrite(node: GaussianSpinPartition) -> sp.Expr:
        covariance, inverse, strength, field, size = node.args
        magnetic = inverse * (strength * m**2 / 2 - m * m_hat)
        site = SpinIntegral(Q_HAT, inverse * (field + m_hat), size)
        noise = inverse**2 / 2 * EntrySum(covariance, q, Q)
        return noise + ReplicaSum(magnetic, size) + site - HalfTrace(Q, Q_HAT)

    return expr.replace(lambda e: isinstance(e, GaussianSpinPartition), rewrite)


_INVERSE, _STRENGTH, _FIELD, _RANDOM = sp.Rational(2, 5), sp.Rational(2, 3), sp.Rational(1, 2), q / 3


def _check_order_parameters(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """E[Z^n] at integer n, against the stationary point that begins at infinite temperature.

    With a random field as the only disorder, exactly, through the spectrum of N spins; with the covariance at
    hand, over the law of the overlaps of N-dimensional Gaussian vectors, where their norms are bounded: with
    random couplings it diverges beyond.
    """
    (node,) = nodes_of(before, GaussianSpinPartition)
    comparisons = [
        Comparison("the model at hand", sp.expand(after - _order_parameters(before)), sp.S.Zero, 0)
    ]
    for replicas in (1, 3):
        probe = GaussianSpinPartition(_RANDOM, _INVERSE, _STRENGTH, _FIELD, n)
        found = _stationary(_order_parameters(probe), replicas)
        exact = thermodynamic_limit(lambda k, size=replicas: _random_field(size, k), 100)
        what = f"E[Z^{replicas}] in a random field"
        comparisons.append(Comparison(what, sp.Float(found), sp.Float(exact), 1e-10))
    covariance = node.args[0]
    # low enough for a barrier between the norms of the stationary point and the large ones
    inverse = sp.Rational(1, 4) / sp.sqrt(covariance.diff(q, 2).subs(q, 1) + covariance.diff(q).subs(q, 0))
    xi = sp.lambdify(q, inverse**2 * covariance / 2, "numpy")
    for replicas in (1, 2):
        found = _stationary(_order_parameters(GaussianSpinPartition(covariance, inverse, 0, 0, n)), replicas)
        summed = thermodynamic_limit(lambda k, size=replicas: _overlap_integral(size, xi, k), 100)
        comparisons.append(Comparison(f"E[Z^{replicas}]", sp.Float(found), sp.Float(summed), 1e-5))
    return tuple(comparisons)


def _stationary(after: sp.Expr, size: int) -> float:
    """The expression at n = ``size``, from explicit matrices, where it is stationary."""
    from scipy.optimize import root

    matrices = {Q: ReplicaSymmetricMatrix(size, r, q), Q_HAT: ReplicaSymmetricMatrix(size, r_hat, q_hat)}
    explicit = {symbol: matrix.explicit() for symbol, matrix in matrices.items()}
    value = after.subs(n, size)
    for node in nodes_of(value, SpinIntegral):
        value = value.xreplace({node: SpinDeterminant(*node.args[:2])})
    for node in (e for kind in (EntrySum, HalfTrace, SpinDeterminant) for e in nodes_of(value, kind)):
        value = value.xreplace({node: node.explicit(*(explicit[symbol] for symbol in node.matrices))})
    value = value.replace(lambda e: isinstance(e, ReplicaSum), lambda e: e.total())
    unknowns = [s for s in (m, r, q, m_hat, r_hat, q_hat) if value.has(s)]
    slopes = sp.lambdify(unknowns, [value.diff(s) for s in unknowns], "numpy")
    hot = [1.0 if s == r else 0.0 for s in unknowns]
    found = root(lambda x: np.array(slopes(*x), dtype=float), hot, tol=1e-13).x
    return float(sp.lambdify(unknowns, value, "numpy")(*found))


def _random_field(replicas: int, spins: int) -> float:
    """(1/N) log E[Z^n] for the field alone: N - 1 directions without, one with the magnetisation."""
    inverse, strength, field, variance = (float(x) for x in (_INVERSE, _STRENGTH, _FIELD, _RANDOM.subs(q, 1)))
    ones = np.ones((replicas, replicas))
    across = np.eye(replicas) - inverse**2 * variance * ones
    along = across - inverse * strength * np.eye(replicas)
    mean = (inverse * field) ** 2 / 2 * np.linalg.inv(along).sum()
    logs = [float(np.linalg.slogdet(matrix)[1]) for matrix in (across, along)]
    return float(mean - ((spins - 1) * logs[0] + logs[1]) / (2 * spins))


def _overlap_integral(replicas: int, xi: Any, spins: int) -> float:
    """(1/N) log of the average over the overlaps of one or two Gaussian vectors: norms r_a N of chi-squared
    law, and an angle between them of density (1 - c^2)^((N-3)/2).
    """
    norm = np.linspace(0.2, 2.8, 81)
    law = (spins / 2 - 1) * np.log(norm) - spins * norm / 2
    if replicas == 1:
        exponent = spins * np.broadcast_to(xi(norm), norm.shape) + law
    else:
        first, second, cosine = np.meshgrid(norm, norm, np.linspace(-0.7, 0.7, 61), indexing="ij")
        law = law[:, None, None] + law[None, :, None] + (spins - 3) / 2 * np.log1p(-(cosine**2))
        exponent = spins * (xi(first) + xi(second) + 2 * xi(cosine * np.sqrt(first * second))) + law
    top = exponent.max()
    weighted, total = np.exp(exponent - top).sum(), np.exp(law - law.max()).sum()
    return float(top - law.max() + np.log(weighted / total)) / spins


order_parameters = Rule(
    "average over the disorder; order parameters",
    Kind.LIMIT,
    _order_parameters,
    "E exp(-b sum_a H_a) = exp(N (b^2/2) sum_ab xi(Q_ab)) for Gaussian energies; Laplace's method in m, Q_ab "
    "and their conjugates at the stationary point that begins at infinite temperature: for n > 0 the average "
    "itself diverges, by rare couplings of large size, which n -> 0 does not see",
    _check_order_parameters,
    (
        (Q, "overlap matrix of the n replicas, squared norms over N on its diagonal"),
        (Q_HAT, "its conjugate; an extremum is understood"),
        (m, "magnetisation, all replicas alike"),
        (m_hat, "its conjugate, a field"),
    ),
)


# --- one spin -----------------------------------------------------------------------------------------------


def _gaussian_integral(expr: sp.Expr) -> sp.Expr:
    return expr.replace(
        lambda e: isinstance(e, SpinIntegral),
        lambda e: SpinDeterminant(*e.args[:2]),
    )


def _check_gaussian_integral(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """For symmetric matrices without further structure: one spin integrated after the other."""
    (node,), (closed,) = nodes_of(before, SpinIntegral), nodes_of(after, SpinDeterminant)
    field = dict.fromkeys(node.args[1].free_symbols, sp.Rational(1, 2))
    comparisons = [
        Comparison("what surrounds it", sp.expand(after - closed - (before - node)), sp.S.Zero, 0),
    ]
    for size in (1, 2, 3):
        matrix = sp.Matrix(size, size, lambda a, b: sp.Rational(1 + a + b + a * b, 20 + 3 * abs(a - b)))
        left, right = node.subs(field).explicit(matrix), closed.subs(field).explicit(matrix)
        comparisons.append(Comparison(f"{size} replicas", sp.N(left, 15), sp.N(right, 15), 1e-13))
    return tuple(comparisons)


gaussian_integral = Rule(
    "Gaussian integral over the replicas of a spin",
    Kind.IDENTITY,
    _gaussian_integral,
    "the a-priori law and the exponent have together the inverse covariance 1 - Q_hat",
    _check_gaussian_integral,
)


# --- the ansatz ---------------------------------------------------------------------------------------------


def insert_ansatz(chosen: ansaetze.ReplicaSymmetric) -> Rule:
    """The matrices of an ansatz whose diagonal is an unknown too: norms fluctuate."""
    return ansaetze.insert(
        chosen,
        {Q: chosen.matrix(n, r, q), Q_HAT: chosen.matrix(n, r_hat, q_hat)},
        "the structure of the saddle point is assumed",
        (
            (r, "squared norm of a configuration over N"),
            (r_hat, "its conjugate"),
            (q, "overlap of two replicas"),
            (q_hat, "its conjugate"),
        ),
    )


# --- n -> 0 -------------------------------------------------------------------------------------------------


def _n_to_zero(expr: sp.Expr) -> sp.Expr:
    return sp.Add(*(term.diff(n).subs(n, 0) for term in sp.Add.make_args(expr)))


def _check_n_to_zero(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """Nothing is left at n = 0; the slope there by differences of fourth order."""
    at = _point(before, after, below=40)
    step = sp.Rational(1, 1000)
    near, far = (
        (before.subs(at | {n: k * step}) - before.subs(at | {n: -k * step})) / (2 * k * step) for k in (1, 2)
    )
    return (
        Comparison("at n = 0", sp.N(before.subs(n, 0).subs(at), 15), sp.S.Zero, 1e-14),
        Comparison("slope", sp.N((4 * near - far) / 3, 15), sp.N(after.subs(at), 15), 1e-8),
    )


n_to_zero = Rule(
    "n -> 0",
    Kind.LIMIT,
    _n_to_zero,
    "E log Z = d/dn log E[Z^n] at n = 0; the dependence on n is explicit",
    _check_n_to_zero,
)


# --- stationarity -------------------------------------------------------------------------------------------


def overlap_equation(phi: sp.Expr, overlap: sp.Symbol, conjugate: sp.Symbol) -> Derivation:
    """An order parameter from the derivative of Phi in its conjugate, which holds it linearly."""
    factor = sp.expand(phi.diff(conjugate)).coeff(overlap)
    rest = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(conjugate) and not t.has(overlap)))
    start = sp.Derivative(sp.expand_mul(-rest / factor), conjugate)
    return Derivation.start("Overlap", overlap, start).then(_STATIONARY)


def _check_stationary(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """By central differences."""
    (unknown,) = before.variables
    at = _point(before.expr, after, below=40)
    step = sp.Rational(1, 10**8)
    up, down = (before.expr.subs(at | {unknown: at[unknown] + k * step}) for k in (1, -1))
    slope = sp.N((up - down) / (2 * step), 15)
    return (Comparison("by differences", slope, sp.N(after.subs(at), 15), 1e-12),)


def _point(*expressions: sp.Expr, below: int) -> dict[Any, sp.Expr]:
    """Small different values: determinants are positive."""
    free = sorted(set().union(*(e.free_symbols for e in expressions)) - {n}, key=str)
    return {s: sp.Rational(3 + 2 * k, below + k) for k, s in enumerate(free)}


_STATIONARY = Rule(
    "stationarity in the conjugate",
    Kind.IDENTITY,
    lambda expr: sp.Add(*map(sp.factor_terms, sp.Add.make_args(expr.doit()))),
    "dPhi/dq_hat = 0, solved for q, which the coupling holds linearly",
    _check_stationary,
)
