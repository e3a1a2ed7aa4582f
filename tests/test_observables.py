"""Observables against the free entropy (derivatives by differences), closed forms and quadrature by hand."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from math import acos, log, pi, sqrt
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, special, stats

from replica.api import solve, sweep
from replica.cli import main
from replica.ingredients.channels import (
    AbsoluteValue,
    GaussianNoise,
    LaplaceNoise,
    Logistic,
    MarginStep,
    PoissonNoise,
    Probit,
    Quantiser,
    ReLU,
    Sign,
    SymmetricInterval,
)
from replica.ingredients.losses import SquareLoss
from replica.ingredients.priors import Bernoulli, GaussBernoulli, Gaussian, GaussianMixture, Rademacher
from replica.lowering.observed import switches_between
from replica.lowering.program import lower
from replica.models.bsr import BilinearSequenceRegression
from replica.models.empirical_risk import EmpiricalRisk
from replica.models.quadratic_network import QuadraticNetwork
from replica.models.spiked_matrix import SpikedMatrix
from replica.models.teacher_student import TeacherStudent
from replica.observables import output_moments
from replica.symbols import delta, h, q
from solvers.backends.float64 import Float64
from solvers.solution import Outcome

TRANSITION = "1.24468398985"
"""alpha_IT of binary weights and signs, where Phi of the uninformed branch is -log 2: alpha = 1.245 in
G. Gyorgyi, Phys. Rev. A 41 (1990) 7097; the digits from an independent code."""


def slope(function: Any, at: Any, step: Any) -> Any:
    """The derivative by four values."""
    f = [function(at + k * step) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)


# -- labels --


def test_errors_of_the_sign_are_angles():
    """Bayes arccos(sqrt q)/pi, Gibbs arccos(q)/pi (Opper and Haussler, Phys. Rev. Lett. 66 (1991) 2677)."""
    solution = solve(TeacherStudent(Gaussian(), Sign()), alpha=2)
    assert solution["generalisation_error"] == pytest.approx(0.17453418557984768, abs=1e-12)
    assert solution["generalisation_error"] == pytest.approx(acos(sqrt(solution["q"])) / pi, abs=1e-12)
    assert solution["gibbs_error"] == pytest.approx(acos(solution["q"]) / pi, abs=1e-12)
    assert solution["training_loss"] == 0
    assert solution["mutual_information"] == pytest.approx(-solution.free_entropy, abs=1e-15)


def test_errors_of_the_sign_to_fifty_digits():
    solution = solve(TeacherStudent(Gaussian(), Sign()), alpha=2, digits=50)
    with mpmath.workdps(60):
        bayes = mpmath.acos(mpmath.sqrt(solution["q"])) / mpmath.pi
        gibbs = mpmath.acos(solution["q"]) / mpmath.pi
        assert abs(solution["generalisation_error"] - bayes) < mpmath.mpf(10) ** -47
        assert abs(solution["gibbs_error"] - gibbs) < mpmath.mpf(10) ** -47


def levels_by_hand(channel, omega, spread):
    """The probabilities of each output given omega, (outputs, places), in the normal distribution alone."""
    if isinstance(channel, Quantiser):
        below = [special.ndtr((t - omega) / spread) for t in (-1, 0, 1)]
        return np.diff([np.zeros_like(omega), *below, np.ones_like(omega)], axis=0)
    if isinstance(channel, MarginStep):
        one = special.ndtr((omega - 0.5) / spread)
    elif isinstance(channel, SymmetricInterval):
        one = special.ndtr((0.5 - omega) / spread) - special.ndtr((-0.5 - omega) / spread)
    else:  # probit of variance 1/2
        one = special.ndtr(omega / sqrt(spread**2 + 0.5))
    return np.array([1 - one, one])


@pytest.mark.parametrize(
    ("channel", "own"),
    [
        pytest.param(Quantiser(), {}, marks=pytest.mark.slow),
        (MarginStep(), {"kappa": "1/2"}),
        pytest.param(SymmetricInterval(), {"kappa": "1/2"}, marks=pytest.mark.slow),
        (Probit(), {"delta": "1/2"}),
    ],
    ids=lambda c: getattr(c, "name", ""),
)
def test_errors_of_labels_by_hand(channel, own):
    """E[1 - max_y Z] and E[1 - sum_y Z^2] on a fine grid; Bayes <= Gibbs <= 2 Bayes (1 - Bayes) for two."""
    solution = solve(TeacherStudent(Gaussian(), channel), alpha=2, **own)
    z = np.linspace(-9, 9, 400_001)
    weights = stats.norm.pdf(z) * (z[1] - z[0])
    chances = levels_by_hand(channel, sqrt(solution["q"]) * z, sqrt(solution["mmse"]))
    bayes, gibbs = weights @ (1 - chances.max(axis=0)), weights @ (1 - (chances**2).sum(axis=0))
    assert solution["generalisation_error"] == pytest.approx(bayes, abs=1e-9)
    assert solution["gibbs_error"] == pytest.approx(gibbs, abs=1e-11)
    assert bayes < solution["gibbs_error"]
    if len(chances) == 2:
        assert gibbs < 2 * bayes * (1 - bayes)


def test_an_even_channel_without_information_is_guessed_from_the_prior():
    """At q = 0 the more probable of inside and outside is always said."""
    solution = solve(
        TeacherStudent(Gaussian(), SymmetricInterval()), alpha="1/5", kappa="1/2", start="uninformed"
    )
    inside = special.ndtr(0.5) - special.ndtr(-0.5)
    assert solution["q"] == 0
    assert solution["generalisation_error"] == pytest.approx(inside, abs=1e-12)
    assert solution["gibbs_error"] == pytest.approx(2 * inside * (1 - inside), abs=1e-12)
    information = -0.2 * (inside * log(inside) + (1 - inside) * log(1 - inside))
    assert solution["mutual_information"] == pytest.approx(information, abs=1e-6)


def test_a_logistic_teacher():
    """The error and the loss of logistic labels by quadrature."""
    solution = solve(TeacherStudent(Gaussian(), Logistic()), alpha=2)
    t, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()

    def chance(omega):
        return w @ special.expit(omega + sqrt(solution["mmse"]) * t)

    wide = sqrt(solution["q"])
    error = 2 * integrate.quad(lambda o: chance(-o) * stats.norm.pdf(o, scale=wide), 0, 9 * wide)[0]
    loss = -2 * (w @ (special.expit(t) * special.log_expit(t)))
    assert solution["generalisation_error"] == pytest.approx(error, abs=1e-9)
    assert solution["training_loss"] == pytest.approx(loss, abs=1e-9)


def test_the_largest_of_several_functions():
    """A stretch of 1e-3 where the middle one wins is found; so are none and one."""
    chosen, places = switches_between(lambda t: np.array([-t, 0 * t + 1e-3 - 0.3, t - 0.6]), 1.0)
    assert chosen == (0, 1, 2)
    assert places == pytest.approx([0.299, 0.301], abs=1e-13)
    assert switches_between(lambda t: np.array([0 * t, 0 * t - 1]), 1.0) == ((0,), [])
    assert switches_between(lambda t: np.array([t, t + 1]), 0.0) == ((1,), [])


# -- real outputs and counts --


def test_moments_of_outputs_by_their_rules():
    assert output_moments(GaussianNoise()) == (h, delta)
    assert output_moments(PoissonNoise()) == (sp.exp(h), sp.exp(h))
    assert output_moments(ReLU(noisy=False))[1] == 0
    mean, variance = output_moments(LaplaceNoise())
    assert mean == h
    assert float(sp.N(variance.subs(delta, sp.Rational(3, 10)), 12)) == pytest.approx(0.3, abs=1e-10)


def test_real_outputs():
    """The Gibbs error is twice the Bayes error, v + Delta for a linear output; entropies of the noises."""
    gaussian = solve(TeacherStudent(Gaussian(), GaussianNoise()), alpha="3/2", delta="1/5")
    assert gaussian["generalisation_error"] == pytest.approx(gaussian["mmse"] + 0.2, abs=1e-14)
    assert gaussian["gibbs_error"] == pytest.approx(2 * gaussian["generalisation_error"], abs=1e-14)
    assert gaussian["training_loss"] == pytest.approx(stats.norm.entropy(scale=sqrt(0.2)), abs=1e-14)


@pytest.mark.slow
def test_laplace_noise():
    laplace = solve(TeacherStudent(Gaussian(), LaplaceNoise()), alpha="3/2", delta="1/5")
    assert laplace["generalisation_error"] == pytest.approx(laplace["mmse"] + 0.2, abs=1e-10)
    assert laplace["training_loss"] == pytest.approx(stats.laplace.entropy(scale=sqrt(0.1)), abs=1e-10)


def test_ridge_regression_by_its_spectrum():
    """The posterior mean is ridge regression: with G the limit of (1/N) Tr(F^T F + Delta)^(-1) at alpha = 2,
    mmse = Delta G, and the residual E|y - F x_hat|^2/M at large size.
    """
    noise, ratio, size = 0.3, 2, 1500
    rng = np.random.default_rng(8)
    design = rng.standard_normal((ratio * size, size)) / sqrt(size)
    signal = rng.standard_normal(size)
    outputs = design @ signal + sqrt(noise) * rng.standard_normal(ratio * size)
    estimate = np.linalg.solve(design.T @ design + noise * np.eye(size), design.T @ outputs)
    solution = solve(TeacherStudent(Gaussian(), GaussianNoise()), alpha=ratio, delta="3/10")
    assert np.mean((outputs - design @ estimate) ** 2) == pytest.approx(solution["training_error"], rel=0.06)
    fields = np.mean((design @ (estimate - signal)) ** 2)
    assert fields == pytest.approx(solution["field_mmse"], rel=0.1)
    spectrum = np.linalg.slogdet(np.eye(size) + design.T @ design / noise)[1] / (2 * size)
    assert spectrum == pytest.approx(solution["mutual_information"], rel=0.01)


# -- the free entropy --


@pytest.mark.parametrize(
    ("model", "own", "factor"),
    [
        (SpikedMatrix(Rademacher()), {}, 1 / 4),
        (SpikedMatrix(Bernoulli()), {"rho": "2/5"}, 1 / 4),
        (SpikedMatrix(Rademacher(), Gaussian()), {"alpha": 2}, 1),
    ],
    ids=["square", "not centred", "rectangular"],
)
def test_i_mmse_of_spiked_matrices(model, own, factor):
    """dI/dlambda is half the error of what is seen: a quarter of the matrix mmse, alpha/2 for a rectangle."""
    with mpmath.workdps(30):

        def information(lam):
            return solve(model, digits=30, lam=mpmath.nstr(lam, 30), **own)["mutual_information"]

        found = slope(information, mpmath.mpf("2.5"), mpmath.mpf(1) / 1000)
        error = solve(model, digits=30, lam="5/2", **own)["matrix_mmse"]
        assert abs(found - factor * error) < 1e-11


@pytest.mark.parametrize(
    ("model", "own"),
    [
        (TeacherStudent(Gaussian(), GaussianNoise()), {}),
        pytest.param(
            TeacherStudent(GaussBernoulli(), GaussianNoise()), {"rho": "3/10"}, marks=pytest.mark.slow
        ),
        pytest.param(QuadraticNetwork(), {"kappa": "1/2"}, marks=pytest.mark.slow),
        pytest.param(BilinearSequenceRegression(), {"beta": 2, "rho": "1/5"}, marks=pytest.mark.slow),
    ],
    ids=["gaussian", "sparse", "quadratic", "bsr"],
)
def test_i_mmse_of_gaussian_noise(model, own):
    """dI/d(1/Delta) = (alpha/2) E Var(h|data), and the training error is Delta less that variance."""
    with mpmath.workdps(30):

        def information(snr):
            at = mpmath.nstr(1 / snr, 30)
            return solve(model, digits=30, alpha="3/2", delta=at, **own)["mutual_information"]

        found = slope(information, mpmath.mpf(4), mpmath.mpf(1) / 1000)
        solution = solve(model, digits=30, alpha="3/2", delta="1/4", **own)
        assert abs(found - solution["field_mmse"] * 3 / 4) < 1e-11
        assert abs(solution["training_error"] - mpmath.mpf(1) / 4 + solution["field_mmse"]) < 1e-25


def test_the_training_error_keeps_its_digits_where_the_error_is_small():
    """y = |h| + sqrt(Delta) z far above the threshold, where E x^2 - q = 2e-5: E (y - E[|h| | data])^2 by
    Gauss-Legendre panels in y and omega over the posterior mean of |h| in truncated Gaussians (twelve digits).
    """
    prior = GaussianMixture(("1/2", "1/2"), (-1, 2), ("1/4", "1/100"))
    model = TeacherStudent(prior, AbsoluteValue())
    error, moment = sp.Symbol("v"), sp.sympify(prior.second_moment)
    stated = model.observables({"alpha": Fraction(5632, 1000), "delta": Fraction(1, 10000)})["training_error"]
    program = lower([stated.subs(q, moment - error)], [error, delta])
    with Float64().context():
        (found,) = program.run(Float64(), 6, [2.1623735703255085e-05, 1e-4]).values
    assert float(found) == pytest.approx(8.22482900466274e-05, rel=1e-11)


@pytest.mark.slow
def test_i_mmse_of_a_noisy_rectifier():
    """dI/d(1/Delta) = (alpha/2) E Var(g(h)|data) = (alpha/2) (Delta - training error)."""
    model = TeacherStudent(Gaussian(), ReLU())

    def information(snr):
        return solve(model, alpha=1, delta=repr(1 / snr))["mutual_information"]

    solution = solve(model, alpha=1, delta="1/4")
    assert slope(information, 4.0, 0.02) == pytest.approx((0.25 - solution["training_error"]) / 2, abs=1e-7)


@pytest.mark.parametrize(
    ("model", "own"),
    [
        pytest.param(TeacherStudent(Rademacher(), Sign()), {}, marks=pytest.mark.slow),
        pytest.param(TeacherStudent(Gaussian(), Probit()), {"delta": "1/5"}, marks=pytest.mark.slow),
        (TeacherStudent(GaussBernoulli(), GaussianNoise()), {"rho": "1/4", "delta": "1/9"}),
    ],
    ids=lambda m: m.channel.name if isinstance(m, TeacherStudent) else "",
)
def test_one_more_sample(model, own):
    """dPhi/dalpha = -log_loss, and dI/dalpha is that loss less the noise of the output itself."""
    options: dict[str, Any] = {"digits": 30, **own}
    with mpmath.workdps(30):

        def solved(alpha):
            return solve(model, alpha=mpmath.nstr(alpha, 30), **options)

        middle, step = mpmath.mpf("0.8"), mpmath.mpf(1) / 1000
        solution = solved(middle)
        assert abs(slope(lambda a: solved(a).free_entropy, middle, step) + solution["log_loss"]) < 1e-10
        gained = slope(lambda a: solved(a)["mutual_information"], middle, step)
        assert abs(gained - solution["log_loss"] + solution["training_loss"]) < 1e-10
        assert gained > 0


def test_errors_fall_with_samples():
    model = TeacherStudent(Gaussian(), MarginStep())
    found = [solve(model, alpha=alpha, kappa="1/3") for alpha in (1, 2, 4, 8)]
    for name in ("generalisation_error", "gibbs_error", "log_loss", "field_mmse"):
        values = [s[name] for s in found]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == 4
    information = [s["mutual_information"] for s in found]
    assert information == sorted(information)


def test_the_energy_of_a_risk_is_its_loss_and_its_penalty():
    """-Phi = alpha training_loss + (lam/2) q for ridge regression, and d(-Phi)/dlam = q/2."""
    model = EmpiricalRisk(GaussianNoise(), SquareLoss())
    at: dict[str, Any] = {"alpha": "3/2", "delta": "1/10"}
    solution = solve(model, lam="1/5", **at)
    energy = 1.5 * solution["training_loss"] + 0.1 * solution["q"]
    assert -solution.free_entropy == pytest.approx(energy, abs=1e-11)
    found = slope(lambda lam: -solve(model, lam=repr(lam), **at).free_entropy, 0.2, 1e-2)
    assert found == pytest.approx(solution["q"] / 2, abs=1e-7)


# -- perfect recovery --


def test_binary_weights_are_recovered_above_the_transition():
    """At alpha_IT the entropy of the students that agree with the data falls to that of the teacher alone."""
    model = TeacherStudent(Rademacher(), Sign())
    at_transition = solve(model, alpha=TRANSITION, start="uninformed")
    assert at_transition.free_entropy == pytest.approx(-log(2), abs=1e-10)
    below = solve(model, alpha="1.2446", start="global")
    assert below.outcome is Outcome.CONVERGED
    assert below["q"] < 0.72
    assert below["mutual_information"] < log(2)
    above = solve(model, alpha="1.2448", start="global", digits=30)
    assert above.outcome is Outcome.PERFECT_RECOVERY
    assert above["generalisation_error"] == above["gibbs_error"] == 0
    with mpmath.workdps(30):
        assert abs(above.free_entropy + mpmath.log(2)) < mpmath.mpf(10) ** -29
        assert abs(above["mutual_information"] - mpmath.log(2)) < mpmath.mpf(10) ** -29
    swept = sweep(model, alpha=["1.2446", "1.2448"], start="global")
    assert swept["mmse"].to_numpy()[1] == 0 < swept["mmse"].to_numpy()[0]


def test_information_of_outputs_without_noise():
    """Real outputs tell a discrete signal everything, and infinitely much of a continuous one."""
    assert solve(TeacherStudent(Rademacher(), ReLU()), alpha="1/5")["mutual_information"] == pytest.approx(
        log(2)
    )
    for alpha in ("1/2", "3/2"):
        solution = solve(TeacherStudent(Gaussian(), GaussianNoise()), alpha=alpha, delta=0)
        assert solution["mutual_information"] == float("inf")
        assert "training_loss" not in solution.values


# -- on request --


def test_a_solve_computes_none_of_them():
    solution = solve(TeacherStudent(Gaussian(), Sign()), alpha=3)
    assert solution.values.known == {}  # pyright: ignore[reportAttributeAccessIssue]
    error = solution["generalisation_error"]
    assert solution.values.known == {"generalisation_error": error}  # pyright: ignore[reportAttributeAccessIssue]
    again = pickle.loads(pickle.dumps(solution))
    assert again == solution
    with pytest.raises(KeyError, match="mutual_information"):
        solution["temperature"]


def test_the_command_line_says_what_they_are(capsys):
    assert main(["solve", "glm", "channel=sign", "alpha=2"]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("gibbs_error"))
    assert "0.2403115940" in line
    assert "drawn from the posterior" in line
    assert main(["solve", "glm", "channel=gaussian", "alpha=2", "delta=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mutual_information"] == "inf"
