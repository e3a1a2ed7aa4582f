"""The battery of ``replica.checks`` on risks to minimise, and the battery against wrong models."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from itertools import product

import pytest

from replica import checks, solve
from replica.ingredients.channels import GaussianNoise, Logistic, Sign
from replica.ingredients.losses import LOSSES, HingeLoss, LogisticLoss, SquareLoss
from replica.ingredients.penalties import L1, L2, PENALTIES
from replica.ingredients.priors import GaussBernoulli
from replica.models.empirical_risk import EmpiricalRisk
from replica.parameters import validate

VALUES = {"alpha": "3/2", "lam": "1/5", "delta": "1/4", "rho": "2/5", "threshold": "3/5", "l1_ratio": "1/3"}
QUICK = {("square", "l2", "gaussian")}
NUMBERS = {("hinge", "l2", "sign"), ("huber", "elastic net", "sign"), ("absolute", "l1", "gaussian")}
"""Whose numbers are checked by default; identities take longer."""


def point(model):
    return {p.name: VALUES[p.name] for p in model.control_parameters}


def cases():
    for loss, penalty, channel in product(LOSSES, PENALTIES, (Sign(), GaussianNoise())):
        if LOSSES[loss].margin and channel.name == "gaussian":
            continue
        yield (loss, penalty, channel.name), EmpiricalRisk(channel, LOSSES[loss](), PENALTIES[penalty]())
    sparse = EmpiricalRisk(GaussianNoise(), SquareLoss(), L1(), GaussBernoulli())
    yield ("lasso", "sparse teacher"), sparse
    noisy = EmpiricalRisk(Logistic(), LogisticLoss(), L2())
    yield ("an average", "inside another"), noisy


def marked(quick):
    return [
        pytest.param(model, marks=[] if key in quick else [pytest.mark.slow], id=", ".join(key))
        for key, model in cases()
    ]


@pytest.mark.parametrize("model", marked(QUICK))
def test_battery(model):
    findings = checks.battery(model, [point(model)])
    assert [str(f) for f in findings if not f.holds] == []
    kinds = {f.check for f in findings}
    assert kinds >= {"rebuilt from its arguments", "bounds", "Phi is stationary", "thermodynamics"}
    assert "no data" in kinds or model.penalty.sparse
    assert sum(kind.startswith("step") for kind in kinds) >= 6


@pytest.mark.parametrize("model", marked(NUMBERS))
def test_numbers(model):
    """The part of the battery that differentiates, at another point."""
    at = {**VALUES, "alpha": "4", "lam": "1/50"}
    values = validate(model.control_parameters, {p.name: at[p.name] for p in model.control_parameters})
    findings = [
        *checks.risk_equations_are_derivatives(model, values),
        *checks.minimum_of_a_risk(model, values),
    ]
    assert [str(f) for f in findings if not f.holds] == []


# -- what the battery catches --


@dataclasses.dataclass(frozen=True)
class WrongUpdate(EmpiricalRisk):
    """One conjugate a tenth too large."""

    def saddle_point(self):
        saddle = super().saddle_point()
        updates = tuple((x, u * Fraction(11, 10) if i == 4 else u) for i, (x, u) in enumerate(saddle.updates))
        return dataclasses.replace(saddle, updates=updates)


def test_a_wrong_equation_is_caught():
    values = validate(EmpiricalRisk(Sign(), SquareLoss()).control_parameters, {"alpha": "3/2", "lam": "1/5"})
    good = list(checks.risk_equations_are_derivatives(EmpiricalRisk(Sign(), SquareLoss()), values))
    assert len(good) == 12
    assert all(f.holds for f in good)
    wrong = WrongUpdate(Sign(), SquareLoss())
    assert any(not f.holds for f in checks.risk_equations_are_derivatives(wrong, values))


@pytest.mark.parametrize("name", ["energy", "training_loss", "q"])
def test_a_wrong_observable_is_caught(name):
    model = EmpiricalRisk(Sign(), HingeLoss())
    values = validate(model.control_parameters, {"alpha": "3/2", "lam": "1/5"})
    true_solve = solve

    def wrong_solve(*args, **kwargs):
        solution = true_solve(*args, **kwargs)
        return dataclasses.replace(solution, values={**solution.values, name: solution[name] * 1.01})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replica.checks.solve", wrong_solve)
        failed = {f.check for f in checks.minimum_of_a_risk(model, values) if not f.holds}
    assert "thermodynamics" in failed
