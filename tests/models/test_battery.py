"""The battery of ``replica.checks`` on every cheap pair of prior and channel, and the battery against itself: a wrong
model fails it.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import cache
from itertools import product

import pytest
import sympy as sp
from latex_engine import compile_latex

from replica import checks, solve
from replica.ansatz import OneStepRSB
from replica.ingredients.channels import GaussianNoise, LeakyReLU, MarginStep, Probit, ReLU, Sign
from replica.ingredients.priors import Bernoulli, GaussBernoulli, Gaussian, Rademacher, SparseRademacher
from replica.models import (
    dense_hebbian,
    ferromagnet,
    gaussian_spins,
    hopfield,
    multitasking_hebbian,
    p_spin,
    sherrington_kirkpatrick,
)
from replica.models.bsr import BilinearSequenceRegression
from replica.models.perceptron import Perceptron
from replica.models.teacher_student import TeacherStudent
from replica.saddle_point import SaddlePoint
from replica.symbols import q, q_hat
from solvers.errors import InputError

PRIORS = (Gaussian(), Rademacher(), GaussBernoulli(), Bernoulli(), SparseRademacher())
CHANNELS = (GaussianNoise(), Sign(), Probit(), MarginStep(), ReLU(noisy=False), LeakyReLU(noisy=False))
VALUES = {"alpha": "2/5", "rho": "3/10", "delta": "1/5", "kappa": "3/10", "beta": "2"}
QUICK = {("rademacher", "gaussian")}
"""Run by default, beside spins, memories and a risk."""


def point(model):
    return {p.name: VALUES[p.name] for p in model.control_parameters}


def cases():
    for prior, channel in product(PRIORS, CHANNELS):
        quick = (prior.name, channel.name) in QUICK
        marks = [] if quick else [pytest.mark.slow]
        yield pytest.param(TeacherStudent(prior, channel), marks=marks, id=f"{prior.name}, {channel.name}")
    for channel in (GaussianNoise(), Sign()):
        yield pytest.param(
            BilinearSequenceRegression(channel=channel), marks=pytest.mark.slow, id=f"bsr, {channel.name}"
        )
    for weights in ("ising", "spherical"):
        yield pytest.param(Perceptron(weights), marks=pytest.mark.slow, id=f"perceptron, {weights}")


CASES = list(cases())


@pytest.mark.parametrize("model", CASES)
def test_battery(model):
    findings = checks.battery(model, [point(model)])
    failed = [str(finding) for finding in findings if not finding.holds]
    assert not failed, "\n".join(failed)
    kinds = {finding.check for finding in findings}
    assert {"rebuilt from its arguments", "bounds", "Phi is stationary", "no data", "two precisions"} <= kinds
    assert sum(kind.startswith("step") for kind in kinds) >= 6


@pytest.mark.parametrize("model", CASES)
def test_everything_printed_compiles(model):
    for part in (
        model.derive(),
        model.free_entropy(),
        model.saddle_point(),
        *model.saddle_point().derivations,
    ):
        compile_latex(part.to_latex())


@pytest.mark.slow
@pytest.mark.parametrize("delta", ["0", "1/10"])
def test_a_parameter_that_changes_the_outputs(delta):
    """ReLU given delta: without noise the battery runs on the noiseless model."""
    findings = checks.battery(TeacherStudent(Gaussian(), ReLU()), [{"alpha": "2/5", "delta": delta}])
    assert all(finding.holds for finding in findings)


# -- what the battery catches --


@cache
def noisy_line():
    return TeacherStudent(Gaussian(), GaussianNoise())


VALUES_OF_LINE = {"alpha": Fraction(2, 5), "delta": Fraction(1, 5)}


@dataclasses.dataclass(frozen=True)
class WrongUpdate(TeacherStudent):
    """The conjugate a tenth too large."""

    def cycle(self):
        cycle = super().cycle()
        return cycle._replace(conjugate=cycle.conjugate * sp.Rational(11, 10))


@dataclasses.dataclass(frozen=True)
class WrongEntropy(TeacherStudent):
    """The Legendre term halved."""

    def cycle(self):
        cycle = super().cycle()
        return cycle._replace(entropy=cycle.entropy + q * q_hat / 4)


@pytest.mark.parametrize("wrong", [WrongUpdate, WrongEntropy])
def test_a_wrong_equation_is_caught(wrong):
    good = list(checks.updates_are_derivatives(noisy_line(), VALUES_OF_LINE))
    assert good
    assert all(f.holds for f in good)
    bad = list(checks.updates_are_derivatives(wrong(Gaussian(), GaussianNoise()), VALUES_OF_LINE))
    assert any(not f.holds for f in bad)
    solved = checks.solution_checks(wrong(Gaussian(), GaussianNoise()), VALUES_OF_LINE)
    assert any(not f.holds for f in solved if f.check == "Phi is stationary")


def test_a_wrong_step_is_caught():
    """Terms changed in a step show as findings that do not hold, and no exception."""
    model = noisy_line()
    derivation = model.derive()
    step = derivation["separable prior"]
    wrong = dataclasses.replace(step, after=step.after + q / 7)

    class Broken:
        def derive(self):
            return dataclasses.replace(derivation, steps=(derivation.steps[0], wrong))

        def saddle_point(self):
            return SaddlePoint((), ())

    failed = [f for f in checks.identities(Broken()) if not f.holds]
    assert {f.check for f in failed} == {f"step '{step.name}'"}


def test_a_finding_says_what_it_compares():
    finding = checks.Finding("bounds", "q", 0.5, 0.25, 1e-3)
    assert not finding.holds
    assert str(finding) == "bounds: q: 0.5 against 0.25: FAILS"
    assert not checks.Finding("bounds", "q", float("nan"), 0.0, 1.0).holds
    assert checks.Finding("scale", "large", 1e6, 1e6 + 1e-4, 1e-9).holds


def test_a_point_of_another_model_is_refused():
    with pytest.raises(InputError, match="missing parameter"):
        checks.battery(noisy_line(), [{"alpha": 1}])


SPINS = [
    (sherrington_kirkpatrick(), {"T": "1/2", "h": "1/5"}),
    (p_spin(3, ansatz=OneStepRSB()), {"T": "1/2"}),
    (p_spin(3, "spherical", OneStepRSB()), {"T": "2/5"}),
    (hopfield(), {"T": "1/2", "alpha": "1/20"}),
    (dense_hebbian(3), {"T": "1/2", "gamma": "1/10", "rho": "1/10"}),
    (multitasking_hebbian(1), {"T": "1/5", "d": "3/10"}),
    (ferromagnet("q^2/2"), {"T": "1/2", "J0": "3/2"}),
    (gaussian_spins("q^2/2"), {"T": 3, "h": "1/5"}),
]


@pytest.mark.parametrize(("model", "point"), SPINS, ids=lambda x: getattr(x, "name", ""))
def test_battery_of_spins_and_memories(model, point):
    findings = checks.battery(model, [point])
    assert {f.check for f in findings} >= {
        "rebuilt from its arguments",
        "Phi is stationary",
        "thermodynamics",
    }
    assert [str(f) for f in findings if not f.holds] == []


def test_the_battery_finds_a_wrong_energy():
    solution = solve(sherrington_kirkpatrick(), T="1/2")
    wrong = dataclasses.replace(solution, values={**solution.values, "energy": solution["energy"] + 0.01})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replica.checks.solve", lambda *_, **__: wrong)
        failed = [f for f in checks.battery(sherrington_kirkpatrick(), [{"T": "1/2"}]) if not f.holds]
    assert [f.check for f in failed] == ["thermodynamics", "thermodynamics"]
