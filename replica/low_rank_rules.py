"""Rules for a low-rank matrix seen through Gaussian noise: the average over the noise."""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.action import N_U, N_V, OverlapMoment, PairSum, Q, nodes_of
from replica.action import Q_HAT as Q_CONJUGATE
from replica.derivation import Comparison, Kind, Rule
from replica.expr.average import GaussianAverage
from replica.symbols import N, alpha, lam, n

Q_U, Q_V = sp.Symbol("Q_u"), sp.Symbol("Q_v")
Q_U_HAT, Q_V_HAT = sp.Symbol(r"\hat{Q}_u"), sp.Symbol(r"\hat{Q}_v")


class SpikedEvidence(sp.Expr):
    """(1/N) log E[L^n], L the likelihood ratio of Y = sqrt(lambda/N) x x^T + W to noise. Args: lambda, n."""

    def _latex(self, printer: Any) -> str:
        strength, replicas = (printer._print(a) for a in self.args)
        ratio = rf"\sqrt{{{strength}/N}}\,Y_{{ij}}x^a_ix^a_j-\frac{{{strength}}}{{2N}}(x^a_ix^a_j)^2"
        return _evidence_latex(ratio, "i<j", replicas, "x")


class RectangularEvidence(sp.Expr):
    """The same for Y = sqrt(lambda/N) u v^T + W, u of N and v of alpha N coordinates. Args: lambda, n."""

    def _latex(self, printer: Any) -> str:
        strength, replicas = (printer._print(a) for a in self.args)
        ratio = rf"\sqrt{{{strength}/N}}\,Y_{{ij}}u^a_iv^a_j-\frac{{{strength}}}{{2N}}(u^a_iv^a_j)^2"
        return _evidence_latex(ratio, "ij", replicas, "u,v")


def _evidence_latex(ratio: str, entries: str, replicas: str, signal: str) -> str:
    return (
        rf"\frac{{1}}{{N}}\log\mathbb{{E}}_{{W}}\mathbb{{E}}_{{{signal}}}\prod_{{a=1}}^{{{replicas}}}"
        rf"\prod_{{{entries}}}\exp\Big({ratio}\Big)"
    )


def _average_noise(expr: sp.Expr) -> sp.Expr:
    def square(node: SpikedEvidence) -> sp.Expr:
        return node.args[0] / 2 * PairSum(Q, Q) + OverlapMoment(Q_CONJUGATE, N) - PairSum(Q, Q_CONJUGATE)

    def rectangular(node: RectangularEvidence) -> sp.Expr:
        left = OverlapMoment(Q_U_HAT, N_U) - PairSum(Q_U, Q_U_HAT)
        right = OverlapMoment(Q_V_HAT, N_V) - PairSum(Q_V, Q_V_HAT)
        return node.args[0] * alpha * PairSum(Q_U, Q_V) + left + sp.expand(alpha * right)

    return expr.replace(SpikedEvidence, lambda *a: square(SpikedEvidence(*a))).replace(
        RectangularEvidence, lambda *a: rectangular(RectangularEvidence(*a))
    )


def _check_average_noise(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
    """For explicit replicas: the Gaussian average over the noise entry by entry, replica 0 being the teacher,
    against the sum over pairs in the result with the overlaps of these replicas.
    """
    strength = sp.Rational(7, 5)
    square = before.has(SpikedEvidence)
    rows, columns = 3, 3 if square else 2
    comparisons = []
    for size in (2, 3):
        u = sp.Matrix(size, rows, lambda a, i: sp.Rational(2 * a - i + 1, a + i + 1))
        v = u if square else sp.Matrix(size, columns, lambda a, j: sp.Rational(a + j + 1, 2 * a + 1))
        exponent, overlap_terms = sp.S.Zero, sp.S.Zero
        for i in range(rows):
            for j in range(i + 1 if square else 0, columns):
                spikes = [u[a, i] * v[a, j] for a in range(size)]
                noise = sp.Symbol("w", real=True)
                observed = sp.sqrt(strength / rows) * spikes[0] + noise
                likelihood = sp.Add(
                    *(
                        sp.sqrt(strength / rows) * observed * s - strength / (2 * rows) * s**2
                        for s in spikes[1:]
                    )
                )
                average = GaussianAverage(sp.exp(sp.expand(likelihood)), noise, 0, 1).doit()
                exponent += sp.log(average)
                if (
                    square
                ):  # the sum over i < j is half of N Q_ab^2 less its diagonal, which is of lower order
                    continue
        for a in range(size):
            for b in range(a + 1, size):
                left, right = ((m[a, :] * m[b, :].T)[0] for m in (u, v))
                product = left * right / rows**2
                if square:  # i < j counts half of what is left without the diagonal
                    product -= sp.Add(*(u[a, i] ** 2 * u[b, i] ** 2 for i in range(rows))) / rows**2
                overlap_terms += product
        coefficient = _coupling(after).subs({lam: strength, alpha: sp.Rational(columns, rows)})
        scale = 1 if square else rows / sp.Integer(columns)
        comparisons.append(
            Comparison(
                f"{size} replicas",
                sp.N(exponent / rows, 15),
                sp.N(coefficient * overlap_terms * scale, 15),
                1e-12,
            )
        )
    return tuple(comparisons)


def _coupling(after: sp.Expr) -> sp.Expr:
    """The coefficient of the sum over pairs of overlaps with overlaps."""
    (pairs,) = (p for p in nodes_of(after, PairSum) if not {Q_CONJUGATE, Q_U_HAT, Q_V_HAT} & set(p.args))
    return after.coeff(pairs)


average_noise = Rule(
    "average over the noise; overlaps",
    Kind.LIMIT,
    _average_noise,
    "Gaussian noise given the replicas, one of which is the teacher; Laplace's method in the overlaps and "
    "their conjugates at N -> infinity; the diagonal i = j is of lower order",
    _check_average_noise,
    ((n, "number of replicas beside the teacher"),),
)
