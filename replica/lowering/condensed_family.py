"""Spins with condensed order parameters along one of their control parameters: what continuation asks for."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.condensed import NODES, condensed_equations, stated_at
from solvers.continuation.family import Family

COLDEST = 1e-3
"""Temperatures below are not followed: their averages take ever more nodes, and T = 0 is its own limit."""


def condensed_family(model: Any, parameter: str, params: Mapping[str, Fraction]) -> Family:
    """The equations of the order parameters, at T > 0 or, where T = 0 is given, of the ground state."""
    equations = condensed_equations(stated_at(model, {**params, parameter: Fraction(1)}))
    order = [p.name for p, _ in model.parameter_symbols()]
    ground = params.get("T") == 0

    def at(lam: float) -> list[float]:
        """Beta and the other parameters; nan outside the domain."""
        values = {name: float(value) for name, value in {**params, parameter: lam}.items()}
        inverse = 0.0 if ground else (1 / values["T"] if values["T"] >= COLDEST else np.nan)
        return [inverse, *(values[name] for name in order[1:])]

    def family(nodes: float, finer: Family | None) -> Family:
        def residual(x: np.ndarray, lam: float) -> np.ndarray:
            point = [*at(lam), *x]
            if not np.all(np.isfinite(point)) or np.any(equations.domain.run(point, nodes) <= 0):
                return np.full(x.size, np.nan)
            return equations.residuals.run(point, nodes)

        def observed(x: np.ndarray, lam: float) -> dict[str, float]:
            point = [*at(lam), *x]
            values = equations.observables.run(point, nodes)
            found = {name: float(v) for name, v in zip(equations.names, values, strict=True)}
            return {**found, "free_entropy": float(equations.free_entropy.run(point, nodes)[0])}

        return Family(equations.unknowns, residual, observed, finer)

    return family(NODES, family(2 * NODES, None))
