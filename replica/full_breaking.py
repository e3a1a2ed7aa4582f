"""What full replica symmetry breaking derives, for spins with Gaussian energies: the rules of
``replica.full_rules``, ``full_variation`` and ``full_ground_rules`` in their order.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy as sp

from replica import field_rules, full_ground_rules, full_rules, full_variation
from replica.action import nodes_of
from replica.derivation import Derivation
from replica.expr.parisi import Flow, FlowAverage
from replica.field_action import ISING
from replica.overlap_function import ORDER
from replica.saddle_point import SaddlePoint
from replica.symbols import beta, n, q
from solvers.errors import InputError


def free_entropy(start: Derivation, kind: sp.Symbol) -> Derivation:
    """From E[Z^n] to Phi as a functional of x(q): Parisi's for Ising spins, Crisanti's and Sommers' for
    spherical ones.
    """
    derivation = start.then(field_rules.average_energies).then(full_rules.insert_function(kind))
    if kind == ISING:
        derivation = derivation.then(full_rules.site_flow)
    derivation = derivation.then(full_rules.n_to_zero)
    return derivation.then(full_rules.eliminate_conjugate) if kind == ISING else derivation


def ground_energy(start: Derivation, kind: sp.Symbol) -> Derivation:
    """From Phi/beta to minus the energy of the ground state."""
    if kind != ISING:
        raise InputError("x(q) of spherical spins is a closed form at every temperature: solve at T = 0")
    return start.then(full_ground_rules.zero_temperature)


@lru_cache(maxsize=64)
def saddle_point(model: Any) -> SaddlePoint:
    """Where x changes: q = <phi'^2>; for spherical spins chi(q) = int_q^1 x and x(q) in closed form."""
    slope = full_variation.variation(model.derive().result, sp.Symbol("Phi"))
    definitions = slope.steps[-1].printed.definitions
    if nodes_of(slope.result, FlowAverage):
        update = full_variation.overlap_update(slope.result)
        return SaddlePoint(((q, update),), (slope,), definitions, ((ORDER(q), slope.result),))
    along = slope.then(full_variation.along_the_support)
    response = full_variation.response(along.result)
    order = full_variation.order_parameter(response.result)
    return SaddlePoint(
        ((full_variation.CHI(q), response.result), (ORDER(q), order.result)),
        (along, response, order),
        definitions,
        ((ORDER(q), slope.result), *full_variation.ends(slope.result, response.result)),
    )


def observables(model: Any) -> dict[str, sp.Expr]:
    """Free energy, energy = -dPhi/dbeta at fixed overlaps and x, entropy, mean square overlap; the replicon
    at q for Ising spins, which vanishes where x changes.
    """
    derivation = model.derive()
    phi, before = derivation.result, derivation["n -> 0"].after
    energy = -before.diff(beta)
    if nodes_of(phi, Flow):
        conjugate = full_rules.conjugate_function(before)
        energy = energy.replace(full_rules.CONJUGATE, lambda t: conjugate.subs(q, t)).doit()
    entries = model.ansatz.matrix(n, 0, q)
    squared = (entries.row_sum(lambda entry: entry**2) / (n - 1)).subs(n, 0)
    return {
        "f": -phi / beta,
        "energy": energy,
        "entropy": phi + beta * energy,
        "squared_overlap": sp.expand(squared),
        **full_variation.replicon(model),
    }
