r"""Multitasking Hebbian networks: diluted patterns, learned from examples, retrieved several at a time.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
patterns           K of them, finite; xi^mu_i = 0 with probability d, else +-1 alike
examples           eta^(mu a)_i = chi xi^mu_i, a = 1..M, chi = +-1 with probability (1 +- r)/2; the dataset
                   entropy is rho = (1 - r^2)/(M r^2)
energy             H = -(N/(2c)) sum_mu X_mu^2, c = (1 - d)(1 + rho)
overlaps           X_mu = (1/(N r M)) sum_{i,a} eta^(mu a)_i s_i with the examples, m_mu = (1/N) sum_i xi^mu_i
                   s_i with the patterns: at most 1 - d
free entropy       Phi = lim (1/N) E log Z, the pressure; f = -T Phi
=================  ==========================================================================================

E. Agliari, A. Alessandrelli, A. Barra, F. Ricci-Tersenghi, arXiv 2308.04106; E. Agliari, A. Barra, A.
Galluzzi, F. Guerra, F. Moauro, Phys. Rev. Lett. 109 (2012) 268101.
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from replica.condensed_action import GaussianEnergies, site_law
from replica.models.condensed_spins import CondensedSpins
from replica.models.dense_hebbian_network import ENTROPY
from replica.models.hopfield_network import magnetisations
from replica.parameters import Parameter
from solvers.errors import InputError

DILUTION = Parameter(
    "d",
    "d",
    "dilution: probability of a vanishing entry",
    lower=Fraction(0),
    upper=Fraction(1),
    upper_open=True,
)


def multitasking_hebbian(K: int = 2) -> CondensedSpins:
    """With K patterns.

    Raises
    ------
    InputError
        ``K`` is not an integer from 1 to 5.

    >>> multitasking_hebbian(3).starts
    ('hierarchical', 'parallel', 'global')
    """
    if isinstance(K, bool) or not isinstance(K, int) or not 1 <= K <= 5:
        raise InputError(f"K must be an integer from 1 to 5, not {K!r}")
    d, rho = sp.Symbol("d", nonnegative=True), sp.Symbol("rho", nonnegative=True)
    overlaps = magnetisations("X", K)
    half = (1 - d) / 2
    return CondensedSpins(
        name="multitasking",
        reference="arXiv 2308.04106",
        energy=sp.Add(*(x**2 for x in overlaps)) / (2 * (1 - d) * (1 + rho)),
        overlaps=overlaps,
        laws=tuple(site_law(i + 1, (-1, 0, 1), (half, d, half), 1, rho) for i in range(K)),
        noise=GaussianEnergies(sp.S.Zero),
        parameters=((DILUTION, d), (ENTROPY, rho)),
        states=(
            ("hierarchical", (*[0.5**i for i in range(K)], 1.0)),
            *([("parallel", (*[0.5 - 0.02 * i for i in range(K)], 1.0))] if K > 1 else []),
        ),
        examples=True,
        names=tuple(x.name.replace("_", "") for x in overlaps),
        simulation="memories",
    )
