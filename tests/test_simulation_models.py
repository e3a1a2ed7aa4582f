"""simulate and validate for spikes, empirical risks and quadratic networks, by Python and by command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from replica import cli, simulate, solve, validate
from replica.ingredients.channels import GaussianNoise, Sign
from replica.ingredients.losses import HingeLoss, LogisticLoss, SquareLoss
from replica.ingredients.penalties import L1
from replica.ingredients.priors import (
    Bernoulli,
    GaussBernoulli,
    Gaussian,
    Laplace,
    Rademacher,
    SparseRademacher,
)
from replica.lowering.message_passing import hilbert_transform
from replica.models import EmpiricalRisk, QuadraticNetwork, SpikedMatrix
from replica.simulation import (
    NetworkSizes,
    RectangleSizes,
    RiskSizes,
    SpikeSizes,
    point_root,
    state_evolution,
)
from solvers.errors import InputError
from solvers.simulate.amp import gamp
from solvers.simulate.instances import draw_outputs, symmetric_instance
from solvers.simulate.symmetric import symmetric_denoiser, symmetric_scale
from tests.solvers.simulate_by_hand import one_thread  # noqa: F401 an autouse fixture


def told(check):
    for c in check.comparisons:
        print(f"{c.name}: {c.theory:.5f} {c.simulated:.5f} +- {c.error:.5f}, z {c.z_score:.2f}")
    return check


# --- spiked matrices ------------------------------------------------------------------------------------------


def rademacher_overlap(strength):
    """E tanh(strength + sqrt(strength) z)."""
    return quad(lambda z: norm.pdf(z) * np.tanh(strength + np.sqrt(strength) * z), -12, 12)[0]


SPIKES = [
    (SpikedMatrix(), {"lam": 2}, 800),
    (SpikedMatrix(Bernoulli()), {"lam": 6, "rho": "0.3"}, 800),
    (SpikedMatrix(Gaussian(), Rademacher()), {"lam": 3, "alpha": "0.5"}, 800),
]


@pytest.mark.parametrize(
    ("model", "point", "N"), SPIKES, ids=lambda v: str(v) if isinstance(v, dict) else None
)
def test_low_rank_message_passing_agrees_with_theory(model, point, N):
    check = told(validate(model, N=N, seeds=8, **point))
    assert check.agrees, check.verdict
    assert check.theory == check.solution["mmse"]
    names = [c.name for c in check.comparisons]
    assert names == ["mmse", "q", *(["m_u", "m_v"] if model.rectangular else ["m"]), "matrix_mmse"]
    assert all(c.error < 0.15 for c in check.comparisons)
    assert (
        json.loads(json.dumps(check.to_dict(), allow_nan=False))["others"]["q"]["theory"]
        == check.solution["q"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "point"),
    [
        *((model, point) for model, point, _ in SPIKES),
        (SpikedMatrix(Gaussian()), {"lam": 2}),
        (SpikedMatrix(Bernoulli(), GaussBernoulli()), {"lam": 3, "alpha": 2, "rho": "0.4"}),
        (SpikedMatrix(Laplace()), {"lam": 3}),
        (SpikedMatrix(SparseRademacher()), {"lam": 3, "rho": "0.3"}),
        (SpikedMatrix(Laplace(), SparseRademacher()), {"lam": 3, "alpha": 1, "rho": "0.5"}),
    ],
)
def test_low_rank_message_passing_agrees_with_theory_at_two_thousand(model, point):
    check = told(validate(model, N=2000, seeds=16, **point))
    assert check.agrees, check.verdict
    assert check.converged >= 14


def test_each_iteration_follows_state_evolution(tmp_path):
    """m = E tanh(lam m + sqrt(lam m) z), iterated by quadrature from the overlap 1/100 of the start."""
    check = validate(SpikedMatrix(), N=800, seeds=8, seed=1, lam=4)
    m, by_hand = 0.01, []
    for _ in check.simulation.state_evolution:
        m = rademacher_overlap(4 * m)
        by_hand.append(1 - m)
    np.testing.assert_allclose(check.simulation.state_evolution, by_hand, rtol=1e-7)
    assert by_hand[-1] == pytest.approx(check.theory, abs=1e-6)
    mean, error = check.simulation.trajectory()
    # while the overlap grows from 1/100, the time it takes fluctuates
    late = np.arange(mean.size) >= 6
    assert np.all(np.abs(mean - by_hand)[late] < 4.5 * error[late] + 2 / 800)
    check.plot(tmp_path / "spike.png")
    assert (tmp_path / "spike.png").stat().st_size > 1000


def test_two_vectors_by_hand():
    """q_u = A/(1 + A), A = lam alpha m_v, and m_v = E tanh at lam q_u: state evolution of u v^T."""
    params = {"lam": Fraction(3), "alpha": Fraction(1, 2)}
    found = state_evolution(SpikedMatrix(Gaussian(), Rademacher()), params, 30, 0.99)
    u = 0.01
    for error in found:
        A = 1.5 * rademacher_overlap(3 * u)
        u = A / (1 + A)
        assert error == pytest.approx(1 - u, rel=1e-7)


def test_nothing_is_found_below_the_threshold():
    check = told(validate(SpikedMatrix(), N=300, seeds=4, lam="0.5"))
    assert check.solution["m"] == 0
    assert check.agrees, check.verdict
    assert check.simulated == pytest.approx(1, abs=1e-4)


def test_the_global_sign_is_that_of_the_better_overlap():
    simulation = simulate(SpikedMatrix(), N=200, seeds=6, lam=5)
    for run in simulation.runs:
        assert run.observed["m"] > 0.5
        assert run.observed["mmse"] == run.mse[-1] < 0.5
        # |x|^2 = N: the errors are functions of the overlaps
        m, q = run.observed["m"], run.observed["q"]
        assert run.observed["mmse"] == pytest.approx(1 - 2 * m + q, abs=1e-12)
        assert run.observed["matrix_mmse"] == pytest.approx(1 - 2 * m**2 + q**2, abs=1e-12)


def test_both_starts_of_a_sparse_spike():
    """rho = 0.02 has two stable solutions: each start ends at the one of its side."""
    model, point = SpikedMatrix(SparseRademacher()), {"lam": "0.65", "rho": "0.02"}
    far, near = (
        told(validate(model, N=2000, seeds=4, start=start, **point)) for start in ("uninformed", "informed")
    )
    assert far.solution["m"] == 0
    assert near.solution["m"] > 0.9
    assert np.median([run.observed["m"] for run in far.simulation.runs]) < 0.01
    assert np.median([run.observed["m"] for run in near.simulation.runs]) > 0.8
    assert far.agrees, far.verdict
    assert near.agrees, near.verdict


def test_sizes_and_seeds_of_a_spike():
    model = SpikedMatrix(Gaussian(), Rademacher())
    first, again = (simulate(model, N=31, seeds=2, seed=4, lam=3, alpha="0.5") for _ in range(2))
    assert first.sizes == RectangleSizes(31, 16)
    assert first.params["alpha"] == Fraction(16, 31)
    assert [r.mse.tolist() for r in first.runs] == [r.mse.tolist() for r in again.runs]
    point = {"lam": Fraction(2)}
    roots = {
        point_root(0, m, SpikeSizes(30), point) for m in (SpikedMatrix(), SpikedMatrix(Gaussian()), model)
    }
    assert len(roots) == 3


# --- empirical risks ------------------------------------------------------------------------------------------

RISKS = [
    (EmpiricalRisk(), {"alpha": 2, "lam": "0.1"}, "generalisation_error"),
    pytest.param(
        EmpiricalRisk(Sign(), HingeLoss()),
        {"alpha": 2, "lam": "0.2"},
        "generalisation_error",
        marks=pytest.mark.slow,
    ),
    (
        EmpiricalRisk(GaussianNoise(), SquareLoss(), L1(), GaussBernoulli()),
        {"alpha": "0.5", "lam": "0.1", "delta": "0.1", "rho": "0.1"},
        "mse",
    ),
]


@pytest.mark.parametrize(("model", "point", "headline"), RISKS, ids=["logistic", "hinge", "lasso"])
def test_minimisers_agree_with_theory(model, point, headline, tmp_path):
    check = told(validate(model, d=200, seeds=6, **point))
    assert check.agrees, check.verdict
    assert check.quantity == headline
    assert check.converged == 6
    assert {"m", "q", "training_loss", "energy"} < {c.name for c in check.comparisons}
    assert all(c.theory == check.solution[c.name] for c in check.comparisons)
    assert all(c.error < 0.1 * max(c.theory, 0.2) for c in check.comparisons)
    fields = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert len(fields[headline]) == 6
    check.plot(tmp_path / "risk.png")
    assert (tmp_path / "risk.png").stat().st_size > 1000


def test_the_weights_of_ridge_are_those_of_the_normal_equation():
    """The same draws again, solved directly; the errors from their definition on fresh inputs."""
    model, point = EmpiricalRisk(GaussianNoise(), SquareLoss()), {"alpha": 2, "lam": "0.3", "delta": "0.2"}
    simulation = simulate(model, d=60, seeds=2, seed=7, tolerance=1e-10, **point)
    assert simulation.sizes == RiskSizes(60, 120)
    root = point_root(7, model, simulation.sizes, simulation.params)
    for run, child in zip(simulation.runs, np.random.SeedSequence(root).spawn(2), strict=True):
        rng = np.random.Generator(np.random.SFC64(child))
        teacher = Gaussian().sample(60, rng)
        inputs = rng.standard_normal((120, 60)) / np.sqrt(60)
        outputs = inputs @ teacher + np.sqrt(0.2) * rng.standard_normal(120)
        w = np.linalg.solve(inputs.T @ inputs + 0.3 * np.eye(60), inputs.T @ outputs)
        np.testing.assert_allclose(run.estimate, w, atol=1e-7)
        assert run.observed["mse"] == pytest.approx(np.mean((w - teacher) ** 2), rel=1e-6)
        assert run.observed["training_loss"] == pytest.approx(
            np.mean((outputs - inputs @ w) ** 2) / 2, rel=1e-6
        )


def test_the_generalisation_error_is_that_of_fresh_samples():
    model = EmpiricalRisk()
    simulation = simulate(model, d=40, seeds=2, alpha=3, lam="0.1")
    root = point_root(0, model, simulation.sizes, simulation.params)
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(root).spawn(2)[0]))
    teacher = Gaussian().sample(40, rng)
    fresh = rng.standard_normal((200_000, 40))
    run = simulation.runs[0]
    wrong = np.mean(np.sign(fresh @ teacher) != np.sign(fresh @ run.estimate))
    assert run.observed["generalisation_error"] == pytest.approx(wrong, abs=4e-3)


def test_a_minimiser_that_is_stopped_decides_nothing():
    check = validate(EmpiricalRisk(), d=30, seeds=2, max_iterations=2, alpha=2, lam="0.1")
    assert not check.decided
    assert check.verdict == "UNDECIDED: 0 of 2 runs converged"


# --- quadratic networks ---------------------------------------------------------------------------------------

QUADRATIC = QuadraticNetwork()


@pytest.mark.parametrize(
    ("model", "d", "point"),
    [
        (QUADRATIC, 50, {"alpha": "0.2", "kappa": "0.5", "delta": "0.5"}),
        pytest.param(QUADRATIC, 50, {"alpha": "0.3", "kappa": 2, "delta": "0.5"}, marks=pytest.mark.slow),
        pytest.param(QuadraticNetwork(Sign()), 50, {"alpha": "0.4", "kappa": "0.5"}, marks=pytest.mark.slow),
    ],
    ids=["narrow", "wide", "sign"],
)
def test_networks_agree_with_theory(model, d, point):
    check = told(validate(model, d=d, seeds=5, **point))
    assert check.agrees, check.verdict
    assert isinstance(check.simulation.sizes, NetworkSizes)
    # an estimate that is a mean of instances with their own Tr S^2
    assert abs(check.simulated - check.theory) < 0.12 + 4 * check.error


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", [("0.2", "0.5", "0.5"), ("0.5", "0.5", "0.5"), ("0.5", 2, "0.1"), ("0.25", 1, 0)], ids=str
)
def test_networks_agree_with_theory_at_a_hundred(point):
    check = told(
        validate(QUADRATIC, d=100, seeds=6, **dict(zip(("alpha", "kappa", "delta"), point, strict=True)))
    )
    assert check.agrees, check.verdict


def test_a_network_follows_state_evolution():
    check = validate(QUADRATIC, d=50, seeds=6, seed=2, alpha="0.3", kappa=1, delta="0.5")
    assert check.simulation.state_evolution[-1] == pytest.approx(check.theory, abs=1e-3)
    mean, error = check.simulation.trajectory()
    assert np.all(np.abs(mean - check.simulation.state_evolution) < 4.5 * error + 2 / 50)


@dataclass(frozen=True)
class NetworkSensing:
    """Fields of a network on its inputs: (x^T S x - Tr S)/sqrt(d), of the signal T = sqrt(2 d) S."""

    x: np.ndarray

    @property
    def samples(self):
        return len(self.x)

    @property
    def shape(self):
        return self.x.shape[1], self.x.shape[1]

    def forward(self, T):
        return (np.sum((self.x @ T) * self.x, axis=1) - np.trace(T)) / (np.sqrt(2) * self.shape[0])

    def adjoint(self, g):
        d = self.shape[0]
        return ((self.x.T * g) @ self.x - g.sum() * np.eye(d)) / (np.sqrt(2) * d)


def test_inputs_of_a_network_do_as_gaussian_matrices():
    """x x^T - 1 in place of a Gaussian matrix: the same error (the universality that the paper conjectures).
    These inputs have correlated entries: undamped runs do not settle at this size, damped ones do in their
    error.
    """
    d, r, alpha, delta, errors = 50, 25, 0.3, 0.5, []
    transform, scale = hilbert_transform(QUADRATIC), symmetric_scale(50)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth = scale * symmetric_instance(d, r, rng)
        sensing = NetworkSensing(rng.standard_normal((round(alpha * d * d), d)))
        y = draw_outputs(sensing, truth, lambda h, g: h + np.sqrt(delta) * g.standard_normal(h.size), rng)
        run = gamp(
            sensing,
            y,
            lambda y, w, V: ((y - w) / (V + delta), np.full(y.size, 1 / (V + delta))),
            lambda R, k: symmetric_denoiser(R, k, lambda x, s: transform(x, s, {"kappa": r / d})),
            truth=truth,
            tolerance=1e-3,
            max_iterations=40,
            damping=0.4,
            prior_mean=scale * np.eye(d),
            prior_variance=2 * d / r,
        )
        assert not run.outcome.diverged
        assert abs(run.mse[-1] - run.mse[-10]) < 0.02
        errors.append(run.mse[-1] / 2)
    theory = solve(QUADRATIC, alpha=alpha, kappa=0.5, delta=delta)["mmse"]
    bar = np.std(errors, ddof=1) / np.sqrt(6)
    print(theory, np.mean(errors), bar)
    assert abs(np.mean(errors) - theory) < 4.5 * bar


# --- what is refused ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnLoss(LogisticLoss):
    name = "own"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (SpikedMatrix(), {"lam": 2, "N": 1}, "N must be an integer of at least 2"),
        (SpikedMatrix(), {"lam": 2, "N": 50_000}, "N = 50000 need 37.3 GiB"),
        (SpikedMatrix(), {"lam": -1}, "lam must be >= 0"),
        (SpikedMatrix(), {"lam": 2, "damping": 0.5}, "damping has no meaning for low-rank AMP"),
        (SpikedMatrix(), {"lam": 2, "start": "spectral"}, "start must be one of uninformed, informed"),
        (SpikedMatrix(), {"lam": 2, "N": 10, "tolerance": 0}, "tolerance is positive"),
        (SpikedMatrix(), {"lam": 2, "N": 10, "max_iterations": 0}, "max_iterations is at least 1"),
        (EmpiricalRisk(), {"alpha": 2, "lam": 0}, "lam must be > 0 with the logistic loss"),
        (EmpiricalRisk(), {"alpha": 2, "lam": 1, "start": "informed"}, "start has no meaning"),
        (EmpiricalRisk(), {"alpha": 2, "lam": 1, "damping": 0.1}, "damping has no meaning"),
        (EmpiricalRisk(), {"alpha": 2, "lam": 1, "tolerance": -1}, "tolerance is positive"),
        (EmpiricalRisk(), {"alpha": 2, "lam": 1, "max_iterations": 0}, "max_iterations is at least 1"),
        (EmpiricalRisk(), {"alpha": "0.001", "lam": 1, "d": 5}, "leaves no sample"),
        (EmpiricalRisk(loss=OwnLoss()), {"alpha": 2, "lam": 1}, "unknown loss 'own'"),
        (QUADRATIC, {"alpha": 1, "kappa": 1, "delta": 1, "d": 400}, "the budget is 4 GiB"),
    ],
)
@pytest.mark.parametrize("call", [simulate, validate])
def test_bad_input_is_one_line(call, model, options, words):
    with pytest.raises(InputError, match=words) as caught:
        call(model, **options)
    assert "\n" not in str(caught.value)


# --- the command line -----------------------------------------------------------------------------------------


def test_the_command_line(capsys, tmp_path):
    options = ["--N", "200", "--seeds", "3", "--json", "--plot", str(tmp_path / "spike.png")]
    assert cli.main(["validate", "spiked", "prior=rademacher", "lam=2", *options]) == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["sizes"] == {"N": 200}
    assert fields["others"]["m"]["theory"] == pytest.approx(0.6184475093488229, rel=1e-9)
    point = ["teacher=sign", "loss=logistic", "alpha=2", "lam=0.1"]
    assert cli.main(["validate", "risk", *point, "--d", "60", "--seeds", "3"]) == 0
    out = capsys.readouterr().out
    assert "others.training_loss.theory" in out
    assert "generalisation_error" in out
    for words in ("validate spiked lam=2 --d 1", "validate risk alpha=2 lam=0 --d 10 --seeds 2"):
        assert cli.main(words.split()) == 2
        assert capsys.readouterr().err.count("\n") == 1
