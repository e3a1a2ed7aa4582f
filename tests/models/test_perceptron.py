"""The perceptron: the derivation, equations written by hand, capacities, stability, refusals."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import log_ndtr, ndtr

from replica import capacity, checks, sweep
from replica.ansatz import BayesOptimal, KStepRSB, OneStepRSB, ReplicaSymmetric
from replica.api import solve
from replica.cli import main
from replica.ingredients.channels import Channel, GaussianNoise, Logistic, Probit, Sign
from replica.models import build
from replica.models.perceptron import Perceptron
from replica.overlaps import ReplicaSymmetricMatrix
from replica.perceptron_stability import FIRST, SECOND, pattern_eigenvalues, replicon, sphere_eigenvalues
from replica.symbols import alpha, kappa, n, omega, q
from solvers.errors import InputError, NotConvergedError
from solvers.solution import Outcome

KINDS = list(itertools.product(("ising", "spherical"), ("margin", "interval", "probit")))
QUICK = {("ising", "margin")}
MARKED = [pytest.param(*kind, marks=[] if kind in QUICK else [pytest.mark.slow]) for kind in KINDS]
POINTS = {"margin": {"kappa": "3/10"}, "interval": {"kappa": "1"}, "probit": {"delta": "1/5"}}
HEIGHT = 1 / math.sqrt(2 * math.pi)


# -- the derivation --


@pytest.mark.parametrize(("weights", "constraint"), MARKED)
def test_battery(weights, constraint):
    """Every step verifies, the updates are derivatives of Phi, two precisions agree, no patterns no overlap."""
    rate = "3" if (weights, constraint) == ("spherical", "interval") else "2/5"
    findings = checks.battery(Perceptron(weights, constraint), [{"alpha": rate, **POINTS[constraint]}])
    assert not [str(finding) for finding in findings if not finding.holds]
    kinds = {finding.check for finding in findings}
    assert {"rebuilt from its arguments", "bounds", "Phi is stationary", "no data", "two precisions"} <= kinds
    assert sum(kind.startswith("step") for kind in kinds) >= 9


@pytest.mark.parametrize("weights", ["ising", "spherical"])
def test_everything_printed_compiles(weights):
    model = Perceptron(weights, "interval")
    formula = model.capacity_formula()
    assert formula is not None
    parts = (model.derive(), model.free_entropy(), model.saddle_point(), formula)
    compile_latex("\n".join(part.body_latex() for part in parts))
    for derivation in model.saddle_point().derivations:
        compile_latex(derivation.to_latex())


def test_wrong_steps_are_caught():
    derivation = Perceptron().derive()
    for name in ("n -> 0", "probability of the constraint", "average over the patterns; overlaps"):
        step = derivation[name]
        wrong = step.after + alpha / 7 * (1 if name.startswith("prob") or "0" in name else n)
        with pytest.raises(ArithmeticError):
            type(step)(step.before, wrong, step.rule).verify()


def test_a_wrong_conjugate_is_caught():
    """The output function of another margin."""
    step = Perceptron().saddle_point().derivations[1]["output function of the constraint"]
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after.subs(kappa, kappa + 1), step.rule).verify()


# -- the equations, written by hand --


def gaussian(function, variance, kinks=()):
    """E f(x), x ~ N(0, variance), by scipy."""
    spread = math.sqrt(variance)

    def integrand(x):
        return function(x) * math.exp(-x * x / (2 * variance)) * HEIGHT / spread

    return quad(
        integrand, -12 * spread, 12 * spread, epsabs=1e-13, epsrel=1e-13, limit=400, points=kinks or None
    )[0]


def margin_step(rate, margin, overlap):
    """q_hat by Gardner's formula."""

    def ratio(w):
        u = (w - margin) / math.sqrt(1 - overlap)
        return math.exp(-u * u / 2 + math.log(HEIGHT) - log_ndtr(u))

    return rate / (1 - overlap) * gaussian(lambda w: ratio(w) ** 2, overlap)


@pytest.mark.parametrize(("rate", "margin"), [(0.5, 0.0), (0.2, 1.0), (2.0, -0.7)])
def test_ising_weights_against_the_equations_of_krauth_and_mezard(rate, margin):
    solution = solve(Perceptron(), alpha=rate, kappa=margin)

    def gap(overlap):
        strength = margin_step(rate, margin, overlap)
        return gaussian(lambda w: math.tanh(w) ** 2, strength) - overlap

    overlap = brentq(gap, 0.01, solution["q"] + 0.05, xtol=1e-14)
    strength = margin_step(rate, margin, overlap)
    entropy = rate * gaussian(lambda w: log_ndtr((w - margin) / math.sqrt(1 - overlap)), overlap)
    entropy += gaussian(lambda w: math.log(2 * math.cosh(w)), strength) - strength * (1 - overlap) / 2
    assert solution["q"] == pytest.approx(overlap, abs=1e-11)
    assert solution["q_hat"] == pytest.approx(strength, abs=1e-10)
    assert solution["entropy"] == solution.free_entropy == pytest.approx(entropy, abs=1e-11)
    assert solution.errors.total < 1e-12


@pytest.mark.parametrize(("rate", "margin"), [(1.5, 0.0), (0.5, 1.0), (6.0, -1.0)])
def test_spherical_weights_against_the_equation_of_gardner(rate, margin):
    solution = solve(Perceptron("spherical"), alpha=rate, kappa=margin)
    overlap = brentq(
        lambda x: margin_step(rate, margin, x) - x / (1 - x) ** 2,
        0.01,
        min(solution["q"] + 0.01, 0.999),
        xtol=1e-15,
    )
    volume = math.log(1 - overlap) / 2 + overlap / (2 * (1 - overlap))
    volume += rate * gaussian(lambda w: log_ndtr((w - margin) / math.sqrt(1 - overlap)), overlap)
    assert solution["q"] == pytest.approx(overlap, abs=1e-10)
    assert solution.free_entropy == pytest.approx(volume, abs=1e-9)


def test_an_interval_is_the_first_moment():
    """q = 0 and log 2 + alpha log erf(kappa/sqrt 2)."""
    solution = solve(Perceptron("ising", "interval"), alpha="1.2", kappa=1)
    assert solution.outcome is Outcome.UNINFORMATIVE
    assert solution["q"] == 0.0
    assert solution.free_entropy == pytest.approx(
        math.log(2) + 1.2 * math.log(math.erf(1 / math.sqrt(2))), abs=1e-14
    )


def test_many_digits_and_a_sweep():
    model = Perceptron("spherical")
    fine = solve(model, digits=30, alpha=1, kappa=0)
    table = sweep(model, alpha=["1/2", 1, "5/2"], kappa=0)
    assert abs(float(table["q"][1]) - float(fine["q"])) < 1e-14
    assert math.isnan(float(table["q"][2]))  # beyond the capacity there is no solution
    assert str(table["outcome"][2].item()).startswith("not converged")


def test_the_entropy_per_pattern_is_the_slope_of_the_entropy():
    """Phi is stationary: dPhi/dalpha = E log Z_out at the solution, by hand."""
    model, step = Perceptron(), 1e-3
    values = [solve(model, alpha=0.5 + k * step, kappa=0).free_entropy for k in (-2, -1, 1, 2)]
    slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    overlap = solve(model, alpha=0.5, kappa=0)["q"]
    assert slope == pytest.approx(gaussian(lambda w: log_ndtr(w / math.sqrt(1 - overlap)), overlap), abs=1e-9)


# -- capacities --


@pytest.mark.parametrize("margin", ["-3/2", 0, "1/3", 1, 4])
def test_the_capacity_of_gardner_comes_out(margin):
    """1/alpha_c = int_{-kappa}^infinity Dt (t + kappa)^2, by mpmath."""
    found = capacity(Perceptron("spherical"), kappa=margin)
    k = mpmath.mpf(sp.Rational(margin).p) / sp.Rational(margin).q
    expected = 1 / mpmath.quad(lambda t: mpmath.npdf(t) * (t + k) ** 2, [-k, max(-k, 0) + 1, mpmath.inf])
    assert found.alpha == pytest.approx(float(expected), rel=1e-13)
    assert found.error < 1e-14 * found.alpha
    assert found.stable is (k >= 0)


PUBLISHED = [
    ("spherical", "margin", 0, 2.0),  # T. M. Cover 1965; Gardner 1988
    ("spherical", "margin", 1, 0.519572229604938),
    ("ising", "margin", 0, 0.833078599739579),  # Krauth and Mezard 1989: 0.833
    ("ising", "margin", 1, 0.270700092293462),
    (
        "ising",
        "interval",
        1,
        1.815875495837207,
    ),  # -log 2/log erf(kappa/sqrt 2): Aubin, Perkins, Zdeborova 2019
]


@pytest.mark.parametrize(("weights", "constraint", "margin", "expected"), PUBLISHED)
def test_published_capacities(weights, constraint, margin, expected):
    found = capacity(Perceptron(weights, constraint), kappa=margin)
    assert found.alpha == pytest.approx(expected, abs=2e-15)
    assert found.error < 1e-13
    assert float(found.to_dict()["capacity"]) == found.alpha


def test_the_entropy_vanishes_at_the_capacity():
    """At thirty digits, and the error claimed is no smaller than the one made."""
    model = Perceptron()
    found = capacity(model, kappa=0)
    fine = [
        float(solve(model, digits=30, alpha=found.alpha + k * 1e-6, kappa=0).free_entropy) for k in (0, 1)
    ]
    assert abs(fine[0] / ((fine[1] - fine[0]) / 1e-6)) < found.error
    annealed = model.annealed_capacity()
    annealed.verify()
    assert annealed.result.subs(kappa, 0) == 1
    assert found.alpha < 1


@pytest.mark.parametrize(
    ("weights", "constraint"),
    [
        ("spherical", "margin"),
        ("ising", "interval"),
        pytest.param("spherical", "interval", marks=pytest.mark.slow),
    ],
)
def test_the_formulas_verify(weights, constraint):
    formula = Perceptron(weights, constraint).capacity_formula()
    assert formula is not None
    assert len(formula.verify()) >= 2


def test_other_constraints():
    """The step at 0 is the margin 0; noise that accepts some fields anyway raises the capacity."""
    assert capacity(Perceptron("spherical", Sign())).alpha == 2
    assert capacity(Perceptron(constraint=Probit()), delta="1/10").alpha > 0.84
    assert 0.95 < capacity(Perceptron(constraint=Logistic())).alpha < 1
    assert capacity(Perceptron(), kappa=-6).alpha == pytest.approx(-math.log(2) / log_ndtr(6.0), rel=1e-6)
    assert capacity(Perceptron(constraint=Probit()), delta="1e-8").alpha == pytest.approx(
        0.833078599739579, abs=1e-4
    )


def test_near_the_capacity_and_beyond():
    """1 - q is proportional to alpha_c - alpha, down to where doubles end, and there is no solution beyond."""
    model, limit = Perceptron("spherical"), 0.519572229604938
    gaps = [solve(model, alpha=limit * (1 - e), kappa=1)["mmse"] / e for e in (1e-4, 1e-5)]
    assert gaps[0] == pytest.approx(gaps[1], rel=2e-3)
    with pytest.raises(NotConvergedError):
        solve(model, alpha=0.53, kappa=1)
    with pytest.raises(NotConvergedError):  # an unstable q = 0 is no answer
        solve(Perceptron("spherical", "interval"), alpha=7, kappa=1)


# -- stability --


@dataclass(frozen=True)
class Bump(Channel):
    """1 with probability exp(-h^2), a weight with which everything is in closed form."""

    name = "bump"
    description = "y = 1 with probability exp(-h^2)"
    outputs = sp.FiniteSet(-1, 1)

    def density(self, y, field):
        """exp(-h^2) or 1 minus that."""
        return sp.Piecewise((sp.exp(-(field**2)), sp.Eq(y, 1)), (1 - sp.exp(-(field**2)), True))

    def pieces(self, y, field):
        return tuple((sp.FiniteSet(v), self.density(v, field)) for v in (-1, 1))

    def sample(self, field, rng, **parameters):
        return 1.0 - 2.0 * (rng.random(field.shape) > np.exp(-(field**2)))


def test_the_replicon_of_the_patterns_is_that_of_the_hessian():
    """For a Gaussian weight log E prod_a exp(-h_a^2) = -(1/2) log det(1 + 2 Q), for four replicas, differentiated
    twice along the replicon direction (12) + (34) - (13) - (24) of norm^2 4.
    """
    overlap, step = 0.4, 1e-3
    base = np.full((4, 4), overlap) + (1 - overlap) * np.eye(4)
    direction = np.zeros((4, 4))
    for (a, b), sign in {(0, 1): 1, (2, 3): 1, (0, 2): -1, (1, 3): -1}.items():
        direction[a, b] = direction[b, a] = sign

    def action(t):
        return -0.5 * np.linalg.slogdet(np.eye(4) + 2 * (base + t * direction))[1]

    curvature = (action(step) - 2 * action(0.0) + action(-step)) / step**2 / 4
    matrix = ReplicaSymmetricMatrix(n, 1, q)
    whole = replicon(Bump(), True, matrix, omega)
    at = {alpha: 1, q: sp.Rational(2, 5)}
    assert float(sp.N(whole.subs(at))) == pytest.approx(1 - curvature * (1 - overlap) ** 2, abs=1e-6)


def test_the_replicon_of_the_sphere_is_that_of_the_hessian():
    """(1/2) log det Q of four replicas, along the same direction."""
    overlap, step = 0.4, 1e-3
    base = np.full((4, 4), overlap) + (1 - overlap) * np.eye(4)
    direction = np.zeros((4, 4))
    for (a, b), sign in {(0, 1): 1, (2, 3): 1, (0, 2): -1, (1, 3): -1}.items():
        direction[a, b] = direction[b, a] = sign
    values = [0.5 * np.linalg.slogdet(base + t * direction)[1] for t in (-step, 0.0, step)]
    curvature = (values[0] - 2 * values[1] + values[2]) / step**2 / 4
    value, _ = sphere_eigenvalues(ReplicaSymmetricMatrix(n, 1, q)).replicon
    assert float(value.subs(q, sp.Rational(2, 5))) == pytest.approx(curvature, abs=1e-4)


def test_longitudinal_eigenvalues_meet_at_no_replicas():
    found = pattern_eigenvalues(lambda moment: moment)
    assert sp.expand(found.longitudinal[0] - found.anomalous[0]) == 0
    assert sp.factor(found.replicon[0] - (SECOND - FIRST**2) ** 2) == 0


def test_the_line_of_almeida_and_thouless():
    """Spherical weights: marginal at kappa = 0 at the capacity, unstable before it for kappa < 0. An even
    constraint: the replicon at q = 0 vanishes where a solution with q > 0 branches off.
    """
    assert capacity(Perceptron("spherical"), kappa=0).replicon == 0
    assert solve(Perceptron("spherical"), alpha="1.9", kappa=0)["replicon"] > 0
    assert solve(Perceptron("spherical"), alpha=10, kappa=-1)["replicon"] < 0
    model = Perceptron("ising", "interval")
    slope = 1 - solve(model, alpha=1, kappa=1)["replicon"]
    density, inside = HEIGHT * math.exp(-0.5), 2 * ndtr(1.0) - 1
    assert slope == pytest.approx((2 * density / inside) ** 2, abs=1e-13)
    below, above = (solve(model, alpha=x / slope, kappa=1) for x in (0.99, 1.01))
    assert below["q"] == 0
    assert 0 < above["q"] < 0.1
    assert above["replicon"] < 0


# -- steps of replica symmetry breaking: spherical weights, negative margin --

BROKEN = Perceptron("spherical", ansatz=OneStepRSB())


@pytest.mark.slow
def test_every_step_of_one_step_verifies():
    derivation = BROKEN.derive()
    assert len(derivation.verify()) >= 15
    compile_latex("\n".join(part.body_latex() for part in (derivation, BROKEN.saddle_point())))
    for name in ("the recursion over levels", "probability of the constraint"):
        step = derivation[name]
        with pytest.raises(ArithmeticError):
            type(step)(step.before, step.after + alpha / 7, step.rule).verify()


def one_step_volume(rate, margin, outer, inner, block):
    """Phi of one step, written by hand with Gauss-Hermite sums."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
    weights = weights / weights.sum()
    shared = math.sqrt(outer) * nodes[:, None] + math.sqrt(inner - outer) * nodes
    log_chance = log_ndtr((shared - margin) / math.sqrt(1 - inner))
    pattern = weights @ np.log(np.exp(block * log_chance) @ weights) / block
    last, first = 1 - inner, 1 - inner + block * (inner - outer)
    weight = math.log(last) / 2 + math.log(first / last) / (2 * block) + outer / (2 * first)
    return weight + rate * pattern


def test_one_step_against_a_minimum_by_hand():
    """Stationary and minimal in the overlaps and the block, below the symmetric solution; unstable still."""
    solution = solve(BROKEN, alpha=10, kappa=-1)
    symmetric = solve(Perceptron("spherical"), alpha=10, kappa=-1)
    at = np.array([solution[name] for name in ("q0", "q1", "m")])
    assert solution.outcome is Outcome.CONVERGED
    assert solution.free_entropy == pytest.approx(one_step_volume(10, -1, *at), abs=1e-9)
    for k in range(3):
        step = 1e-4 * np.eye(3)[k]
        below, here, above = (one_step_volume(10, -1, *(at + s * step)) for s in (-1, 0, 1))
        assert abs(above - below) / 2e-4 < 1e-5
        assert k == 2 or above + below > 2 * here
    assert solution.free_entropy < symmetric.free_entropy - 0.01
    assert symmetric["replicon"] < solution["replicon1"] < 0
    assert solution.errors.total < 1e-8


@pytest.mark.slow
def test_two_steps_lie_lower_and_are_less_unstable():
    one, two = (solve(BROKEN.with_ansatz(KStepRSB(k)), alpha=10, kappa=-1) for k in (1, 2))
    assert two.free_entropy < one.free_entropy - 1e-5
    assert one["replicon1"] < two["replicon2"] < 0
    assert two["q0"] < one["q0"] < two["q1"] < one["q1"] < two["q2"]


def test_where_symmetry_holds_one_step_finds_it_and_beyond_its_capacity_nothing():
    symmetric, one = (solve(m, alpha=5, kappa=-1) for m in (Perceptron("spherical"), BROKEN))
    assert one.outcome is Outcome.SYMMETRIC
    assert one["q1"] == pytest.approx(symmetric["q"], abs=1e-6)
    assert one["replicon0"] == pytest.approx(symmetric["replicon"], abs=1e-6)
    with pytest.raises(NotConvergedError):
        solve(BROKEN, alpha=20, kappa=-1)
    table = sweep(BROKEN, alpha=[5, 9], kappa=-1)
    assert float(table["replicon1"][1]) < 0


def bound_by_hand(outer, ratio, margin):
    """The bound on alpha of one step, by sums over both fields."""
    nodes, line = np.linspace(-8, 8, 121), np.linspace(-9, 9, 901)
    weights, law = (np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum() for x in (nodes, line))
    field = math.sqrt(outer) * nodes[:, None] + math.sqrt(1 - outer) * line
    distance = np.maximum(margin - field, 0)
    pattern = -weights @ np.log(np.exp(-ratio * distance**2 / 2) @ law) / ratio
    spread = 1 + ratio * (1 - outer)
    return (outer / (2 * spread) + math.log(spread) / (2 * ratio)) / pattern


@pytest.mark.parametrize("margin", [-1, pytest.param(-1.5, marks=pytest.mark.slow)])
def test_the_capacity_of_one_step(margin):
    """Below the symmetric one, the least of a bound written by hand, and where the states shrink to points."""
    found, symmetric = (capacity(m, kappa=margin) for m in (BROKEN, Perceptron("spherical")))
    by_hand = minimize(
        lambda x: bound_by_hand(1 / (1 + math.exp(-x[0])), math.exp(x[1]), margin),
        [0.5, 2.0],
        method="Nelder-Mead",
    ).fun
    assert found.alpha == pytest.approx(by_hand, rel=1e-6)
    assert found.alpha < symmetric.alpha
    assert symmetric.replicon < found.replicon < 0
    assert found.condition == "q1 -> 1"
    if margin == -1:
        rates = (found.alpha - 0.3, found.alpha - 0.15)
        far, near = (1 - solve(BROKEN, alpha=x, kappa=-1)["q1"] for x in rates)
        assert rates[1] + 0.15 * near / (far - near) == pytest.approx(found.alpha, abs=0.06)


@pytest.mark.slow
def test_without_breaking_one_step_has_the_symmetric_capacity():
    assert capacity(BROKEN, kappa=1) == capacity(Perceptron("spherical"), kappa=1)


@pytest.mark.slow
def test_the_formula_of_one_step_verifies():
    for constraint in ("margin", "interval"):
        formula = Perceptron("spherical", constraint, OneStepRSB()).capacity_formula()
        assert formula is not None
        assert len(formula.verify()) == 8
        compile_latex(formula.to_latex())


# -- statements --


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Perceptron("sperical"), "did you mean spherical"),
        (lambda: Perceptron("ising", "margn"), "did you mean margin"),
        (lambda: Perceptron("ising", GaussianNoise()), "with 1 among finitely many outputs"),
        (lambda: Perceptron(ansatz=OneStepRSB()), "for spherical weights"),
        (lambda: Perceptron("spherical", ansatz=BayesOptimal()), "must be ReplicaSymmetric"),
        (BROKEN.with_ansatz(KStepRSB(2)).capacity_formula, "and OneStepRSB"),
        (lambda: solve(BROKEN, digits=30, alpha=9, kappa=-1), "at most 15 digits"),
        (lambda: capacity(build("sk", {}), T=1), "has no capacity"),
        (lambda: capacity(Perceptron()), "missing parameter kappa"),
        (lambda: capacity(Perceptron(), kappa=0, alpha=1), "unknown parameter 'alpha'"),
        (lambda: capacity(Perceptron("spherical", "probit"), delta=1), "noisy"),
        (lambda: Perceptron("spherical").annealed_capacity(), "positive on average"),
        (lambda: solve(Perceptron("ising", "interval"), alpha=1, kappa=-1), "kappa must be > 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_by_name():
    model = build("perceptron", {"weights": "spherical", "constraint": "interval"})
    assert model == Perceptron("spherical", "interval", ReplicaSymmetric())
    assert build("perceptron", {}) == Perceptron()


def test_command_line(capsys):
    assert main(["capacity", "perceptron", "weights=spherical", "kappa=1"]) == 0
    assert "0.519572229604938" in capsys.readouterr().out
    assert main(["capacity", "perceptron", "constraint=interval", "kappa=1", "--json"]) == 0
    assert '"condition": "Phi = 0 at q = 0"' in capsys.readouterr().out
    assert main(["capacity", "sk", "T=1"]) == 2
    assert main(["capacity", "perceptron", "kappa=x"]) == 2
    assert "kappa must be" in capsys.readouterr().err
