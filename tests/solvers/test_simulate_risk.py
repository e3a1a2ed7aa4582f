"""Minimisers on sampled data: two algorithms, exact solutions, scipy, and the theory within error bars."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from replica.ingredients.channels import GaussianNoise, Logistic, MarginStep, Probit, Sign
from replica.ingredients.losses import (
    AbsoluteLoss,
    HingeLoss,
    HuberLoss,
    LogisticLoss,
    SquaredHingeLoss,
    SquareLoss,
)
from replica.ingredients.penalties import L1, ElasticNet
from replica.ingredients.priors import GaussBernoulli, Gaussian
from replica.lowering.risk import solve_risk
from replica.models.empirical_risk import EmpiricalRisk
from replica.parameters import validate
from solvers.errors import InputError
from solvers.simulate.risk import loss_functions, message_passing, minimise, risk


def sample(rng, d=60, alpha=1.5, labels=True, noise=0.3):
    inputs = rng.standard_normal((int(alpha * d), d)) / np.sqrt(d)
    fields = inputs @ rng.standard_normal(d)
    outputs = np.sign(fields) if labels else fields + noise * rng.standard_normal(fields.size)
    return inputs, outputs


def test_ridge_is_the_normal_equation():
    inputs, outputs = sample(np.random.default_rng(0), labels=False)
    exact = np.linalg.solve(inputs.T @ inputs + 0.2 * np.eye(60), inputs.T @ outputs)
    for algorithm in (minimise, message_passing):
        found = algorithm(inputs, outputs, loss_functions("square"), 0.0, 0.2, tolerance=1e-11)
        assert found.converged
        np.testing.assert_allclose(found.weights, exact, atol=1e-8)


@pytest.mark.parametrize("name", ["squared hinge", "huber"])
def test_smooth_losses_against_scipy(name):
    inputs, outputs = sample(np.random.default_rng(1), labels=name != "huber")
    loss = loss_functions(name, 0.4)
    found = minimise(inputs, outputs, loss, 0.0, 0.1, tolerance=1e-10)
    assert found.converged
    best = minimize(
        lambda w: risk(inputs, outputs, w, loss, 0.0, 0.1)[0],
        np.zeros(60),
        method="BFGS",
        options={"gtol": 1e-8},
    )
    np.testing.assert_allclose(found.weights, best.x, atol=2e-4)
    assert risk(inputs, outputs, found.weights, loss, 0.0, 0.1)[0] <= best.fun + 1e-10


@pytest.mark.parametrize("name", ["hinge", "absolute"])
def test_piecewise_linear_risks_against_linear_programming(name):
    """With an l1 penalty the risk is a linear program: weights w+ - w-, losses t."""
    inputs, outputs = sample(np.random.default_rng(2), d=30, labels=name == "hinge")
    n, d = inputs.shape
    cost = np.concatenate([np.full(2 * d, 0.3), np.ones(n)])
    if name == "hinge":
        signed = outputs[:, None] * inputs
        rows, bounds = np.hstack([-signed, signed, -np.eye(n)]), -np.ones(n)
    else:
        rows = np.vstack([np.hstack([-inputs, inputs, -np.eye(n)]), np.hstack([inputs, -inputs, -np.eye(n)])])
        bounds = np.concatenate([-outputs, outputs])
    best = linprog(cost, A_ub=rows, b_ub=bounds)
    loss = loss_functions(name)
    found = minimise(inputs, outputs, loss, 0.3, 0.0, tolerance=1e-7)
    assert found.converged
    assert risk(inputs, outputs, found.weights, loss, 0.3, 0.0)[0] == pytest.approx(best.fun / d, rel=1e-5)


def test_the_two_algorithms_agree():
    inputs, outputs = sample(np.random.default_rng(3), d=200)
    loss = loss_functions("logistic")
    one = minimise(inputs, outputs, loss, 0.02, 0.1, tolerance=1e-10)
    two = message_passing(inputs, outputs, loss, 0.02, 0.1)
    assert one.converged
    assert two.converged
    np.testing.assert_allclose(one.weights, two.weights, atol=1e-6)


def test_logistic_proximal_operator_at_large_variance():
    """u - V sigma(-u) = s for V up to 10^6, where unguarded Newton runs away."""
    loss = loss_functions("logistic")
    s = np.linspace(-30, 30, 301)
    for v in (0.1, 25.0, 1e3, 1e6):
        u = loss.proximal(s, v)
        residual = u - v / (1 + np.exp(u)) - s
        assert np.max(np.abs(residual)) < 1e-9 * (1 + v)


def test_unknown_loss():
    with pytest.raises(InputError, match="unknown loss"):
        loss_functions("cosine")


# --- theory -------------------------------------------------------------------------------------------------

CASES = {
    "logistic": (EmpiricalRisk(), {"alpha": 2, "lam": "0.1"}),
    "lasso": (
        EmpiricalRisk(GaussianNoise(), SquareLoss(), L1(), GaussBernoulli()),
        {"alpha": "0.5", "lam": "0.1", "delta": "0.1", "rho": "0.1"},
    ),
    "logistic, weak penalty": (EmpiricalRisk(), {"alpha": 2, "lam": "0.01"}),
    "least squares on labels": (EmpiricalRisk(Sign(), SquareLoss()), {"alpha": 2, "lam": "0.1"}),
    "hinge": (EmpiricalRisk(Sign(), HingeLoss()), {"alpha": 2, "lam": "0.1"}),
    "hinge, l1": (EmpiricalRisk(Sign(), HingeLoss(), L1()), {"alpha": 2, "lam": "0.3"}),
    "squared hinge": (EmpiricalRisk(Sign(), SquaredHingeLoss()), {"alpha": 2, "lam": "0.1"}),
    "huber": (
        EmpiricalRisk(GaussianNoise(), HuberLoss()),
        {"alpha": 2, "lam": "0.1", "delta": "0.5", "threshold": "0.5"},
    ),
    "huber on labels": (EmpiricalRisk(Sign(), HuberLoss()), {"alpha": 2, "lam": "0.2", "threshold": "0.5"}),
    "absolute, elastic net": (
        EmpiricalRisk(GaussianNoise(), AbsoluteLoss(), ElasticNet(), GaussBernoulli()),
        {"alpha": 2, "lam": "0.2", "delta": "0.5", "rho": "0.3", "l1_ratio": "0.5"},
    ),
    "logistic labels": (EmpiricalRisk(Logistic(), LogisticLoss()), {"alpha": 4, "lam": "0.1"}),
    "probit labels, hinge": (
        EmpiricalRisk(Probit(), HingeLoss()),
        {"alpha": 3, "lam": "0.5", "delta": "0.3"},
    ),
    "labels with a margin": (
        EmpiricalRisk(MarginStep(), SquaredHingeLoss()),
        {"alpha": 2, "lam": "0.3", "kappa": "0.4"},
    ),
    "logistic, elastic net": (
        EmpiricalRisk(Sign(), LogisticLoss(), ElasticNet(), Gaussian()),
        {"alpha": 2, "lam": "0.1", "l1_ratio": "0.7"},
    ),
}


def compare(name, d, seeds, sigmas):
    model, given = CASES[name]
    exact = validate(model.control_parameters, given)
    theory = solve_risk(model, exact)
    params = {k: float(v) for k, v in exact.items()}
    lam, ratio = params["lam"], {"l1": 1.0, "l2": 0.0}.get(model.penalty.name, params.get("l1_ratio", 0.0))
    loss = loss_functions(model.loss.name, params.get("threshold", 1.0))
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        teacher = model.teacher_prior.sample(d, rng, **params)
        inputs = rng.standard_normal((round(params["alpha"] * d), d)) / np.sqrt(d)
        outputs = model.teacher.sample(inputs @ teacher, rng, **params)
        found = minimise(inputs, outputs, loss, lam * ratio, lam * (1 - ratio), tolerance=1e-5)
        assert found.converged
        w = found.weights
        energy, training = risk(inputs, outputs, w, loss, lam * ratio, lam * (1 - ratio))
        row = {"m": w @ teacher / d, "q": w @ w / d, "training_loss": training, "energy": energy}
        if "active_fraction" in theory.values:
            row["active_fraction"] = float((np.abs(w) > 1e-7).mean())
        rows.append(row)
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        bar = values.std(ddof=1) / np.sqrt(seeds)
        z = (values.mean() - theory[key]) / bar
        assert abs(z) < sigmas, (key, theory[key], values.mean(), bar)


@pytest.mark.parametrize("name", ["lasso", pytest.param("logistic", marks=pytest.mark.slow)])
def test_theory_within_error_bars(name):
    compare(name, 300, 8, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("logistic", "lasso")])
def test_theory_within_error_bars_everywhere(name):
    compare(name, 600, 16, 4.5)


def test_message_passing_gives_the_susceptibility():
    model, given = CASES["logistic"]
    theory = solve_risk(model, validate(model.control_parameters, given))
    rng = np.random.default_rng(5)
    d = 1500
    teacher = rng.standard_normal(d)
    inputs = rng.standard_normal((2 * d, d)) / np.sqrt(d)
    found = message_passing(inputs, np.sign(inputs @ teacher), loss_functions("logistic"), 0.0, 0.1)
    assert found.converged
    assert found.susceptibility == pytest.approx(theory["V"], rel=0.03)
