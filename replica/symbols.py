"""Every symbol of the library, once, with its assumptions and its LaTeX.

Names follow the papers: alpha = n/(dL), beta = L/d, rho = r/d, Delta the noise variance, q the overlap and
q_hat its conjugate (arXiv 2410.18858).
"""

from __future__ import annotations

import sympy as sp

alpha = sp.Symbol("alpha", positive=True)
beta = sp.Symbol("beta", positive=True)
rho = sp.Symbol("rho", positive=True)
delta = sp.Symbol("Delta", nonnegative=True)

q = sp.Symbol("q", nonnegative=True)
q_hat = sp.Symbol(r"\hat{q}", positive=True)

n = sp.Symbol("n", nonnegative=True)

y = sp.Symbol("y", real=True)
h = sp.Symbol("h", real=True)
omega = sp.Symbol("omega", real=True)
V = sp.Symbol("V", positive=True)
