"""Spins with Gaussian energies along one of their control parameters: what continuation asks for."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from replica.ansatz import FullRSB
from replica.lowering.field import NODES, arguments, decouples, field_equations
from solvers.continuation.family import Family
from solvers.errors import InputError


def field_family(model: Any, parameter: str, params: Mapping[str, Fraction]) -> Family:
    """The equations of the overlaps, and of the sizes of blocks that are not given, at T > 0.

    ``params`` are the other control parameters.  q_0 = 0 is no unknown where blocks decouple.
    """
    if params.get("T") == 0:
        raise InputError("thresholds of spins with Gaussian energies need T > 0")
    if isinstance(model.ansatz, FullRSB):
        raise InputError("thresholds of full breaking are not looked for: give an ansatz with steps")
    equations = field_equations(model)
    order = [p.name for p in model.control_parameters]
    names = tuple(s.name.replace("_", "") for s in model.order_parameters)
    pinned = [0.0] if parameter != "h" and decouples(model, params) else []

    def at(lam: float) -> list[float] | None:
        values = {**params, parameter: lam}
        return arguments({name: values[name] for name in order}) if values["T"] > 0 else None

    def family(nodes: float, finer: Family | None) -> Family:
        def residual(x: np.ndarray, lam: float) -> np.ndarray:
            controls = at(lam)
            if controls is None:
                return np.full(x.size, np.nan)
            return equations.residuals.run([*controls, *pinned, *x], nodes)[len(pinned) :]

        def observed(x: np.ndarray, lam: float) -> dict[str, float]:
            controls = at(lam)
            if controls is None:
                return {"free_entropy": float("nan")}
            point = [*controls, *pinned, *x]
            values = equations.observables.run(point, nodes)
            found = {name: float(v) for name, v in zip(equations.names, values, strict=True)}
            found |= dict(zip(names, pinned, strict=False))
            return {**found, "free_entropy": float(equations.gradient.run(point, nodes)[0])}

        return Family(names[len(pinned) :], residual, observed, finer)

    return family(NODES, family(2 * NODES, None))
