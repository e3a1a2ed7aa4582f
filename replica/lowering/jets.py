"""Averages of outputs over an evidence without closed form, in terms of the evidence and its derivatives.

The output half of a saddle point and of the free entropy is E_{omega ~ N(m, S)} sum_y R(Z, Z', ...), where
Z(y, omega) = E_{h ~ N(omega, V)} P(y|h) and a prime is d/domega.  In these letters a derivative is short:
with Price's theorem for omega and the heat equation dZ/dV = Z''/2,

    d/dp E sum_y R = E sum_y [ dR/dp + m' D R + (S'/2) D^2 R + (V'/2) sum_k Z^(k+2) dR/dZ^(k) ],

D = d/domega with Z^(k) -> Z^(k+1).  Where S + V is constant the third derivatives cancel: the derivative of
Z'^2/Z is -V' Z ((log Z)'')^2.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import sympy as sp

from replica.expr.average import GaussianAverage, MixedOutputs, OutputSum

ORDERS = 4
JET = tuple(sp.Symbol(f"Z_{k}", real=True) for k in range(ORDERS + 2))
"""Z, dZ/domega, ... as letters."""
FIELD, OMEGA, OUTPUT = (sp.Dummy(name, real=True) for name in ("h", "omega", "y"))


@dataclass(frozen=True)
class OutputAverage:
    """E_{omega ~ N(mean, variance)} of the sum or integral over y of ``body``, an expression in OUTPUT, OMEGA
    and the jet of Z = E_{h ~ N(omega, noise)} density; the density in OUTPUT and FIELD.
    """

    body: sp.Expr
    density: sp.Expr
    noise: sp.Expr
    mean: sp.Expr
    variance: sp.Expr
    outputs: sp.Set

    @property
    def law(self) -> tuple[Any, ...]:
        """What averages must share to be evaluated together."""
        return (self.density, self.noise, self.mean, self.variance, self.outputs)

    def derivative(self, p: sp.Symbol) -> OutputAverage | None:
        """d/dp; None where the density depends on p."""
        if self.density.has_free(p):
            return None
        up = dict(itertools.pairwise(JET))
        first = _shifted(self.body, up)
        heat = sp.Add(*(self.body.diff(a) * JET[k + 2] for k, a in enumerate(JET[:-2])))
        half = sp.Rational(1, 2)
        slope = self.body.diff(p) + self.mean.diff(p) * first
        slope += half * (self.variance.diff(p) * _shifted(first, up) + self.noise.diff(p) * heat)
        return replace(self, body=sp.factor(sp.expand(slope)))

    def expression(self) -> sp.Expr:
        """As averages again."""
        jet = evidence_jet(self.density, FIELD, OMEGA, self.noise)
        body = self.body.subs(dict(zip(JET, jet, strict=False)))
        return GaussianAverage(OutputSum(body, OUTPUT, self.outputs), OMEGA, self.mean, self.variance)


def _shifted(body: sp.Expr, up: dict[sp.Symbol, sp.Symbol]) -> sp.Expr:
    return body.diff(OMEGA) + sp.Add(*(body.diff(a) * b for a, b in up.items()))


def output_average(binder: Any) -> OutputAverage | None:
    """The form of an average over unbounded outputs whose evidence has no closed form; None for all else."""
    if not (isinstance(binder, GaussianAverage) and isinstance(binder.body, OutputSum)):
        return None
    return _recognised(binder)


@lru_cache(maxsize=256)
def _recognised(binder: Any) -> OutputAverage | None:
    total = binder.body
    if (
        not _unbounded(total.outputs)
        or binder.mean.has_free(total.var)
        or binder.variance.has_free(total.var)
    ):
        return None
    body = total.body.subs({binder.var: OMEGA, total.var: OUTPUT}, simultaneous=True)
    found = in_jet(body, OMEGA)
    if found is None or found[2].has_free(OUTPUT):
        return None
    return OutputAverage(*found, binder.mean, binder.variance, total.outputs)


def _unbounded(outputs: Any) -> bool:
    if isinstance(outputs, sp.FiniteSet | MixedOutputs):
        return False
    return not (outputs.inf.is_finite and outputs.sup.is_finite)


def in_jet(expr: sp.Expr, omega: sp.Symbol) -> tuple[sp.Expr, sp.Expr, sp.Expr] | None:
    """(the expression in the letters of the jet, density in FIELD, V) if its averages are derivatives in
    omega of one average over h ~ N(omega, V), else None.
    """
    averages = [a for a in expr.atoms(GaussianAverage) if a.has_free(omega)]
    if not averages or expr.has(OutputSum):
        return None
    noise = averages[0].variance
    if noise.has_free(omega) or any((a.mean, a.variance) != (omega, noise) for a in averages):
        return None
    bodies = {a: a.body.subs(a.var, FIELD) for a in averages}
    if any(b.has_free(omega) or b.has(GaussianAverage) for b in bodies.values()):
        return None
    density = min(bodies.values(), key=lambda b: (sp.count_ops(b), sp.default_sort_key(b)))
    letters = {}
    for letter, order in zip(JET, evidence_jet(density, FIELD, omega, noise), strict=False):
        number, average = order.as_coeff_Mul()
        if not isinstance(average, GaussianAverage):
            return None
        letters[average.body.subs(average.var, FIELD)] = letter / number
        if all(body in letters for body in bodies.values()):
            return expr.xreplace({a: letters[b] for a, b in bodies.items()}), density, noise
    return None


def evidence_jet(density: sp.Expr, field: sp.Symbol, omega: sp.Symbol, noise: sp.Expr) -> tuple[sp.Expr, ...]:
    """Z, dZ/domega, ... as averages."""
    jet = [GaussianAverage(density, field, omega, noise)]
    for _ in range(ORDERS - 1):
        jet.append(jet[-1].diff(omega))
    return tuple(jet)
