r"""Dense Hebbian networks that learn from examples, supervised.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
archetypes         xi^mu_i = +-1, K = (2 gamma/P!) N^(P-1) of them
examples           eta^(mu a)_i = chi xi^mu_i, a = 1..M, chi = +-1 with probability (1 +- r)/2; their mean
                   over a is eta_bar, r xi (1 + sqrt(rho) z) for many of them; the dataset entropy is
                   rho = (1 - r^2)/(M r^2)
weight             exp[(beta'/2) (P!/(R^(P/2) N^(P-1))) sum_mu sum_{i1<...<iP} prod_k (eta_bar^mu_ik s_ik)],
                   R = r^2 (1 + rho), beta' = 2 beta/P! = 1/T; indices are distinct
overlaps           n = (1/(N r (1 + rho))) sum_i eta_bar_i s_i with the examples of one archetype, m = xi.s/N
                   with itself, q = s.s'/N of two replicas
noise              the other archetypes: Gaussian energies of covariance N gamma q^P/2
free entropy       Phi = lim (1/N) E log Z, the pressure; f = -T Phi
=================  ==========================================================================================

E. Agliari, L. Albanese, F. Alemanno, A. Alessandrelli, A. Barra, F. Giannotti, D. Lotito, D. Pedreschi,
arXiv 2212.00606 (supervised).
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from replica.condensed_action import GaussianEnergies, site_law
from replica.models.condensed_spins import CondensedSpins
from replica.parameters import Parameter
from replica.symbols import q
from solvers.errors import InputError

STORAGE = Parameter("gamma", "gamma", "storage: archetypes times P!/(2 N^(P-1))", Fraction(0))
ENTROPY = Parameter("rho", "rho", "dataset entropy (1 - r^2)/(M r^2)", Fraction(0), default=Fraction(0))


def dense_hebbian(P: int = 4) -> CondensedSpins:
    """Interactions of P spins.

    Raises
    ------
    InputError
        ``P`` is not an integer from 3 to 20: for P = 2 the noise of the other patterns is not that of
        Gaussian energies (``hopfield``).

    >>> dense_hebbian(4).names
    ('n',)
    """
    if isinstance(P, bool) or not isinstance(P, int) or not 3 <= P <= 20:
        raise InputError(f"P must be an integer from 3 to 20, not {P!r}")
    gamma, rho = sp.Symbol("gamma", nonnegative=True), sp.Symbol("rho", nonnegative=True)
    overlap = sp.Symbol(r"n_\eta", real=True)
    return CondensedSpins(
        name="dense",
        reference="arXiv 2212.00606",
        energy=(1 + rho) ** sp.Rational(P, 2) * overlap**P / 2,
        overlaps=(overlap,),
        laws=(site_law(1, (-1, 1), (sp.S.Half, sp.S.Half), 1 / (1 + rho), rho),),
        noise=GaussianEnergies(gamma * q**P / 2),
        parameters=((STORAGE, gamma), (ENTROPY, rho)),
        states=(("retrieval", (1.0, 1.0)), ("glass", (0.0, 1.0))),
        names=("n",),
        examples=True,
        simulation="memories",
    )
