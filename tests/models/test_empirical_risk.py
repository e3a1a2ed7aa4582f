"""Empirical risk minimisation: every step checks, the numbers are the known ones, the edges behave.

The numbers were computed outside this library, by scalar fixed-point codes written from the textbook equations
and checked by simulation; the closed ridge equation and finite differences of the free entropy are further
witnesses.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex
from scipy import optimize
from scipy.stats import norm

from replica.derivation import Kind
from replica.ingredients.channels import (
    AbsoluteValue,
    GaussianNoise,
    Logistic,
    MarginStep,
    Probit,
    Sign,
    SymmetricInterval,
)
from replica.ingredients.convex import ConvexProfile, U
from replica.ingredients.losses import (
    LOSSES,
    AbsoluteLoss,
    HingeLoss,
    HuberLoss,
    LogisticLoss,
    Loss,
    SquaredHingeLoss,
    SquareLoss,
)
from replica.ingredients.penalties import L1, L2, ElasticNet
from replica.ingredients.priors import GaussBernoulli
from replica.lowering.risk import RiskEquations, _matrix, lower_risk, risk_equations, solve_risk
from replica.models.empirical_risk import EmpiricalRisk
from replica.parameters import validate
from replica.symbols import V, V_hat, m, m_hat, q, q_hat
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.errors import InputError

MODELS = {
    "ridge": EmpiricalRisk(GaussianNoise(), SquareLoss()),
    "logistic": EmpiricalRisk(),
    "least squares on labels": EmpiricalRisk(Sign(), SquareLoss()),
    "hinge": EmpiricalRisk(Sign(), HingeLoss()),
    "squared hinge": EmpiricalRisk(Sign(), SquaredHingeLoss()),
    "lasso": EmpiricalRisk(GaussianNoise(), SquareLoss(), L1(), GaussBernoulli()),
    "huber": EmpiricalRisk(GaussianNoise(), HuberLoss()),
    "absolute": EmpiricalRisk(GaussianNoise(), AbsoluteLoss(), ElasticNet(), GaussBernoulli()),
    "huber on labels": EmpiricalRisk(Sign(), HuberLoss(), L1()),
}
EXPENSIVE = ("huber on labels", "absolute", "squared hinge", "huber", "lasso", "logistic", "hinge")
DEFAULTS = {"alpha": "3/2", "lam": "1/5", "delta": "1/4", "rho": "2/5", "threshold": "3/5", "l1_ratio": "1/3"}


def solved(name, digits=15, backend=None, **params):
    model = MODELS[name]
    return solve_risk(model, validate(model.control_parameters, params), digits, backend=backend)


def default_params(name):
    return {p.name: DEFAULTS[p.name] for p in MODELS[name].control_parameters}


# --- derivation ---------------------------------------------------------------------------------------------


def verify_all(name):
    model = MODELS[name]
    derivations = (model.derive(), *model.saddle_point().derivations)
    for step in (s for d in derivations for s in d.steps):
        assert step.verifiable or step.kind is Kind.DEFINITION, step.name
        step.verify()


def test_every_step_of_the_free_entropy_verifies():
    MODELS["ridge"].derive().verify()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_step_verifies_everywhere(name):
    verify_all(name)


def test_logistic_integral_against_the_proximal_operator():
    MODELS["logistic"].derive()["loss and channel"].verify()


def test_a_wrong_step_is_caught():
    step = MODELS["ridge"].derive()["zero temperature"]
    with pytest.raises(ArithmeticError, match="coupling"):
        dataclasses.replace(step, after=step.after + m * m_hat).verify()


def test_textbook_equations():
    saddle = MODELS["ridge"].saddle_point()
    alpha, lam, delta = (s for _, s in MODELS["ridge"].parameter_symbols())
    expected = {
        m: m_hat / (lam + V_hat),
        q: (m_hat**2 + q_hat) / (lam + V_hat) ** 2,
        V: 1 / (lam + V_hat),
        m_hat: alpha / (1 + V),
        q_hat: alpha * (1 + delta + q - 2 * m) / (1 + V) ** 2,
        V_hat: alpha / (1 + V),
    }
    for unknown, update in expected.items():
        assert sp.simplify(saddle.update(unknown) - update) == 0


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in EXPENSIVE else n for n in MODELS]
)
def test_free_entropy_is_stationary_at_the_solution(name):
    """Differences of Phi in all six unknowns vanish: Phi and the equations are two readings of one model."""
    model = MODELS[name]
    params = default_params(name)
    solution = solved(name, 25, **params)
    backend = MP(40)
    unknowns = [m, q, V, m_hat, q_hat, V_hat]
    values = [backend.number(Fraction(str(solution[x]))) for x in ("m", "q", "V", "m_hat", "q_hat", "V_hat")]
    exact = validate(model.control_parameters, params)
    at = [backend.number(exact[p.name]) for p, _ in model.parameter_symbols()]
    program = lower_risk(
        [model.free_entropy().expression], [*unknowns, *(s for _, s in model.parameter_symbols())]
    )

    def phi(k, step):
        moved = [v * (1 + step) if i == k else v for i, v in enumerate(values)]
        return program.run(backend, [*moved, *at], 1e-18, 8)[0][0]

    step = backend.number(Fraction(1, 10**5))
    for k in range(6):
        slope = (phi(k, step) - phi(k, -step)) / (2 * step)
        assert abs(float(slope)) < 1e-9 * max(1, abs(float(solution.free_entropy))), unknowns[k]


@pytest.mark.parametrize(
    "name",
    ["logistic", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ridge", "lasso", "huber on labels"))],
)
def test_latex_compiles(name):
    model = MODELS[name]
    compile_latex(model.derive().to_latex())
    compile_latex(model.saddle_point().to_latex())
    compile_latex(model.free_entropy().to_latex())
    for derivation in model.saddle_point().derivations:
        compile_latex(derivation.to_latex())


# --- numbers ------------------------------------------------------------------------------------------------

KNOWN = [
    (
        "logistic",
        {"alpha": 2, "lam": "0.01"},
        {
            "m": 3.966267758228174,
            "q": 21.62054567438933,
            "V": 25.123297556925685,
            "generalisation_error": 0.17478105387734305,
            "training_loss": 0.04782588518088908,
        },
    ),
    ("logistic", {"alpha": 2, "lam": "1e-4"}, {"m": 10.353827002723515}),
    (
        "logistic",
        {"alpha": 2, "lam": 1},
        {
            "m": 0.49247851217742944,
            "q": 0.37952800070892156,
            "V": 0.7257440170501028,
            "training_loss": 0.439704749690029,
        },
    ),
    (
        "ridge",
        {"alpha": "0.5", "lam": "0.1", "delta": "0.1"},
        {"m": 0.4258342613226058, "q": 0.4258342613226058, "V": 5.741657386773942},
    ),
    (
        "least squares on labels",
        {"alpha": 2, "lam": "0.1"},
        {"m": 0.7305200633407081, "q": 0.7991387164171768},
    ),
    ("least squares on labels", {"alpha": 5, "lam": 1}, {"m": 0.644226034314248, "q": 0.4730501949938875}),
    (
        "hinge",
        {"alpha": 2, "lam": "0.1"},
        {
            "m": 1.5992947381754847,
            "q": 3.6696077645906278,
            "V": 2.0130030909817545,
            "training_loss": 0.02146084074971963,
        },
    ),
    (
        "hinge",
        {"alpha": 2, "lam": 1},
        {
            "m": 0.7055386929837549,
            "q": 0.7671616831508504,
            "V": 0.4798405792509428,
            "training_loss": 0.24501622820365204,
        },
    ),
    (
        "lasso",
        {"alpha": "0.5", "lam": "0.1", "delta": "0.1", "rho": "0.1"},
        {"mse": 0.08202883867399272, "V": 2.073629828127413, "active_fraction": 0.33732588894589777},
    ),
]


@pytest.mark.parametrize(("name", "params", "expected"), KNOWN)
def test_known_numbers(name, params, expected):
    solution = solved(name, **params)
    assert solution.outcome.converged
    for key, value in expected.items():
        assert solution[key] == pytest.approx(value, rel=2e-12), key


# Roots of the textbook equations, found outside this library: proximal operators by bisection, averages over the field
# by composite Gauss-Legendre, scipy.optimize.root in (atanh(m/sqrt q), log q, log V).
INDEPENDENT = [
    (
        EmpiricalRisk(MarginStep(), HuberLoss(), L1()),  # the channel has a kappa of its own
        {"alpha": "1.85", "lam": "0.0638", "threshold": "0.138", "kappa": "1.1"},
        (0.36991292321062413, 0.7702169380477994, 4.948868492446, 0.056603733326212505),
    ),
    (
        EmpiricalRisk(SymmetricInterval(), HuberLoss()),
        {"alpha": "1.99", "lam": "0.00376", "threshold": "0.6", "kappa": "0.67"},
        (0.0, 1.3694248092485117, 2.011892927638649, 0.18899956959973424),
    ),
    (
        EmpiricalRisk(Sign(), HuberLoss(), L1()),  # labels interpolated
        {"alpha": "0.541", "lam": "7.26e-6", "threshold": "0.624"},
        (0.43165028154558843, 1.096220067444564, 81971.6442775726, 1.0472526666190674e-10),
    ),
    (
        EmpiricalRisk(Probit(), AbsoluteLoss(), ElasticNet()),
        {"alpha": "0.684", "lam": "2.84e-5", "l1_ratio": "0.32", "delta": "0.001"},
        (0.5454803675563563, 1.2373703926099044, 12232.9812605796, None),
    ),
    (
        EmpiricalRisk(Sign(), HingeLoss()),  # separated
        {"alpha": "8", "lam": "1e-6"},
        (7.886651284631451, 64.53306474247795, 18388.730114183334, None),
    ),
    (
        EmpiricalRisk(Probit(), LogisticLoss()),
        {"alpha": "6", "lam": "1e-6", "delta": "0.0001"},
        (46.63649695823599, 2303.7494762155607, 32662.668018399552, 4.803319275186276e-05),
    ),
    (
        EmpiricalRisk(Logistic(), SquareLoss(), L1()),
        {"alpha": "0.93", "lam": "2.37e-6"},
        (0.3843119508194016, 11.644359125742712, 126315.16942566306, 3.862780644133751e-10),
    ),
    (
        EmpiricalRisk(Logistic(), SquaredHingeLoss(), L1()),
        {"alpha": "0.218", "lam": "3.29e-4"},
        (0.09464101238244241, 0.7333554564478945, 2394.4222142327203, 1.4058534761958282e-07),
    ),
]


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [pytest.param(*c, marks=[pytest.mark.slow] if k > 2 else []) for k, c in enumerate(INDEPENDENT)],
)
def test_roots_found_elsewhere(model, params, expected):
    solution = solve_risk(model, validate(model.control_parameters, params))
    assert solution.outcome.converged
    assert solution.backend == "float64"  # no digits are lost on the way
    for name, value in zip(("m", "q", "V", "training_loss"), expected, strict=True):
        if value is not None:
            assert solution[name] == pytest.approx(value, rel=1e-11, abs=1e-15), name


def margin_by_hand(alpha):
    """The largest kappa with w.x y >= kappa |w| on all data: the root of min_R alpha E (kappa - R |z0| -
    sqrt(1 - R^2) z1)_+^2 - (1 - R^2), the average over z1 in closed form.
    """
    pieces = [(0, 0.02), (0.02, 0.2), (0.2, 2), (2, 9)]
    x, weight = np.polynomial.legendre.leggauss(400)
    u = np.concatenate([(a + b) / 2 + (b - a) / 2 * x for a, b in pieces])
    weights = 2 * norm.pdf(u) * np.concatenate([(b - a) / 2 * weight for a, b in pieces])

    def least(kappa):
        def excess(x):
            t = (kappa - np.tanh(x) * u) * np.cosh(x)
            return (alpha * weights @ ((1 + t * t) * norm.cdf(t) + t * norm.pdf(t)) - 1) / np.cosh(x) ** 2

        return optimize.minimize_scalar(excess, bounds=(0.01, 8), method="bounded").fun

    return optimize.brentq(least, 1e-4, 3, xtol=1e-14)


@pytest.mark.parametrize(("alpha", "lam"), [(61.7, "1.741e-5"), (300, "1e-6")])
def test_a_hinge_with_little_penalty_has_the_largest_margin(alpha, lam):
    """q = 1/kappa^2; on the way there the residual is small far from the solution."""
    model = EmpiricalRisk(Sign(), HingeLoss())
    solution = solve_risk(model, validate(model.control_parameters, {"alpha": alpha, "lam": lam}))
    assert solution["q"] == pytest.approx(margin_by_hand(alpha) ** -2, rel=1e-11)


@pytest.mark.parametrize(
    ("teacher", "params"),
    [
        (Sign(), {"alpha": "52.27", "lam": "2.056e-5"}),
        (Probit(), {"alpha": "81.21", "lam": "5e-4", "delta": "2e-4"}),
    ],
)
def test_weights_that_grow_as_the_penalty_falls(teacher, params):
    """The energy's derivative in lam is the penalty, E |w| = -dPhi/dlam: by differences along the solutions."""
    model = EmpiricalRisk(teacher, LogisticLoss(), L1())
    step, lam = 1e-3, float(params["lam"])

    def energy(factor):
        point = validate(model.control_parameters, {**params, "lam": lam * factor})
        return solve_risk(model, point)["energy"]

    solution = solve_risk(model, validate(model.control_parameters, params))
    assert solution.outcome.converged
    slope = (energy(1 + step) - energy(1 - step)) / (2 * step * lam)
    # E |w| of the soft threshold of m_hat w* + sqrt(q_hat) z, over V_hat
    spread = np.sqrt(solution["m_hat"] ** 2 + solution["q_hat"])
    t = lam / spread
    mean = 2 * spread * (norm.pdf(t) - t * norm.sf(t)) / solution["V_hat"]
    assert slope == pytest.approx(mean, rel=1e-6)


def test_a_penalty_that_leaves_no_weights():
    """q = 10^-172: the loss is that of w = 0."""
    model = EmpiricalRisk(Sign(), LogisticLoss(), L1())
    solution = solve_risk(model, validate(model.control_parameters, {"alpha": "0.281", "lam": "8.02"}))
    assert solution["energy"] == pytest.approx(0.281 * np.log(2), rel=1e-14)
    assert 0 < solution["q"] < 1e-170
    assert solution["generalisation_error"] == 0.5


def test_errors_of_a_teacher_nearly_found_are_true():
    """mse = 1 + q - 2 m loses nine digits at alpha = 1000, Delta = 10^-6: more are then taken."""
    params = {"alpha": 1000, "lam": "1e-3", "delta": "1e-6"}
    plain, fine = solved("ridge", **params), solved("ridge", 25, **params)
    assert plain["mse"] == pytest.approx(float(fine["mse"]), rel=1e-12)
    assert plain["q_hat"] == pytest.approx(float(fine["q_hat"]), rel=1e-12)


@pytest.mark.parametrize("name", ["logistic", "hinge", "ridge", "squared hinge"])
def test_six_slopes_give_nine(name):
    """The Jacobian of the conjugates, from the symmetry of second derivatives, against differences."""
    equations = risk_equations(MODELS[name])
    params = default_params(name)
    exact = validate(MODELS[name].control_parameters, params)
    at = np.array([0.4, 0.9, 1.3, *(float(exact[p]) for p in equations.parameters)])
    backend = Float64()

    def run(program, x):
        with backend.context():
            return np.array([float(v) for v in program.run(backend, list(x), 1e-13, 9).values])

    found = _matrix(run(equations.steered, at)[3:])
    for k in range(3):
        step = np.zeros(at.size)
        step[k] = 1e-3
        inner = run(equations.outputs, at + step) - run(equations.outputs, at - step)
        outer = run(equations.outputs, at + 2 * step) - run(equations.outputs, at - 2 * step)
        assert found[:, k] == pytest.approx((8 * inner - outer) / 12e-3, rel=1e-8, abs=1e-10)


def test_parameters_of_two_parts_are_two():
    """Huber's threshold is not the kappa of a channel; a name used twice is refused."""
    names = [p.name for p in EmpiricalRisk(MarginStep(), HuberLoss()).control_parameters]
    assert {"threshold", "kappa"} <= set(names)
    other = dataclasses.make_dataclass(
        "Twice",
        [],
        bases=(L2,),
        frozen=True,
        namespace={"parameters": (*L2.parameters, *GaussianNoise().parameters)},
    )
    with pytest.raises(InputError, match="two parameters are called delta"):
        EmpiricalRisk(GaussianNoise(), SquareLoss(), other())


@pytest.mark.parametrize(
    "name", ["hinge", *(pytest.param(n, marks=pytest.mark.slow) for n in ("logistic", "lasso", "huber"))]
)
def test_thirty_digits_on_two_backends(name):
    params = default_params(name)
    doubles = solved(name, **params)
    fine = solved(name, 30, **params)
    assert fine.outcome.converged
    assert len(str(fine["q"]).replace(".", "").strip("0")) >= 28
    for key, value in doubles.values.items():
        assert float(fine[key]) == pytest.approx(value, rel=1e-11), key
    other = solved(name, 22, backend="mpmath", **params)
    for key, value in other.values.items():
        assert mpmath.almosteq(value, fine[key], 1e-20), key


def test_ridge_closed_equation_to_all_digits():
    """lam V^2 + (lam + alpha - 1) V - 1 = 0, to 40 digits."""
    solution = solved("ridge", 40, alpha="0.5", lam="0.1", delta="0.1")
    with mpmath.workdps(50):
        a, b = mpmath.mpf(1) / 10, mpmath.mpf(6) / 10 - 1
        v = (-b + mpmath.sqrt(b * b + 4 * a)) / (2 * a)
        assert abs(v - solution["V"]) < mpmath.mpf(10) ** -38


def test_energy_is_loss_plus_penalty():
    for name in ("logistic", "hinge"):
        solution = solved(name, **default_params(name))
        expected = 1.5 * solution["training_loss"] + 0.1 * solution["q"]
        assert solution["energy"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_huber_limits():
    """A threshold beyond every residual is the square loss; a small one, per unit of it, the absolute loss."""
    wide = solved("huber", alpha=2, lam="0.1", delta="0.5", threshold=100)
    ridge = solved("ridge", alpha=2, lam="0.1", delta="0.5")
    assert wide["m"] == pytest.approx(ridge["m"], rel=1e-12)
    narrow = solved("huber", alpha=2, lam="1e-7", delta="0.5", threshold="1e-6")
    plain = EmpiricalRisk(GaussianNoise(), AbsoluteLoss())
    absolute = solve_risk(
        plain, validate(plain.control_parameters, {"alpha": 2, "lam": "0.1", "delta": "0.5"})
    )
    assert narrow["q"] == pytest.approx(absolute["q"], rel=1e-5)


@pytest.mark.slow
def test_elastic_net_ends():
    net = EmpiricalRisk(GaussianNoise(), SquareLoss(), ElasticNet(), GaussBernoulli())
    params = {"alpha": "0.5", "lam": "0.1", "delta": "0.1", "rho": "0.1"}
    lasso = solved("lasso", **params)
    at = solve_risk(net, validate(net.control_parameters, {**params, "l1_ratio": 1}))
    assert at["mse"] == pytest.approx(lasso["mse"], rel=1e-12)
    l2 = EmpiricalRisk(GaussianNoise(), SquareLoss(), L2(), GaussBernoulli())
    ridge = solve_risk(l2, validate(l2.control_parameters, params))
    at = solve_risk(net, validate(net.control_parameters, {**params, "l1_ratio": 0}))
    assert at["mse"] == pytest.approx(ridge["mse"], rel=1e-12)
    assert at["active_fraction"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        pytest.param("logistic", {"alpha": 2, "lam": "1e-8"}, marks=pytest.mark.slow),
        ("logistic", {"alpha": "0.01", "lam": "1e-3"}),
        ("logistic", {"alpha": 1000, "lam": "1e-3"}),
        pytest.param("hinge", {"alpha": 2, "lam": "1e-6"}, marks=pytest.mark.slow),
        ("ridge", {"alpha": 2, "lam": 0, "delta": "0.1"}),
        ("lasso", {"alpha": 1, "lam": 50, "delta": "0.1", "rho": "0.1"}),
    ],
)
def test_edges_end_with_a_number_or_an_outcome(name, params):
    solution = solved(name, **params)
    assert solution.outcome.converged == bool(solution.values)
    assert all(np.isfinite(float(v)) for v in solution.values.values())


def test_unregularised_least_squares():
    """alpha > 1, lam = 0: mse = Delta/(alpha - 1), V = 1/(alpha - 1)."""
    solution = solved("ridge", alpha=3, lam=0, delta="0.1")
    assert solution["mse"] == pytest.approx(0.05, rel=1e-12)
    assert solution["V"] == pytest.approx(0.5, rel=1e-12)


# --- refusals -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Cosine(Loss):
    name = "cosine"
    description = "1 - cos u"

    def profile(self):
        return ConvexProfile((), (1 - sp.cos(U),))


@dataclasses.dataclass(frozen=True)
class _Dip(Loss):
    name = "dip"
    description = "-|u|"

    def profile(self):
        return ConvexProfile((sp.S.Zero,), (U, -U))


@pytest.mark.parametrize("loss", [_Cosine(), _Dip()])
def test_non_convex_losses_are_refused(loss):
    with pytest.raises(InputError, match="not convex"):
        EmpiricalRisk(GaussianNoise(), loss)


@pytest.mark.parametrize("part", [{"teacher": "sign"}, {"loss": HingeLoss}, {"penalty": "l2"}])
def test_what_is_no_ingredient_is_refused(part):
    with pytest.raises(InputError, match=f"the {next(iter(part))} must be a"):
        EmpiricalRisk(**part)


def test_unsupported_outputs_are_refused():
    with pytest.raises(InputError, match="needs outputs -1 and 1"):
        EmpiricalRisk(GaussianNoise(), LogisticLoss())
    with pytest.raises(InputError, match="field with Gaussian noise"):
        EmpiricalRisk(AbsoluteValue(), SquareLoss())


def test_penalties_that_leave_no_unique_minimiser_are_refused():
    with pytest.raises(InputError, match="lam must be"):
        solved("logistic", alpha=2, lam=-1)
    with pytest.raises(InputError, match="separable"):
        solved("logistic", alpha=2, lam=0)
    with pytest.raises(InputError, match="alpha <= 1"):
        solved("ridge", alpha="0.5", lam=0, delta="0.1")


# --- ingredients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_values_are_those_of_the_profiles(name):
    loss = LOSSES[name]()
    u, y = sp.Symbol("u", real=True), sp.Integer(-1)
    for value in (-3, sp.Rational(-1, 2), sp.Rational(1, 7), 2):
        at = {s: sp.Rational(3, 5) for s in loss.profile().at(u).free_symbols - {u}}
        field = loss.field(y, value)
        assert float(loss.value(y, field).subs(at)) == pytest.approx(
            float(sp.N(loss.profile().at(u).subs(at).subs(u, value)))
        )


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "logistic"])
def test_branches_of_the_proximal_operator(name):
    """Against a fine grid: minimiser and minimum of (u - s)^2/(2 V) + l(u)."""
    profile = LOSSES[name]().profile()
    s, v = sp.Symbol("s", real=True), sp.Rational(7, 10)
    at = {x: sp.Rational(3, 5) for x in sp.Tuple(*profile.pieces).free_symbols - {U}}
    grid = np.linspace(-12, 12, 480_001)
    curve = sp.lambdify(U, profile.at(U).subs(at), "numpy")(grid)
    branches = profile.branches(s, v)
    for value in (-4, -1.3, -0.2, 0.1, 0.45, 1.2, 5):
        (here,) = [b for b in branches if float(b.lower.subs(at)) < value < float(b.upper.subs(at))]
        total = (grid - value) ** 2 / (2 * float(v)) + curve
        assert float(here.minimiser.subs(at).subs(s, value)) == pytest.approx(grid[total.argmin()], abs=1e-4)
        assert float(here.value.subs(at).subs(s, value)) == pytest.approx(total.min(), abs=1e-8)


def test_equations_are_lowered_once():
    assert isinstance(risk_equations(MODELS["ridge"]), RiskEquations)
    assert risk_equations(MODELS["ridge"]) is risk_equations(EmpiricalRisk(GaussianNoise(), SquareLoss()))
