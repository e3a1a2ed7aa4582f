"""Bilinear sequence regression, symbolic side: every step checks, a wrong one is caught, the end is the known
result.

Numbers at three points were computed independently of this library (quadrature of the density given by the
quartic of the law, from the equations of arXiv 2410.18858 with their constants restored).
"""

from __future__ import annotations

import dataclasses

import matplotlib.image
import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex

from replica import spectral_rules
from replica.derivation import Kind
from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder
from replica.expr.spectral import SpectralIntegral
from replica.ingredients.channels import AbsoluteValue, GaussianNoise, Sign
from replica.lowering.problem import pair_problem
from replica.lowering.program import lower
from replica.models.bsr import BilinearSequenceRegression
from replica.symbols import alpha, beta, delta, q, q_hat, rho
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64

CHANNELS = {c.name: c for c in (GaussianNoise(), Sign(), AbsoluteValue())}
BSR = BilinearSequenceRegression()
# (beta, rho, alpha, Delta) -> q_hat, mmse, Phi, mutual information of S and S + Z/sqrt(q_hat)
POINTS = {
    ("1", "1/2", "1/2", "1/10"): (
        0.8672736535071887,
        0.47651930042846113,
        -0.6630760155252734,
        0.29792968154918464,
    ),
    ("2", "1/2", "1/2", "1/10"): (
        0.9797130941959218,
        0.410353493244228,
        -0.6527124117104159,
        0.3124204077370289,
    ),
    ("5", "2", "1/2", "1/10"): (
        0.7797926605533573,
        0.5411960836425281,
        -0.6714750815191445,
        0.2841211734195681,
    ),
}
IDS = ["hard edge", "rectangular", "full rank"]


def model(name):
    return BilinearSequenceRegression(CHANNELS[name])


def derivations(name):
    m = model(name)
    return {"free entropy": m.derive(), **{d.title: d for d in m.saddle_point().derivations}}


# --- steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name != "gaussian" else name for name in CHANNELS]
)
def test_every_step_verifies(name):
    for derivation in derivations(name).values():
        for step in derivation.steps:
            comparisons = step.verify()
            assert bool(comparisons) == step.verifiable
            assert all(c.difference <= 1e-6 for c in comparisons if step.kind is Kind.IDENTITY)


def test_steps_follow_from_one_another():
    for derivation in derivations("gaussian").values():
        before = derivation.initial
        for step in derivation.steps:
            assert step.before == before
            assert step.rule.apply(before) == step.after
            assert step.after != before
            before = step.after
        assert derivation.result == before


def test_kinds_are_honest():
    steps = BSR.derive().steps
    kinds = {s.name: s.kind for s in steps}
    assert kinds["Bayes-optimal ansatz"] is Kind.ANSATZ
    assert kinds["n -> 0"] is Kind.LIMIT
    assert kinds["average over the inputs; overlaps"] is Kind.LIMIT
    assert kinds["extensive-rank entropy"] is Kind.LIMIT
    assert all(s.verifiable for s in steps if s.kind is Kind.IDENTITY)
    for derivation in BSR.saddle_point().derivations:
        assert {s.kind for s in derivation.steps} == {Kind.IDENTITY}
        assert all(s.verifiable for s in derivation.steps)
    assert all(s.reference for d in derivations("gaussian").values() for s in d.steps)


def tampered(step):
    """The step's result with one term wrong by a tenth, for each term that the rule wrote."""
    old = set(sp.Add.make_args(step.before))
    terms = sp.Add.make_args(step.after)
    for term in terms:
        if term not in old:
            yield step.after - term + sp.Rational(11, 10) * term


# limits have no finite counterpart to fail against, except n -> 0
IDENTITIES = {
    "free entropy": (
        "shared and private fields",
        "Hubbard-Stratonovich on the signal",
        "entropy of the observed signal",
        "log-energy of pure noise",
        "evidence of the channel",
    ),
    "Overlap": ("de Bruijn's identity", "identities of the Hilbert transform"),
    "Conjugate of the overlap": (
        "Price's theorem",
        "heat equation",
        "output function",
        "evidence of the channel",
    ),
}
STEPS = [
    (name, title, step)
    for name in CHANNELS
    for title, steps in IDENTITIES.items()
    for step in steps
    # the rest does not know the channel; that of |h| is the rule of the others, and slow
    if name == "gaussian" or (name == "sign" and step == "evidence of the channel")
]


def test_the_list_of_identities_is_complete():
    found = {
        title: tuple(s.name for s in derivation.steps if s.kind is Kind.IDENTITY)
        for title, derivation in derivations("gaussian").items()
    }
    assert found == IDENTITIES


OFTEN = STEPS[::3]
"""The others run with the slow tests."""


@pytest.mark.parametrize(
    ("name", "title", "step"),
    [case if case in OFTEN else pytest.param(*case, marks=pytest.mark.slow) for case in STEPS],
    ids=[f"{n}: {s}" for n, _, s in STEPS],
)
def test_a_tampered_identity_is_caught(name, title, step):
    step = derivations(name)[title][step]
    wrong = list(tampered(step))
    assert wrong
    for after in wrong:
        with pytest.raises(ArithmeticError, match="fails"):
            dataclasses.replace(step, after=after).verify()


def test_a_tampered_limit_of_no_replicas_is_caught():
    step = BSR.derive()["n -> 0"]
    for after in tampered(step):
        with pytest.raises(ArithmeticError, match="fails"):
            dataclasses.replace(step, after=after).verify()


def test_a_tampered_coupling_is_caught():
    step = BSR.derive()["Bayes-optimal ansatz"]
    (coupling,) = (t for t in sp.Add.make_args(step.after) if not t.has(Binder) and t.has(q))
    with pytest.raises(ArithmeticError, match="sums over entries at n"):
        dataclasses.replace(step, after=step.after + coupling).verify()


def test_a_wrong_inner_variance_is_caught():
    step = BSR.derive()["shared and private fields"]
    wrong = step.after.replace(lambda e: e == 1 - q, lambda e: 1 - q / 2)
    assert wrong != step.after
    with pytest.raises(ArithmeticError, match="replicas at y"):
        dataclasses.replace(step, after=wrong).verify()


# --- the result ---------------------------------------------------------------------------------------------


def in_doubles(point):
    return dict(zip(("beta", "rho", "alpha", "delta"), (float(sp.Rational(v)) for v in point), strict=True))


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_values_in_doubles(point):
    strength, mmse, phi, _ = POINTS[point]
    problem, values, backend = pair_problem(BSR), in_doubles(point), Float64()
    assert float(problem.signal(backend, 6, strength, values).value) == pytest.approx(mmse, rel=1e-12)
    assert float(problem.output(backend, 6, mmse, values).value) == pytest.approx(strength, rel=1e-12)
    assert float(problem.free_entropy(backend, 6, strength, mmse, values).value) == pytest.approx(
        phi, rel=1e-12
    )


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_slopes_of_the_halves(point):
    """The Newton slopes against central differences."""
    strength, mmse, _, _ = POINTS[point]
    problem, values, backend = pair_problem(BSR), in_doubles(point), Float64()
    for half, at in ((problem.signal, strength), (problem.output, mmse)):
        step = 1e-4 * at
        ends = [float(half(backend, 6, at + k * step, values).value) for k in (-2, -1, 1, 2)]
        difference = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
        assert float(half(backend, 6, at, values).slope) == pytest.approx(difference, rel=1e-8)


def information_by_sampling(b, r, strength, size, rng):
    """I = Vpot[law of Y Y^T/L] - Vpot of pure noise + (1/2) log q_hat, with sums over sampled eigenvalues."""

    def potential(matrix):
        values = np.linalg.eigvalsh(matrix @ matrix.T / matrix.shape[1])
        gaps = np.abs(values[:, None] - values[None, :])[np.triu_indices(size, 1)]
        return np.log(gaps).sum() / (b * size**2) + (b - 1) / (2 * b) * np.log(values).mean()

    columns, rank = round(b * size), round(r * size)
    noise = rng.standard_normal((size, columns))
    signal = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, columns)) / np.sqrt(rank)
    return potential(signal + noise / np.sqrt(strength)) - potential(noise) + np.log(strength) / 2


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_free_entropy_is_the_published_form(point):
    """Phi = -(alpha/2) log 2 pi (Delta + 1 - q) - alpha/2 - I(q_hat) + (q_hat/2)(1 - q), I from sampled
    matrices; and pinned.
    """
    strength, mmse, phi, information = POINTS[point]
    b, r, a, noise = (float(sp.Rational(v)) for v in point)
    rest = -a / 2 * np.log(2 * np.pi * (noise + mmse)) - a / 2 + strength * mmse / 2
    assert phi == pytest.approx(rest - information, abs=1e-12)
    # the pairs within one spacing make errors of order 1/size; noise and observation share them
    assert information_by_sampling(b, r, strength, 400, np.random.default_rng(4)) == pytest.approx(
        information, abs=0.01
    )
    value = pair_problem(BSR).free_entropy(Float64(), 6, strength, mmse, in_doubles(point)).value
    assert float(value) == pytest.approx(rest - information, rel=1e-12)
    # away from the saddle point, too: q and q_hat are separate arguments
    other = pair_problem(BSR).free_entropy(Float64(), 6, strength, 0.9, in_doubles(point)).value
    rest = -a / 2 * np.log(2 * np.pi * (noise + 0.9)) - a / 2 + strength * 0.9 / 2
    assert float(other) == pytest.approx(rest - information, rel=1e-12)


@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=[] if p == next(iter(POINTS)) else [pytest.mark.slow]) for p in POINTS],
    ids=IDS,
)
def test_the_free_entropy_is_stationary(point):
    """Central differences of the lowered Phi at 40 digits, the other unknown fixed, and the symbolic
    derivatives.
    """
    strength, mmse, _, _ = POINTS[point]
    problem, backend = pair_problem(BSR), Arb(40)
    with backend.context():
        values = dict(zip(("beta", "rho", "alpha", "delta"), map(backend.number, point), strict=True))
        at = [backend.number(strength), backend.number(mmse)]
        step = backend.number("1e-12")
        for k in (0, 1):
            ends = []
            for sign in (1, -1):
                moved = list(at)
                moved[k] = moved[k] + sign * step
                ends.append(np.asarray(problem.free_entropy(backend, 6, *moved, values).value)[()])
            slope = (ends[0] - ends[1]) / (2 * step)
            assert abs(float(backend.to_float(slope))) < 1e-10
        entropy = BSR.free_entropy()
        names = {beta: "beta", rho: "rho", alpha: "alpha", delta: "delta"}
        for unknown in entropy.unknowns:
            program = lower([entropy.stationarity(unknown)], [q, q_hat, *names])
            result = program.run(backend, 6, [1 - at[1], at[0], *(values[n] for n in names.values())])
            assert abs(float(backend.to_float(result.values[0]))) < 1e-10


@pytest.mark.parametrize("name", CHANNELS)
def test_stationarity_of_every_channel_is_its_saddle_point(name):
    """dPhi/dq_hat = (update of q - q)/2 up to sign and dPhi/dq = (update of q_hat - q_hat)/2, away from the
    solution.
    """
    m = model(name)
    entropy, saddle = m.free_entropy(), m.saddle_point()
    symbols = [q, q_hat, *entropy.control_parameters]
    point = {q: 0.37, q_hat: 1.3, alpha: 0.6, beta: 1.7, rho: 0.4, delta: 0.3}
    at, backend = [point[s] for s in symbols], Float64()

    lowered = lower([entropy.expression], symbols)
    updates = lower([saddle.update(q), saddle.update(q_hat)], symbols)
    with backend.context():
        new_q, new_q_hat = (float(v) for v in updates.run(backend, 6, at).values)
        slopes = []
        for k in (0, 1):
            step = 1e-3
            ends = []
            for multiple in (-2, -1, 1, 2):
                moved = list(at)
                moved[k] += multiple * step
                ends.append(float(lowered.run(backend, 6, moved).values[0]))
            slopes.append((8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step))
    assert slopes[0] == pytest.approx((new_q_hat - point[q_hat]) / 2, rel=1e-8)
    assert slopes[1] == pytest.approx((new_q - point[q]) / 2, rel=1e-8)


def test_the_gaussian_update_in_closed_form():
    assert sp.simplify(BSR.saddle_point().update(q_hat) - alpha / (delta + 1 - q)) == 0


def test_the_sign_update_is_the_textbook_integral():
    """q_hat = 2 alpha/(1-q) E phi(tz)^2/Phi(tz), t = sqrt(q/(1-q)): by Gauss-Hermite, independently of this
    library.
    """
    from scipy.special import log_ndtr

    program = lower([model("sign").saddle_point().update(q_hat)], [q, alpha])
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    backend = Float64()
    for overlap in (0.1, 0.5, 0.8):
        t = np.sqrt(overlap / (1 - overlap)) * nodes
        ratio = np.exp(-(t**2) - log_ndtr(t)) / (2 * np.pi)
        exact = 0.7 * 2 / (1 - overlap) * (weights @ ratio) / np.sqrt(2 * np.pi)
        with backend.context():
            assert float(program.run(backend, 6, [overlap, 0.7]).values[0]) == pytest.approx(exact, rel=1e-9)


def test_the_update_of_the_overlap_vanishes_with_no_coupling_to_beta_one():
    """At beta = 1 the integral of rho/x diverges and its coefficient vanishes: the integrand does, and the
    error estimate is small.
    """
    program = lower([BSR.saddle_point().update(q)], [q_hat, beta, rho])
    backend = Float64()
    with backend.context():
        result = program.run(backend, 6, [0.8672736535071887, 1.0, 0.5])
    assert float(result.values[0]) == pytest.approx(1 - 0.47651930042846113, rel=1e-12)
    assert float(np.max(result.error)) < 1e-10


def test_de_bruijn_refuses_what_it_does_not_know():
    rule = spectral_rules.de_bruijn(BSR.prior)
    stranger = BSR.prior.log_energy(BSR.prior.noise_law(), "Z")
    with pytest.raises(ValueError, match="not the log-energy"):
        rule.apply(sp.Derivative(stranger * q_hat, q_hat))


# --- the graph ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANNELS)
def test_graph(name):
    saddle = model(name).saddle_point()
    graph = saddle.graph()
    assert set(graph.edges) == {(q, q_hat), (q_hat, q)}
    assert graph.nodes[q_hat]["latex"] == r"\hat{q}"
    assert saddle.iterated() == (q_hat,)
    assert saddle.unknowns == (q, q_hat)
    assert saddle.residuals() == (saddle.update(q) - q, saddle.update(q_hat) - q_hat)


def test_jacobian():
    jacobian = BSR.saddle_point().jacobian()
    assert jacobian[0, 0] == jacobian[1, 1] == -1
    assert sp.simplify(jacobian[1, 0] - alpha / (delta + 1 - q) ** 2) == 0
    assert jacobian[0, 1].has(SpectralIntegral)


def test_draw(tmp_path):
    path = tmp_path / "graph.png"
    figure = BSR.saddle_point().draw(str(path))
    image = matplotlib.image.imread(path)
    assert image.shape[0] > 100
    assert image[..., :3].min() < 0.5  # something is drawn
    labels = {t.get_text() for axes in figure.axes for t in axes.texts}
    assert labels == {r"$q$", r"$\hat{q}$"}


# --- print --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANNELS)
def test_latex_compiles(name):
    m = model(name)
    saddle = m.saddle_point()
    parts = [m.derive(), m.free_entropy(), saddle, *saddle.derivations]
    for part in parts:
        text = part.to_latex()
        assert max(map(len, text.splitlines())) < 600  # nothing that runs off the page
        assert not {"nan", "zoo", "Dummy", "SpectralIntegral"} & set(text.split())
    body = "\n".join(part.body_latex() for part in parts)
    compile_latex(m.free_entropy().to_latex().replace(m.free_entropy().body_latex(), body))


def test_latex_of_the_gaussian_saddle_point():
    assert BSR.saddle_point().body_latex() == "\n".join(
        [
            r"\[",
            r"\begin{aligned}",
            r"q &= 1 - \frac{1}{\hat{q}} + \frac{1}{\hat{q}^{2}} \int\!\mathrm{d}x\;"
            r"\left(\frac{4 \pi^{2} x}{3 \beta^{2}} \varrho_{Y}^{3}(x)"
            r" + \frac{\left(\beta - 1\right)^{2}}{\beta^{2} x} \varrho_{Y}(x)\right)",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"\hat{q} &= \frac{\alpha}{1 + \Delta - q}",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"\varrho_{Y}(x) &= -\frac{1}{\pi} \operatorname{Im}\left[g_{Y}(x+\mathrm{i}0)\right]",
            r"\end{aligned}",
            r"\]",
            r"\[",
            r"\begin{aligned}",
            r"0 &= z^{2} g_{Y}^{4}(z) + \left(2 z \left(\beta - 1\right) - \beta z^{2} \hat{q}\right) g_{Y}^{3}(z) \\",
            r"&\quad + \left(\left(\beta - 1\right)^{2}"
            r" - \beta z \left(\beta \hat{q} + \rho \hat{q} + \rho - 2 \hat{q}\right)\right) g_{Y}^{2}(z) \\",
            r"&\quad + \left(\beta^{2} \rho z \hat{q}"
            r" - \beta \left(\beta - 1\right) \left(\rho \hat{q} + \rho - \hat{q}\right)\right) g_{Y}(z)"
            r" - \beta^{2} \rho \hat{q}",
            r"\end{aligned}",
            r"\]",
        ]
    )


def test_latex_names_the_evidence():
    text = model("sign").saddle_point().body_latex()
    assert r"\sum_{y\in\{-1,1\}} Z_{\mathrm{out}}(y,\omega,V) g_{\mathrm{out}}^{2}(y,\omega,V)" in text
    assert r"Z_{\mathrm{out}}(y,\omega,V) &= \Phi\left(\frac{y \omega}{\sqrt{V}}\right)" in text
    assert r"V &= 1 - q" in text


def test_markdown_shows_every_step():
    derivation = BSR.derive()
    text = derivation.to_markdown()
    assert text.count("**Step ") == len(derivation.steps)
    for step in derivation.steps:
        assert step.name in text
        assert step.kind.value in text
    with pytest.raises(KeyError, match="no step 'magic'"):
        derivation["magic"]


def test_printed_forms_are_the_same_expression():
    """What is printed in place of the closed form of |h|: the evidence inserted, it is the result (at a fixed
    field).
    """
    step = model("abs").derive().steps[-1]
    assert step.printed.expression != step.after
    assert step.printed.expression.has(OutputSum)
    assert dict(step.printed.definitions)
    plain = BSR.derive().steps[-1]
    assert plain.printed.expression == plain.after
    assert not plain.after.has(GaussianAverage)
