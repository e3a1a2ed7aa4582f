"""A symbolic-numeric replica calculator: derive, differentiate, solve and cross-check disordered models of
learning.

    from replica import solve, sweep, simulate, validate
    from replica.models import BilinearSequenceRegression

Names are imported on first use: ``replica --help`` pays for none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replica.api import solve as solve
    from replica.capacities import capacity as capacity
    from replica.models.empirical_risk import EmpiricalRisk as EmpiricalRisk
    from replica.models.gaussian_field import GaussianField as GaussianField
    from replica.models.perceptron import Perceptron as Perceptron
    from replica.models.spiked_matrix import SpikedMatrix as SpikedMatrix
    from replica.models.teacher_student import TeacherStudent as TeacherStudent
    from replica.simulation import simulate as simulate
    from replica.sweeping import sweep as sweep
    from replica.thresholds import Threshold as Threshold
    from replica.thresholds import threshold as threshold
    from replica.validation import Check as Check
    from replica.validation import validate as validate
    from solvers.errors import InputError as InputError
    from solvers.errors import NotConvergedError as NotConvergedError

_WHERE = {
    "solve": "replica.api",
    "capacity": "replica.capacities",
    "sweep": "replica.sweeping",
    "threshold": "replica.thresholds",
    "Threshold": "replica.thresholds",
    "simulate": "replica.simulation",
    "validate": "replica.validation",
    "Check": "replica.validation",
    "TeacherStudent": "replica.models.teacher_student",
    "SpikedMatrix": "replica.models.spiked_matrix",
    "EmpiricalRisk": "replica.models.empirical_risk",
    "GaussianField": "replica.models.gaussian_field",
    "Perceptron": "replica.models.perceptron",
    "InputError": "solvers.errors",
    "NotConvergedError": "solvers.errors",
}

__all__ = [
    "Check",
    "EmpiricalRisk",
    "GaussianField",
    "InputError",
    "NotConvergedError",
    "Perceptron",
    "SpikedMatrix",
    "TeacherStudent",
    "capacity",
    "simulate",
    "solve",
    "sweep",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'replica' has no attribute {name!r}")
