r"""Ferromagnets: any polynomial energy, a random field, Gaussian energies of any covariance beside.

=================  ==========================================================================================
quantity           normalisation
=================  ==========================================================================================
energy             -H = N J0 u(m) + sum_i h_i s_i - H_noise(s), m = (1/N) sum_i s_i; u = m^2/2 by default:
                   J_ij = J0/N
field              h_i iid N(h, delta)
noise              Gaussian energies, E[H(s) H(s')] = N xi(q); none by default; q^2/2 is SK
free entropy       Phi = lim (1/N) E log Z, a sum over configurations; f = -T Phi
=================  ==========================================================================================

D. Sherrington, S. Kirkpatrick, Phys. Rev. Lett. 35 (1975) 1792 (J0 beside J); T. Schneider, E. Pytte, Phys.
Rev. B 15 (1977) 1519 (random field).
"""

# pyright: reportReturnType=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy as sp

from replica.condensed_action import GaussianEnergies, site_law
from replica.expr.polynomials import polynomial_coefficients
from replica.models.condensed_spins import CondensedSpins
from replica.models.gaussian_field import GaussianField
from replica.parameters import Parameter
from replica.symbols import m
from solvers.errors import InputError

COUPLING = Parameter("J0", "J_0", "strength of the ferromagnetic energy", Fraction(0), default=Fraction(1))
VARIANCE = Parameter("delta", "Delta", "variance of the random field", Fraction(0), default=Fraction(0))


def ferromagnet(
    covariance: Callable[[sp.Expr], Any] | sp.Expr | str | None = None,
    energy: Callable[[sp.Expr], Any] | None = None,
) -> CondensedSpins:
    """Spins with a magnetisation.

    Parameters
    ----------
    covariance:
        xi(q) of Gaussian energies, as ``GaussianField`` takes it; none by default.
    energy:
        u(m), a polynomial with rational coefficients; m^2/2 by default.

    Raises
    ------
    InputError
        As ``GaussianField``; an energy that is no polynomial, or constant.

    >>> from replica import solve
    >>> solution = solve(ferromagnet(), T="0.5")
    >>> f"{solution['m']:.12f}"
    '0.957504024077'
    """
    strength = sp.Symbol("J_0", nonnegative=True)
    variance = sp.Symbol("Delta", nonnegative=True)
    noise = sp.S.Zero if covariance is None else GaussianField(covariance).covariance
    return CondensedSpins(
        name="ferromagnet",
        reference="D. Sherrington, S. Kirkpatrick, Phys. Rev. Lett. 35 (1975) 1792",
        energy=strength * _polynomial(energy),
        overlaps=(m,),
        laws=(site_law(1, (1,), (1,)),),
        noise=GaussianEnergies(noise),
        parameters=((COUPLING, strength), (VARIANCE, variance)),
        states=(("ferromagnetic", (1.0, 1.0)), ("paramagnetic", (0.0, 1.0))),
        names=("m",),
        field_allowed=True,
        field_variance=variance,
    )


def _polynomial(energy: Callable[[sp.Expr], Any] | None) -> sp.Expr:
    if energy is None:
        return m**2 / 2
    try:
        found = sp.nsimplify(sp.sympify(energy(m), strict=True), rational=True)
    except (sp.SympifyError, TypeError) as error:
        raise InputError("the energy must be a function of m that gives a polynomial") from error
    coefficients = polynomial_coefficients(sp.expand(found), m)
    if coefficients is None or found.free_symbols - {m} or not any(k > 0 for k in coefficients):
        raise InputError(f"the energy must be a polynomial in m, not {found}")
    return found
