r"""The Hopfield network.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
patterns           P = alpha N of them, xi^mu_i = +-1 with probability 1/2
energy             H = -(1/2N) sum_mu [(xi^mu . s)^2 - N]: J_ij = (1/N) sum_mu xi^mu_i xi^mu_j, J_ii = 0
overlaps           m_mu = xi^mu . s/N of the condensed patterns; q = s.s'/N of two replicas
noise              q_hat = alpha beta^2 r, r = q/(1 - beta (1 - q))^2: m^2 summed over the other patterns,
                   over alpha
=================  ==========================================================================================

J. J. Hopfield, PNAS 79 (1982) 2554; D. J. Amit, H. Gutfreund, H. Sompolinsky, Phys. Rev. Lett. 55 (1985)
1530 and Ann. Phys. 173 (1987) 30.
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from replica.condensed_action import QuadraticPatterns, site_law
from replica.models.condensed_spins import CondensedSpins
from replica.parameters import Parameter
from replica.symbols import alpha
from solvers.errors import InputError

LOAD = Parameter("alpha", "alpha", "patterns over spins, P/N", Fraction(0))


def hopfield(patterns: int = 1) -> CondensedSpins:
    """With this many condensed patterns: 1 for retrieval, 3 or 5 for mixture states.

    Raises
    ------
    InputError
        ``patterns`` is not an integer from 1 to 5.

    >>> hopfield().starts
    ('retrieval', 'glass', 'global')
    """
    if isinstance(patterns, bool) or not isinstance(patterns, int) or not 1 <= patterns <= 5:
        raise InputError(f"condensed patterns: an integer from 1 to 5, not {patterns!r}")
    overlaps = magnetisations("m", patterns)
    return CondensedSpins(
        name="hopfield",
        reference="D. J. Amit, H. Gutfreund, H. Sompolinsky, Ann. Phys. 173 (1987) 30",
        energy=sp.Add(*(m**2 / 2 for m in overlaps)),
        overlaps=overlaps,
        laws=tuple(site_law(i + 1, (-1, 1), (sp.S.Half, sp.S.Half)) for i in range(patterns)),
        noise=QuadraticPatterns(alpha),
        parameters=((LOAD, alpha),),
        states=(
            ("retrieval", (1.0, *[0.0] * (patterns - 1), 1.0)),
            *([("mixture", (*[0.5] * patterns, 1.0))] if patterns > 2 else []),
            ("glass", (*[0.0] * patterns, 1.0)),
        ),
        names=tuple(m.name.replace("_", "") for m in overlaps),
        simulation="memories",
    )


def magnetisations(name: str, count: int) -> tuple[sp.Symbol, ...]:
    """The symbols m, or m_1, ..., m_K where there are several."""
    if count == 1:
        return (sp.Symbol(name, real=True),)
    return tuple(sp.Symbol(f"{name}_{i + 1}", real=True) for i in range(count))
