"""The node that stands for E[Z^n] of a perceptron: the volume of the weights that satisfy every constraint.

Weights J of N entries: Ising ones J_i = +-1 are counted, spherical ones |J|^2 = N carry the uniform
probability.  The fields of M = alpha N random patterns are h = F J with F_ij iid N(0, 1/N), and Z is the sum
over J of prod_mu w(h_mu), w the probability that a field satisfies its constraint.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError

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


class LogChance(sp.Function):
    r"""log Z_out(omega, V) by name; the third argument counts its derivatives in omega.

    Z_out = E_{h ~ N(omega, V)} w(h) solves the heat equation, so d log Z_out/dV = ((log Z_out)'' + (log
    Z_out)'^2)/2.

    >>> omega, V = sp.Symbol("omega", real=True), sp.Symbol("V", positive=True)
    >>> LogChance(omega, V, 0).diff(V)
    LogChance(omega, V, 1)**2/2 + LogChance(omega, V, 2)/2
    """

    nargs = (3,)
    is_real = True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """In omega; in V for the first two of them."""
        field, variance, order = self.args
        if argindex == 1:
            return LogChance(field, variance, order + 1)
        if argindex == 2 and order < 2:
            second, third = (LogChance(field, variance, order + k) for k in (1, 2))
            first = LogChance(field, variance, 1)
            return (third + first * second * (1 + order)) / 2
        raise ArgumentIndexError(self, argindex)

    def _latex(self, printer: Any, exp: Any = None) -> str:
        field, variance = (printer._print(a) for a in self.args[:2])
        order = int(self.args[2])
        sign = "" if order == 0 else r"\partial_\omega" + (f"^{{{order}}}" if order > 1 else "") + " "
        text = rf"{sign}\log Z_{{\mathrm{{out}}}}\left({field},{variance}\right)"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"
