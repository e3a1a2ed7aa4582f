"""The zero-temperature limit of spherical spins with Gaussian energies: the energy of the ground state.

At beta -> infinity the innermost overlap is 1 - V/beta and blocks have m_i = a_i/beta replicas; Phi/beta, an
algebraic function and logarithms, tends to minus the energy.  A. Crisanti, H.-J. Sommers, Z. Phys. B 87
(1992) 341; W.-K. Chen, A. Sen, Commun. Math. Phys. 350 (2017) 129 (the energy is the supremum).
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import sympy as sp

from replica.derivation import Comparison, Kind, Rule
from replica.ground_rules import slopes
from replica.symbols import V, beta, q

_LARGE = sp.Symbol("log_beta", positive=True)
_COLD = sp.Symbol("T", positive=True)


def zero_temperature(chosen: Any) -> Rule:
    """Phi/beta at beta -> infinity for spherical spins."""
    scaled: dict[Any, Any] = {chosen.overlaps(q)[-1]: 1 - V / beta}
    scaled |= {m: a / beta for m, a in zip(chosen.blocks, slopes(chosen), strict=True)}

    def logarithm(argument: sp.Expr) -> sp.Expr:
        """log of beta^-k times what stays finite: its limit, and -k log beta."""
        cold = sp.cancel(sp.expand(argument.subs(scaled)).subs(beta, 1 / _COLD))
        power, finite = 0, cold
        while finite.subs(_COLD, 0) == 0:
            power, finite = power + 1, sp.cancel(finite / _COLD)
        if finite.subs(_COLD, 0).has(sp.oo, sp.zoo, sp.nan):
            raise ValueError(f"log({argument}) has no form at zero temperature")
        return sp.log(finite.subs(_COLD, 0)) - power * _LARGE

    def apply(expr: sp.Expr) -> sp.Expr:
        logs = {e: sp.Dummy() for e in expr.atoms(sp.log)}
        flat = sp.expand(expr.xreplace(logs))
        rest, found = flat.xreplace(dict.fromkeys(logs.values(), sp.S.Zero)), sp.S.Zero
        for e, name in logs.items():
            factor = _limit(flat.coeff(name).subs(scaled))
            found += factor * logarithm(e.args[0])
        found = sp.expand(found)
        if found.coeff(_LARGE) != 0:
            raise ValueError("the logarithms of the temperature do not cancel")
        grouped = [sp.factor(found.coeff(e)) * e for e in sorted(found.atoms(sp.log), key=str)]
        return sp.Add(*(sp.factor(t) for t in _by_parts(_limit(rest.subs(scaled)))), *grouped)

    def check(before: sp.Expr, after: sp.Expr) -> tuple[Comparison, ...]:
        """At two low temperatures: the difference falls as T log T."""
        free = sorted((before.subs(scaled).free_symbols | after.free_symbols) - {beta}, key=str)
        at = {s: sp.Rational(3 + 2 * k, 20 + k) for k, s in enumerate(free)}
        inverse = sp.Integer(10) ** 12
        left = before.subs(scaled).subs(at).subs(beta, inverse)
        return (Comparison("at T = 1e-12", sp.N(left, 30), sp.N(after.subs(at), 30), 1e-9),)

    introduces = (
        (V, "beta (1 - q) of the innermost overlap"),
        *((a, "replicas in a block, over the temperature") for a in slopes(chosen)),
    )
    return Rule(
        "zero temperature",
        Kind.LIMIT,
        apply,
        "beta -> infinity with V = beta (1 - q) and a = beta m finite: logarithms of beta cancel; "
        "Phi/beta -> minus the energy",
        check,
        introduces,
    )


def _limit(expr: sp.Expr) -> sp.Expr:
    """Of a rational function of beta, which must stay finite."""
    found = sp.cancel(sp.together(expr).subs(beta, 1 / _COLD)).subs(_COLD, 0)
    if found.has(sp.oo, sp.zoo, sp.nan):
        raise ValueError(f"{expr} diverges at zero temperature")
    return found


def _by_parts(expr: sp.Expr) -> tuple[sp.Expr, ...]:
    """The polynomial part of the energies, and the fractions of the entropy."""
    terms = sp.Add.make_args(sp.apart(expr, V))
    plain = [t for t in terms if sp.denom(sp.together(t)).is_number]
    return sp.Add(*plain), *(t for t in terms if t not in plain)
