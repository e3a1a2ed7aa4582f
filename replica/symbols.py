"""Every symbol of the library, once, with its assumptions and its LaTeX.

Names follow the papers: alpha = n/(dL), beta = L/d, rho = r/d, Delta the noise variance, q the overlap and
q_hat its conjugate (arXiv 2410.18858).
"""

from __future__ import annotations

from typing import Any

import sympy as sp

alpha = sp.Symbol("alpha", positive=True)
beta = sp.Symbol("beta", positive=True)
rho = sp.Symbol("rho", positive=True)
kappa = sp.Symbol("kappa", real=True)
lam = sp.Symbol("lambda", positive=True)
delta = sp.Symbol("Delta", nonnegative=True)

q = sp.Symbol("q", nonnegative=True)
q_hat = sp.Symbol(r"\hat{q}", positive=True)

n = sp.Symbol("n", nonnegative=True)

y = sp.Symbol("y", real=True)
h = sp.Symbol("h", real=True)
omega = sp.Symbol("omega", real=True)
V = sp.Symbol("V", positive=True)

A = sp.Symbol("A", positive=True)
B = sp.Symbol("B", real=True)
x = sp.Symbol("x", real=True)

N = sp.Symbol("N", positive=True)
"""Number of coordinates of a vector signal."""

m = sp.Symbol("m", real=True)
m_hat = sp.Symbol(r"\hat{m}", real=True)
V_hat = sp.Symbol(r"\hat{V}", positive=True)
lam = sp.Symbol("lambda", positive=True)
kappa = sp.Symbol("kappa", positive=True)
ell = sp.Symbol(r"\ell", nonnegative=True)

PARAMETERS = {"alpha": alpha, "beta": beta, "rho": rho, "delta": delta, "kappa": kappa, "lam": lam}
"""Symbol of each control parameter, by the name that users type."""


def parameter_symbol(parameter: Any) -> sp.Symbol:
    """The symbol of a ``Parameter``: one of the list, else a new one that knows the sign its bounds tell."""
    if parameter.name in PARAMETERS:
        return PARAMETERS[parameter.name]
    lower = parameter.lower
    if lower is None or lower < 0:
        return sp.Symbol(parameter.symbol_name, real=True)
    if lower > 0 or parameter.lower_open:
        return sp.Symbol(parameter.symbol_name, positive=True)
    return sp.Symbol(parameter.symbol_name, nonnegative=True)
