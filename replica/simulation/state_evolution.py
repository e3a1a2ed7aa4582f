"""State evolution of a model whose equations reduce to one pair."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from replica.lowering.problem import pair_problem
from solvers.backends.float64 import Float64
from solvers.problem import evaluate_batch


def state_evolution(
    model: Any, params: Mapping[str, Fraction], iterations: int, initial: float = 1.0
) -> np.ndarray:
    """The mse after each iteration of undamped message passing: v -> signal(output(v)), from ``initial``
    times the variance of the signal.
    """
    model = model.at(params)
    problem = pair_problem(model)
    values = {name: np.array([float(x)]) for name, x in model.canonical(dict(params)).items()}
    signal = {name: values[name] for name in problem.signal_parameters}
    output = {name: values[name] for name in problem.output_parameters}
    backend, trajectory = Float64(), []
    prior_error = problem.error_at_zero(backend, {name: float(v[0]) for name, v in signal.items()}, 1e-10)
    v = np.array([initial * float(prior_error)])
    while len(trajectory) < iterations:
        conjugate = evaluate_batch(problem.output, backend, v, output, 1e-10).value
        after = np.clip(
            evaluate_batch(problem.signal, backend, conjugate, signal, 1e-10).value, 1e-14, prior_error
        )
        # at the fixed point the rest repeats
        repeats = abs(float(after[0] - v[0])) <= 1e-12 * float(after[0])
        trajectory += [float(after[0])] * (iterations - len(trajectory) if repeats else 1)
        v = after
    return np.array(trajectory)
