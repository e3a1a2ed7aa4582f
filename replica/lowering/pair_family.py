"""Models whose equations reduce to one pair, along one of their control parameters: what continuation asks
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.problem import pair_problem
from solvers.backends.float64 import Float64
from solvers.continuation.family import Family

LEVEL = 7
"""Of the quadrature; the finer one is the next."""
_DOUBLES = Float64()


def pair_family(model: Any, parameter: str, params: Mapping[str, Fraction]) -> Family:
    """output(signal(q_hat)) - q_hat = 0 in the unknown q_hat, continued as an odd function below 0."""
    order = [p.name for p in model.control_parameters]
    domain = next(p for p in model.control_parameters if p.name == parameter)

    def at(lam: float) -> tuple[Any, dict[str, float]] | None:
        exact = Fraction(lam) if np.isfinite(lam) else None
        if exact is None or not domain.contains(exact):
            return None
        values = {name: {**params, parameter: exact}[name] for name in order}
        canonical = model.canonical(values)
        return pair_problem(model.at(values)), {name: float(v) for name, v in canonical.items()}

    def family(level: int, finer: Family | None) -> Family:
        def error(problem: Any, q_hat: float, values: Mapping[str, float]) -> float:
            return float(problem.signal(_DOUBLES, level, q_hat, values).value)

        def residual(x: np.ndarray, lam: float) -> np.ndarray:
            stated, q_hat = at(lam), float(x[0])
            if stated is None:
                return np.full(1, np.nan)
            problem, values = stated
            v = error(problem, abs(q_hat), values)
            updated = float(problem.output(_DOUBLES, level, v, values).value)
            return np.array([(updated - abs(q_hat)) * (-1 if q_hat < 0 else 1)])

        def observed(x: np.ndarray, lam: float) -> dict[str, float]:
            stated, q_hat = at(lam), abs(float(x[0]))
            if stated is None:
                return dict.fromkeys(("q", "mmse", "free_entropy"), float("nan"))
            problem, values = stated
            v = error(problem, q_hat, values)
            entropy = problem.free_entropy(_DOUBLES, level, q_hat, v, values).value
            signal = {name: values[name] for name in problem.signal_parameters}
            second = float(problem.second_moment(_DOUBLES, signal))
            return {"q": second - v, "mmse": v, "free_entropy": float(entropy)}

        return Family(("q_hat",), residual, observed, finer)

    return family(LEVEL, family(LEVEL + 1, None))
