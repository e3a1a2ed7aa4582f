"""Quadratic networks of extensive width: the published equations, sampled matrices, limits and other channels.

Numbers at four points were computed independently of this library, from the equations of arXiv 2408.03733
with their constants restored; the resolvent below is the paper's, z = kappa/(kappa - g) + g/q_hat + 1/g.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex

from replica import checks
from replica.api import solve
from replica.derivation import Kind
from replica.expr.binder import Binder
from replica.ingredients.channels import MarginStep, Sign, SymmetricInterval
from replica.ingredients.symmetric_factors import SymmetricFactors
from replica.lowering.problem import pair_problem
from replica.lowering.program import lower
from replica.models import MODELS, OPTIONS, build
from replica.models.quadratic_network import QuadraticNetwork
from replica.simulation import simulate
from replica.symbols import alpha, delta, kappa, q, q_hat
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.errors import InputError

MODEL = QuadraticNetwork()
# (kappa, alpha, Delta) -> q_hat, mmse, Phi
POINTS = {
    ("0.5", "0.2", "0"): (0.5099490845389408, 0.7843920346707773, -0.38531241572523567),
    ("0.5", "0.5", "0.515625"): (1.689153719461145, 0.334199931123799, -0.9126583812964398),
    ("0.5", "0.2", "0.5"): (0.3111147426985688, 1.0356992777984484, -0.4095429299396861),
}


def transform(x, width, strength):
    """g(x + i0): the root in the lower half-plane of the paper's z(g), cleared of denominators."""
    roots = np.roots([-1 / strength, width / strength + x, -(1 + x * width) + width, width])
    return min(roots, key=lambda root: root.imag)


def support(width, strength):
    """The edges: real extrema of z(g)."""
    g = np.polynomial.Polynomial([0, 1])
    slope = width * g**2 + (g**2 / strength - 1) * (width - g) ** 2  # g^2 (kappa - g)^2 dz/dg
    at = slope.roots()
    real = at[np.abs(at.imag) < 1e-9].real
    return np.sort(width / (width - real) + real / strength + 1 / real)


def integrals(width, strength, functions, size=400):
    """Integrals of f(x, g) over the support, by Gauss-Legendre in the angle of each piece."""
    nodes, weights = np.polynomial.legendre.leggauss(size)
    angle, weights = np.pi / 2 * (nodes + 1), np.pi / 2 * weights
    edges, totals = support(width, strength), np.zeros(len(functions))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        x = a + (b - a) * np.sin(angle / 2) ** 2
        g = np.array([transform(v, width, strength) for v in x])
        measure = weights * (b - a) * np.sin(angle) / 2
        totals += [measure @ f(x, g) for f in functions]
    return totals


# --- steps --------------------------------------------------------------------------------------------------


def test_every_step_of_the_free_entropy_and_of_the_overlap_verifies():
    overlap, _ = MODEL.saddle_point().derivations
    for step in (*MODEL.derive().steps, *overlap.steps):
        assert step.verify()


@pytest.mark.slow
@pytest.mark.parametrize("channel", [None, Sign()])
def test_every_step_verifies(channel):
    model = QuadraticNetwork(channel)
    for derivation in (model.derive(), *model.saddle_point().derivations):
        assert derivation.verify()


def test_kinds_are_honest():
    kinds = {s.name: s.kind for s in MODEL.derive().steps}
    assert kinds["Bayes-optimal ansatz"] is Kind.ANSATZ
    assert kinds["extensive-rank entropy"] is Kind.LIMIT
    assert all(s.kind is Kind.IDENTITY for d in MODEL.saddle_point().derivations for s in d.steps)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("free entropy", "entropy of the observed signal"),
        pytest.param("free entropy", "extensive-rank entropy", marks=pytest.mark.slow),
        ("free entropy", "log-energy of pure noise"),
        ("overlap", "de Bruijn's identity"),
        ("overlap", "identities of the Hilbert transform"),
        pytest.param("conjugate", "evidence of the channel", marks=pytest.mark.slow),
    ],
)
def test_a_tampered_step_is_caught(title, name):
    overlap, conjugate = MODEL.saddle_point().derivations
    step = {"free entropy": MODEL.derive(), "overlap": overlap, "conjugate": conjugate}[title][name]
    old = set(sp.Add.make_args(step.before))
    written = [term for term in sp.Add.make_args(step.after) if term not in old]
    assert written
    for term in written:
        with pytest.raises(ArithmeticError, match="fails"):
            dataclasses.replace(step, after=step.after + term / 10).verify()


@pytest.mark.parametrize("wrong", ["share", "variance of the field"])
def test_a_wrong_count_of_the_coordinates_is_caught(wrong):
    """Laplace's method knows how many coordinates are free, and what a field varies by."""
    step = MODEL.derive()["average over the inputs; overlaps"]
    if wrong == "share":
        (coupling,) = (t for t in sp.Add.make_args(step.after) if "PairSum" in sp.srepr(t))
        after = step.after + coupling
    else:
        after = step.after.xreplace({2 * sp.Symbol("Q"): sp.Symbol("Q")})
    assert after != step.after
    with pytest.raises(ArithmeticError, match="binary signals"):
        dataclasses.replace(step, after=after).verify()


# --- the result ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_values(point):
    solution = solve(MODEL, **dict(zip(("kappa", "alpha", "delta"), point, strict=True)))
    strength, mmse, phi = POINTS[point]
    assert solution["q_hat"] == pytest.approx(strength, rel=1e-12)
    assert solution["mmse"] == pytest.approx(mmse, rel=1e-12)
    assert solution["q"] == pytest.approx(3 - mmse, rel=1e-12)
    assert solution.free_entropy == pytest.approx(phi, rel=1e-12)


def test_a_noiseless_point():
    solution = solve(MODEL, kappa="0.5", alpha="0.3", delta=0)
    assert solution["q_hat"] == pytest.approx(2.3413556660595245, rel=1e-12)
    assert solution["mmse"] == pytest.approx(0.6 / solution["q_hat"], rel=1e-12)


def test_more_digits_agree():
    fine = solve(MODEL, kappa="0.5", alpha="0.5", delta="0.515625", digits=30)
    for name, value in zip(("q_hat", "mmse"), POINTS["0.5", "0.5", "0.515625"], strict=False):
        assert float(fine[name]) == pytest.approx(value, rel=1e-14)


def test_the_conjugate_in_textbook_form():
    update = MODEL.saddle_point().update(q_hat)
    assert sp.simplify(update - 4 * alpha / (delta + 2 * (1 + 1 / kappa - q))) == 0


def test_the_law_is_the_published_resolvent():
    law = SymmetricFactors().observed_law(q_hat)
    z, g = law.bound_symbols
    published = kappa / (kappa - g) + g / q_hat + 1 / g
    assert sp.simplify(law.polynomial.subs(z, published)) == 0
    assert sp.Poly(law.polynomial, g).degree() == 3


@pytest.mark.parametrize(("width", "strength"), [(0.5, 0.5), (0.5, 40.0), (1.0, 3.0), (2.5, 6.0)])
def test_the_error_is_the_published_integral(width, strength):
    """Q_0 - q = 1/q_hat - (4 pi^2/(3 q_hat^2)) int rho^3, one bulk and two."""
    mass, cube = integrals(
        width, strength, [lambda x, g: -g.imag / np.pi, lambda x, g: (-g.imag / np.pi) ** 3]
    )
    assert mass == pytest.approx(1, abs=1e-10)
    error = pair_problem(MODEL).signal(Float64(), 6, strength, {"kappa": width}).value
    assert float(error) == pytest.approx(
        1 / strength - 4 * np.pi**2 * cube / (3 * strength**2), rel=1e-9, abs=1e-11
    )


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_sampled_matrices(width):
    """From one instance: the law, the entropy (less that of noise, with sums over eigenvalues), and the error
    of the denoiser x - 2 h(x)/q_hat, the Hilbert transform by the paper's resolvent.
    """
    rng, size, strength, error = np.random.default_rng(7), 700, 1.7, 0.6
    factor = rng.standard_normal((size, round(width * size)))
    signal = factor @ factor.T / (width * size)
    noise = rng.standard_normal((size, size))
    noise = (noise + noise.T) / np.sqrt(2 * size)
    values, vectors = np.linalg.eigh(signal + noise / np.sqrt(strength))

    second, fourth = integrals(
        width, strength, [lambda x, g: -(x**2) * g.imag / np.pi, lambda x, g: -(x**4) * g.imag / np.pi]
    )
    assert second == pytest.approx(1 + 1 / width + 1 / strength, abs=1e-10)
    assert np.mean(values**2) == pytest.approx(second, rel=0.02)
    assert np.mean(values**4) == pytest.approx(fourth, rel=0.05)

    def energy(eigenvalues):
        gaps = np.abs(eigenvalues[:, None] - eigenvalues[None, :])[np.triu_indices(size, 1)]
        return np.log(gaps).sum() / size**2

    information = energy(values) - energy(np.linalg.eigvalsh(noise)) + np.log(strength) / 4
    problem, at = pair_problem(MODEL), {"kappa": width, "alpha": 0.5, "delta": 0.3}
    phi = float(problem.free_entropy(Float64(), 6, strength, error, at).value)
    outputs = -0.25 * np.log(2 * np.pi * (0.3 + 2 * error)) - 0.25
    assert phi == pytest.approx(outputs - information + strength * error / 4, abs=0.01)

    hilbert = np.array([transform(v, width, strength).real for v in values])
    estimate = (vectors * (values - 2 * hilbert / strength)) @ vectors.T
    found = np.sum((signal - estimate) ** 2) / size
    predicted = float(problem.signal(Float64(), 6, strength, {"kappa": width}).value)
    assert found == pytest.approx(predicted, rel=0.03)


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=pytest.mark.slow) if p[2] == "0.5" else p for p in POINTS]
)
def test_the_free_entropy_is_stationary(point):
    """Central differences of the lowered Phi at 40 digits, the other unknown fixed."""
    problem, backend = pair_problem(MODEL), Arb(40)
    with backend.context():
        values: dict[str, Any] = dict(
            zip(("kappa", "alpha", "delta"), map(backend.number, point), strict=True)
        )
        at = [backend.number(v) for v in POINTS[point][:2]]
        step = backend.number("1e-12")
        for k in (0, 1):
            ends = []
            for sign in (1, -1):
                moved = list(at)
                moved[k] = moved[k] + sign * step
                ends.append(
                    np.asarray(problem.free_entropy(backend, 6, moved[0], moved[1], values).value)[()]
                )
            slope = (ends[0] - ends[1]) / (2 * step)
            assert abs(float(backend.to_float(slope))) < 1e-10


@pytest.mark.parametrize("channel", ["gaussian", "sign"])
def test_stationarity_is_the_saddle_point(channel):
    """Away from the solution dPhi/dq_hat = (update of q - q)/4 and dPhi/dq = (update of q_hat - q_hat)/4."""
    model = build("quadratic", {"channel": channel})
    entropy, saddle = model.free_entropy(), model.saddle_point()
    symbols = [q, q_hat, *entropy.control_parameters]
    point = {q: 1.6, q_hat: 1.3, alpha: 0.6, kappa: 0.8, delta: 0.3}
    at, backend = [point[s] for s in symbols], Float64()
    lowered = lower([entropy.expression], symbols)
    updates = lower([saddle.update(q), saddle.update(q_hat)], symbols)
    with backend.context():
        expected = [
            float(v) - point[s] for v, s in zip(updates.run(backend, 6, at).values, symbols, strict=False)
        ]
        for k in (0, 1):
            step, ends = 1e-3, []
            for multiple in (-2, -1, 1, 2):
                moved = list(at)
                moved[k] += multiple * step
                ends.append(float(lowered.run(backend, 6, moved).values[0]))
            slope = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
            assert slope == pytest.approx(expected[1 - k] / 4, rel=1e-8)


def test_labels_by_quadrature():
    """Labels sign(h): q_hat = (8 alpha/V) E phi(tz)^2/Phi(tz), t = sqrt(q/(Q_0 - q)), V = 2 (Q_0 - q); and the
    error on a new label is arccos(sqrt(q/Q_0))/pi.
    """
    from scipy.special import log_ndtr

    solution = solve(QuadraticNetwork(Sign()), kappa="1/2", alpha=1)
    overlap, error = solution["q"], solution["mmse"]
    nodes, weights = np.polynomial.hermite_e.hermegauss(300)
    t = np.sqrt(overlap / error) * nodes
    average = weights @ np.exp(-(t**2) - log_ndtr(t)) / np.sqrt(2 * np.pi) / (2 * np.pi)
    assert solution["q_hat"] == pytest.approx(8 * average / (2 * error), rel=1e-9)
    (cube,) = integrals(0.5, solution["q_hat"], [lambda x, g: (-g.imag / np.pi) ** 3])
    strength = solution["q_hat"]
    assert error == pytest.approx(1 / strength - 4 * np.pi**2 * cube / (3 * strength**2), rel=1e-9)
    wrong = np.arccos(np.sqrt(overlap / 3)) / np.pi
    assert solution["generalisation_error"] == pytest.approx(wrong, rel=1e-9)


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", ["1/2", "1", "3"])
def test_no_data(width):
    """The posterior is the prior: its mean is the identity, its variance 1/kappa."""
    scarce = 1e-7
    solution = solve(MODEL, kappa=width, alpha=scarce, delta="0.4")
    variance = 1 / float(sp.Rational(width))
    assert solution["mmse"] == pytest.approx(variance, rel=1e-5)
    assert solution["q"] == pytest.approx(1, rel=1e-5)
    assert solution["q_hat"] == pytest.approx(4 * scarce / (0.4 + 2 * variance), rel=1e-5)
    outputs = -scarce / 2 * (np.log(2 * np.pi * (0.4 + 2 * variance)) + 1)
    assert solution.free_entropy == pytest.approx(outputs, abs=1e-11)


def test_great_width_is_a_gaussian_matrix():
    """S = 1 + G/sqrt(kappa): with u = kappa mmse, noise kappa Delta makes u = 1/(1 + 4 alpha/(Delta + 2 u))."""
    width, rate, noise = 10**6, 0.3, 0.25
    solution = solve(MODEL, kappa=width, alpha=rate, delta=noise / width)
    u = solution["mmse"] * width
    assert u == pytest.approx(1 / (1 + 4 * rate / (noise + 2 * u)), rel=1e-5)


@pytest.mark.parametrize("width", [0.3, 0.5, 1.0, 2.0])
def test_degrees_of_freedom(width):
    """(q_hat/2) v -> kappa - kappa^2/2 for kappa <= 1, else 1/2; the threshold is its value."""
    exact = width - width**2 / 2 if width < 1 else 0.5
    strength = 1e6
    error = float(pair_problem(MODEL).signal(Float64(), 7, strength, {"kappa": width}).value)
    assert strength * error / 2 == pytest.approx(exact, rel=2e-2 if width == 1 else 1e-4)


@pytest.mark.parametrize(
    ("width", "threshold"), [("1/2", "3/8"), ("1", "1/2"), ("2", "1/2"), ("1/10", "19/200")]
)
def test_perfect_recovery(width, threshold):
    """At alpha = kappa - kappa^2/2 (arXiv 2408.03733), and at 1/2, every free entry, from kappa = 1 on."""
    rate = sp.Rational(threshold)
    assert solve(MODEL, kappa=width, alpha=rate, delta=0)["mmse"] == 0
    below = solve(MODEL, kappa=width, alpha=rate * sp.Rational(9, 10), delta=0)
    assert 0 < below["mmse"] < 0.9 / float(sp.Rational(width))


# --- the model ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["gaussian", "sign", "probit", "relu"])
def test_battery(channel):
    model = build("quadratic", {"channel": channel})
    values = {"alpha": "2/5", "kappa": "4/5", "delta": "1/5"}
    findings = checks.battery(model, [{p.name: values[p.name] for p in model.control_parameters}])
    failed = [str(finding) for finding in findings if not finding.holds]
    assert not failed, "\n".join(failed)


def test_by_name():
    assert "quadratic" in MODELS
    assert build("quadratic", {}) == MODEL
    assert build("quadratic", {"channel": "sign"}) == QuadraticNetwork(Sign())
    assert not {"margin", "interval"} & set(OPTIONS["quadratic"]["channel"])


@pytest.mark.parametrize("channel", [MarginStep(), SymmetricInterval()])
def test_a_channel_with_another_kappa_is_refused(channel):
    with pytest.raises(InputError, match="has a parameter of the network: kappa"):
        QuadraticNetwork(channel)


def test_what_is_simulated_is_the_stated_instance():
    simulation = simulate(MODEL, d=20, seeds=2, max_iterations=3, kappa="0.52", alpha="0.2", delta="0.5")
    assert (simulation.sizes.r, simulation.sizes.n) == (10, 80)
    assert simulation.params["kappa"] == sp.Rational(1, 2)


def test_everything_printed_compiles():
    saddle = MODEL.saddle_point()
    parts = [MODEL.derive(), MODEL.free_entropy(), saddle, *saddle.derivations]
    body = "\n".join(part.body_latex() for part in parts)
    text = MODEL.free_entropy().to_latex()
    compile_latex(text.replace(MODEL.free_entropy().body_latex(), body))
    assert r"\frac{\operatorname{Tr}X_\mu S_a}{\sqrt{d}}" in body
    assert r"\frac{d}{2}\operatorname{Tr}S_aS_b" in body
    assert "a symmetric d x d matrix of independent" in body


def test_latex_of_the_saddle_point():
    assert MODEL.saddle_point().body_latex() == "\n".join(
        [
            r"\[",
            r"\begin{aligned}",
            r"q &= 1 + \frac{1}{\kappa} - \frac{1}{\hat{q}}"
            r" + \frac{4 \pi^{2}}{3 \hat{q}^{2}} \int\!\mathrm{d}x\;\varrho_{Y}^{3}(x)",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"\hat{q} &= \frac{4 \alpha}{2 + \Delta + \frac{2}{\kappa} - 2 q}",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"\varrho_{Y}(x) &= -\frac{1}{\pi} \operatorname{Im}\left[g_{Y}(x+\mathrm{i}0)\right]",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"z &= \frac{1}{g_{Y}(z)} + \frac{g_{Y}(z)}{\hat{q}} - \frac{\kappa}{g_{Y}(z) - \kappa}",
            r"\end{aligned}",
            r"\]",
        ]
    )


def test_graph():
    saddle = MODEL.saddle_point()
    assert saddle.unknowns == (q, q_hat)
    assert saddle.iterated() == (q_hat,)
    assert saddle.update(q).has(Binder)
