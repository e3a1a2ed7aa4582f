"""The node that stands for E[Z^n] of a perceptron: the volume of the weights that satisfy every constraint.

Weights J of N entries: Ising ones J_i = +-1 are counted, spherical ones |J|^2 = N carry the uniform
probability.  The fields of M = alpha N random patterns are h = F J with F_ij iid N(0, 1/N), and Z is the sum
over J of prod_mu w(h_mu), w the probability that a field satisfies its constraint.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

from replica.expr.binder import Binder
from replica.field_action import ISING


class ReplicatedVolume(Binder):
    """(1/N) log E[Z^n] as it is defined. Args: w(h), h, n, alpha, kind of weights."""

    binds = 1

    def _latex(self, printer: Any) -> str:
        replicas, rate = (printer._print(p) for p in self.parameters[:2])
        ising = self.parameters[2] == ISING
        trace = r"\sum_{J\in\{-1,1\}^N}" if ising else r"\int_{|J|^2=N}\mathrm{d}J\;"
        weight, field = printer._print(self.body), printer._print(self.bound_symbols[0])
        return (
            rf"\frac{{1}}{{N}}\log\mathbb{{E}}_F\Big[{trace}\prod_{{\mu=1}}^{{{rate} N}}w\big((FJ)_\mu\big)"
            rf"\Big]^{{{replicas}}},\quad w({field})={weight}"
        )
