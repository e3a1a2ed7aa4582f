"""Spins with Gaussian energies: the derivation, published numbers, limits in closed form, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp
from latex_engine import compile_latex
from scipy.optimize import minimize, minimize_scalar

from replica import sweep, validate
from replica.ansatz import BayesOptimal, FullRSB, KStepRSB, OneStepRSB, ReplicaSymmetric
from replica.api import solve
from replica.expr.average import GaussianAverage
from replica.expr.stable import log2cosh
from replica.field_rules import shared_fields
from replica.models.gaussian_field import GaussianField, p_spin, sherrington_kirkpatrick
from replica.symbols import V, beta, h, q, q_hat
from solvers.errors import InputError
from solvers.solution import Outcome

SK = sherrington_kirkpatrick
(w,) = shared_fields(1)


def mixed(overlap):
    return overlap**3 / 2 + overlap**4 / 4


ANSATZE = [ReplicaSymmetric(), OneStepRSB(), pytest.param(KStepRSB(2), marks=pytest.mark.slow)]


@pytest.mark.parametrize("ansatz", ANSATZE, ids=lambda a: a.name)
@pytest.mark.parametrize("spins", ["ising", "spherical"])
def test_every_step_verifies(spins, ansatz):
    model = GaussianField(mixed, spins, ansatz)
    comparisons = model.derive().verify()
    assert len(comparisons) >= 5
    for derivation in model.saddle_point().derivations:
        derivation.verify()


@pytest.mark.parametrize("ansatz", [ReplicaSymmetric(), OneStepRSB(), KStepRSB(2)], ids=lambda a: a.name)
def test_everything_printed_compiles(ansatz):
    model = SK(ansatz)
    for part in (model.derive(), model.free_entropy(), model.saddle_point()):
        compile_latex(part.to_latex())


def test_wrong_steps_are_caught():
    derivation = SK(OneStepRSB()).derive()
    for name in ("average over the energies; overlaps", "Hubbard-Stratonovich on the spins", "n -> 0"):
        step = derivation[name]
        with pytest.raises(ArithmeticError):
            type(step)(
                step.before, step.after + beta**2 / 7 * sp.Symbol("n", nonnegative=True), step.rule
            ).verify()


def test_text_is_parsed_and_a_tampered_ground_state_is_caught():
    assert GaussianField("q^2/2 + 0.25*q^3") == GaussianField(lambda overlap: overlap**2 / 2 + overlap**3 / 4)
    step = SK(OneStepRSB()).ground_state().derive()["average of |w|"]
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after + sp.Rational(1, 7), step.rule).verify()


# -- published equations, term by term --


def test_sk_free_entropy_coupling():
    """Sherrington and Kirkpatrick 1975, eq. (9): (beta^2/4)(1 - q)^2 + E log 2cosh beta(sqrt(q) z + h)."""
    expected = beta**2 * (1 - q) ** 2 / 4 + GaussianAverage(log2cosh(w), w, beta * h, beta**2 * q)
    assert sp.expand(SK().free_entropy().expression - expected) == 0


def test_sk_overlap_is_the_mean_square_magnetisation():
    assert SK().saddle_point().update(q) == GaussianAverage(sp.tanh(w) ** 2, w, beta * h, q_hat)


def test_the_conjugate_is_the_slope_of_the_covariance():
    found = GaussianField(mixed).saddle_point().update(q_hat)
    assert sp.expand(found - beta**2 * (3 * q**2 / 2 + q**3)) == 0


def test_one_step_energies_of_a_p_spin():
    """Gross and Mezard 1984: (beta^2/4)[1 + (p-1)(1-m) q1^p - p q1^(p-1)] and the same with m in q0."""
    model = p_spin(3, ansatz=OneStepRSB())
    q0, q1 = model.ansatz.overlaps(q)
    (m,) = model.ansatz.blocks
    phi = model.free_entropy().expression
    plain = phi.xreplace(dict.fromkeys(phi.atoms(GaussianAverage), sp.S.Zero))
    assert sp.expand(plain - beta**2 / 4 * (1 + 2 * m * q0**3 + 2 * (1 - m) * q1**3 - 3 * q1**2)) == 0


def test_one_step_spherical_free_entropy():
    """Crisanti and Sommers 1992: (beta^2/4)[1 - (1-m) q^p] + ((m-1)/2m) log(1-q) + (1/2m) log(1-(1-m)q)."""
    model = p_spin(3, "spherical", OneStepRSB())
    q0, q1 = model.ansatz.overlaps(q)
    (m,) = model.ansatz.blocks
    expected = (
        beta**2 / 4 * (1 - (1 - m) * q1**3)
        + (m - 1) / (2 * m) * sp.log(1 - q1)
        + sp.log(1 - (1 - m) * q1) / (2 * m)
    )
    at = [(q0, 0), (h, 0), (q1, sp.Rational(2, 3)), (m, sp.Rational(3, 5)), (beta, 2)]
    assert abs(sp.N((model.free_entropy().expression - expected).subs(at), 20)) < 1e-18


# -- numbers (computed outside this library unless a source is named) --


def test_sk_at_half_the_critical_temperature():
    solution = solve(SK(), T=0.5)
    assert solution["q"] == pytest.approx(0.5303683920507946, abs=1e-12)
    assert solution["f"] == pytest.approx(-0.7923929451346979, abs=1e-13)
    assert solution["replicon"] < 0


def test_one_step_of_sk_has_a_nonzero_outer_overlap():
    solution = solve(SK(OneStepRSB()), T=0.5)
    assert solution["m"] == pytest.approx(0.28184264456, abs=1e-10)
    assert solution["q0"] == pytest.approx(0.21463106457, abs=1e-10)
    assert solution["q1"] == pytest.approx(0.61920088536, abs=1e-10)
    assert solution.errors.total < 1e-9


def test_one_step_of_the_ising_three_spin():
    solution = solve(p_spin(3, ansatz=OneStepRSB()), T=0.5)
    assert solution["q0"] == 0
    assert solution["m"] == pytest.approx(0.709947948276787, abs=1e-12)
    assert solution["q1"] == pytest.approx(0.8931014271495515, abs=1e-13)
    assert solution["f"] == pytest.approx(-0.8231361419794834, abs=1e-13)


@pytest.mark.slow
def test_steps_of_breaking_raise_the_free_energy():
    """A two-step solution lies above one step, and below the full one: at T = 0.5, -0.7911914 < f."""
    one, two = (solve(SK(KStepRSB(k)), T=0.5) for k in (1, 2))
    assert one["f"] < two["f"] < one["f"] + 1e-4
    assert two["q0"] < two["q1"] < two["q2"]


@pytest.mark.parametrize(("steps", "T"), [(2, "19/20"), pytest.param(3, "1/2", marks=pytest.mark.slow)])
def test_every_step_raises_the_free_energy_of_sk(steps, T):
    """Also near T = 1, where a step raises it by 1e-10."""
    fewer, more = (solve(SK(KStepRSB(k)), T=T) for k in (steps - 1, steps))
    assert more.outcome is Outcome.CONVERGED
    assert 1e-11 < more["f"] - fewer["f"] < 1e-4


def test_a_step_that_raises_nothing_is_not_taken():
    """One step is exact for the three-spin between T_G = 0.240 and T_K = 0.651."""
    one, two = (solve(p_spin(3, ansatz=KStepRSB(k)), T=0.5) for k in (1, 2))
    assert two.outcome is Outcome.FEWER
    assert two["f"] == one["f"]
    assert [two[name] for name in ("q0", "q1", "q2", "m1", "m2")] == [0, 0, one["q1"], one["m"], one["m"]]
    below = solve(p_spin(3, ansatz=KStepRSB(2)), T=0.2)
    assert below.outcome is Outcome.CONVERGED
    assert below["f"] > solve(p_spin(3, ansatz=OneStepRSB()), T=0.2)["f"] + 1e-8


@pytest.mark.parametrize("model", [p_spin(3, ansatz=OneStepRSB()), p_spin(3, "spherical", OneStepRSB())])
def test_low_temperatures_join_the_ground_state(model):
    """f = e - s T with the entropy of the ground state for Ising spins, and the overlaps of that state."""
    ground, cold = solve(model, T=0), solve(model, T="1/100")
    assert cold["m"] == pytest.approx(ground["a"] / 100, rel=0.03)
    assert 1 - cold["q1"] == pytest.approx(ground["V"] / 100, rel=0.03)
    if model.spins == "ising":
        slope = (cold["f"] - ground["energy"]) * 100
        assert slope == pytest.approx(-ground["entropy"], abs=5e-4)


GROUND = {
    0: -math.sqrt(2 / math.pi),  # Sherrington and Kirkpatrick 1975
    1: -0.7652594346736825,
    2: -0.7636080105384704,
    5: -0.7631975323861,
}


@pytest.mark.parametrize("steps", [0, 1, 2, pytest.param(5, marks=pytest.mark.slow)])
def test_ground_state_of_sk(steps):
    """The energy rises with the steps, towards -0.763166 (Parisi 1980)."""
    solution = solve(SK(KStepRSB(steps) if steps else ReplicaSymmetric()), T=0)
    assert solution["energy"] == pytest.approx(GROUND[steps], abs=2e-13)
    assert solution.errors.total < 1e-7


def test_one_step_of_sk_at_zero_temperature_has_a_nonzero_outer_overlap():
    assert solve(SK(OneStepRSB()), T=0)["q0"] == pytest.approx(0.47678, abs=5e-6)


@pytest.mark.parametrize("ansatz", [ReplicaSymmetric(), OneStepRSB()], ids=lambda a: a.name)
def test_the_limit_is_approached(ansatz):
    """Energies at low temperature tend to that of the ground state, with a correction of order T^2; the
    steps of the limit verify.
    """
    model = GaussianField(mixed, ansatz=ansatz)
    ground = solve(model, T=0, h="1/5")["energy"]
    first, second = (solve(model, T=T, h="1/5")["energy"] for T in ("1/10", "1/20"))
    assert abs(second - ground) < 0.35 * abs(first - ground) < 0.01
    assert model.ground_state().derive().verify()


def test_ground_state_of_the_three_spin():
    """With q_0 = 0 the energy is the largest over a of (1/a) log E e^(a|w|) - a/4 (p - 1), w of variance p/2:
    by a scan with quadrature written here.
    """
    solution = solve(p_spin(3, ansatz=OneStepRSB()), T=0)
    u = np.linspace(-30, 30, 60_001)
    weight = np.exp(-(u**2) / 3) / np.sqrt(3 * np.pi) * (u[1] - u[0])

    def minus_energy(a):
        return np.log(np.sum(weight * np.exp(a * np.abs(u)))) / a - a / 2

    found = minimize_scalar(minus_energy, bounds=(0.1, 5), method="bounded", options={"xatol": 1e-9})
    assert solution["energy"] == pytest.approx(-found.fun, abs=1e-7)
    assert solution["q0"] == 0
    assert solution["a"] == pytest.approx(found.x, abs=1e-4)


def test_a_mixed_model_at_one_step():
    """Stationary by differences of its own free energy, and above the replica-symmetric one."""
    model = GaussianField(mixed, ansatz=OneStepRSB())
    solution = solve(model, T=0.4)
    assert solution.outcome is Outcome.CONVERGED
    assert solution["f"] > solve(model.with_ansatz(ReplicaSymmetric()), T=0.4)["f"]
    step = 1e-4
    up, down = (solve(model, T=0.4 + sign * step)["f"] for sign in (1, -1))
    assert -(up - down) / (2 * step) == pytest.approx(solution["entropy"], abs=1e-6)


def test_high_temperature_is_annealed():
    """Above every transition q = 0, Phi = log 2 + beta^2 xi(1)/2; and with steps the outcome says so."""
    for model in (GaussianField(mixed), GaussianField(mixed, ansatz=OneStepRSB())):
        solution = solve(model, T=2)
        assert solution.free_entropy == pytest.approx(math.log(2) + 0.75 / 8, abs=1e-14)
    assert solution.outcome is Outcome.SYMMETRIC
    assert "m" not in solution.values


def test_spherical_pure_two_spin():
    """Kosterlitz, Thouless and Jones 1976: q = 1 - T below T = 1, e = T/2 - 1 (unit variance couplings)."""
    solution = solve(GaussianField(lambda overlap: overlap**2 / 2, "spherical"), T=0.4, start="informed")
    assert solution["q"] == pytest.approx(0.6, abs=1e-12)
    assert solution["energy"] == pytest.approx(0.4 / 2 - 1, abs=1e-12)


def test_a_field_on_free_spins():
    """At high temperature and small covariance: m = tanh(beta h), q = m^2 to leading order in beta^2."""
    solution = solve(GaussianField(lambda overlap: overlap**2 / 10**8), T=1, h=0.7)
    assert solution["q"] == pytest.approx(math.tanh(0.7) ** 2, abs=1e-7)


def test_sweeps_have_every_value():
    table = sweep(SK(), T=[0.5, 0.8, 1.2], h=0)
    assert list(table["q"].values > 1e-6) == [True, True, False]
    assert set(table) >= {"q", "f", "energy", "entropy", "replicon", "outcome"}


# -- zero temperature --


def test_entropy_of_the_ground_state_of_sk():
    """-1/(2 pi) replica symmetric (Sherrington and Kirkpatrick 1975); -0.01 and -0.004 with one and two steps
    (Parisi 1980), and the limit of the entropy at T > 0.
    """
    assert solve(SK(), T=0)["entropy"] == pytest.approx(-1 / (2 * math.pi), abs=1e-15)
    at_field = -np.exp(-0.49) / (2 * math.pi)
    assert solve(SK(), T=0, h=0.7)["entropy"] == pytest.approx(at_field, abs=1e-15)
    for steps, published in ((1, -0.01), (2, -0.004)):
        model = SK(KStepRSB(steps))
        found = solve(model, T=0)["entropy"]
        assert found == pytest.approx(published, abs=0.005)
    model = SK(OneStepRSB())
    found = solve(model, T=0, h="1/5")["entropy"]
    first, second = (solve(model, T=T, h="1/5")["entropy"] - found for T in ("1/25", "1/50"))
    assert abs(second - first / 2) < 0.1 * abs(first) < 0.01


@pytest.mark.parametrize("ansatz", ANSATZE, ids=lambda a: a.name)
def test_the_entropy_of_a_ground_state_verifies_and_compiles(ansatz):
    derivation = GaussianField(mixed, ansatz=ansatz).ground_state().entropy()
    assert len(derivation.verify()) > 5
    compile_latex(derivation.to_latex())


def test_a_wrong_entropy_is_caught():
    step = SK(OneStepRSB()).ground_state().entropy()["first order in T"]
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after + V**2 / 7, step.rule).verify()


@pytest.mark.parametrize("p", [3, 4, 5])
def test_spherical_ground_states(p):
    """Crisanti and Sommers 1992, with q_0 = 0: the minimum over V and a, here by a scan of the stationarity in
    a, of V p/4 + a/4 + log(1 + a/V)/(2a); for p = 3 the energy is -1.171674779265288.
    """
    found = solve(p_spin(p, "spherical", OneStepRSB()), T=0)

    def minus_energy(x):
        response, slope = np.exp(x)
        return response * p / 4 + slope / 4 + np.log1p(slope / response) / (2 * slope)

    scan = minimize(minus_energy, [-1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    assert found["energy"] == pytest.approx(-scan.fun, abs=1e-13)
    if p == 3:
        assert found["energy"] == pytest.approx(-1.171674779265288, abs=1e-14)
    assert found["q0"] == 0


def test_spherical_ground_states_without_breaking():
    """e = -sqrt(xi'(1) + h^2) where the field is strong enough: xi''(1) < xi'(1) + h^2."""
    model = GaussianField(mixed, "spherical")
    for ansatz in (ReplicaSymmetric(), OneStepRSB(), KStepRSB(2)):
        found = solve(model.with_ansatz(ansatz), T=0, h=3)
        assert found["energy"] == pytest.approx(-math.sqrt(2.5 + 9), abs=1e-14)
        assert found.outcome is (Outcome.SYMMETRIC if ansatz.steps else Outcome.CONVERGED)
    assert solve(model.with_ansatz(OneStepRSB()), T=0, h=1).outcome is Outcome.CONVERGED


def test_the_spherical_limit_is_approached():
    """With a field and two overlaps: energies differ by e T at low T, since every spin has kT/2."""
    model = GaussianField("q^2/2+q^4/3", "spherical", OneStepRSB())
    ground = solve(model, T=0, h="1/5")
    warm = [solve(model, T=T, h="1/5") for T in ("1/20", "1/40")]
    gaps = [s["energy"] - ground["energy"] for s in warm]
    assert 2 * gaps[1] - gaps[0] == pytest.approx(0, abs=2e-3)
    assert gaps[1] == pytest.approx(1 / 80, abs=2e-3)
    assert model.ground_state().derive().verify()
    compile_latex(model.ground_state().derive().to_latex())
    with pytest.raises(InputError, match="as log T"):
        model.ground_state().entropy()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (lambda: GaussianField(lambda overlap: -(overlap**2)), "coefficients >= 0"),
        (lambda: GaussianField(lambda overlap: 1 / (1 - overlap)), "finite from q = 0 to 1"),
        (lambda: GaussianField(lambda overlap: 3), "depend on q"),
        (lambda: GaussianField('__import__("os").getpid()*q'), "sum of terms"),
        (lambda: GaussianField(lambda overlap: '__import__("os").getpid()*q'), "sum of terms"),
        (lambda: GaussianField(object()), "not object"),  # pyright: ignore[reportArgumentType]
        (lambda: GaussianField(lambda overlap: overlap * sp.Symbol("g")), "in q alone"),
        (lambda: GaussianField(lambda overlap: overlap**2, "potts"), "spins must be one of"),
        (
            lambda: GaussianField(lambda overlap: overlap**2, ansatz=BayesOptimal()),  # pyright: ignore[reportArgumentType]
            "ansatz must be",
        ),
        (lambda: p_spin(1), "p must be"),
        (lambda: solve(SK(), T=-1), "T must be >= 0"),
        (lambda: solve(SK(KStepRSB(2)), T=0.5, digits=30), "more than 15 digits"),
        (lambda: solve(SK()), "T"),
    ],
)
def test_bad_statements(statement, message):
    with pytest.raises(InputError, match=message):
        statement()


def test_levels_inside_levels_are_printed_by_name():
    """Two steps fit the page: phi_i and <g>_i by name, each with its definition."""
    for text in (SK(KStepRSB(2)).saddle_point().body_latex(), SK(KStepRSB(2)).free_entropy().body_latex()):
        assert r"\varphi_{2}(w_{1}) &=" in text
        assert max(map(len, text.splitlines())) < 500
    assert r"\left\langle g\right\rangle_{1} &=" in SK(KStepRSB(2)).saddle_point().body_latex()
    assert "varphi" not in SK(OneStepRSB()).saddle_point().body_latex()


def exponential(overlap):
    return sp.exp(overlap) - 1 - overlap


def truncated(overlap):
    """The same up to 1e-17."""
    return sum(overlap**k / sp.factorial(k) for k in range(2, 19))


@pytest.mark.parametrize(
    ("ansatz", "point"),
    [
        (ReplicaSymmetric(), {"T": "0.6"}),
        (ReplicaSymmetric(), {"T": 0, "h": "0.1"}),
        (OneStepRSB(), {"T": "0.6"}),
        pytest.param(OneStepRSB(), {"T": 0, "h": "0.1"}, marks=pytest.mark.slow),
    ],
)
def test_a_covariance_that_is_no_polynomial_is_its_series(ansatz, point):
    one, other = (solve(GaussianField(xi, ansatz=ansatz), **point) for xi in (exponential, truncated))
    assert one.values.keys() == other.values.keys()
    for name, value in one.values.items():
        assert value == pytest.approx(other[name], abs=1e-9)


def test_a_covariance_that_is_no_polynomial_verifies():
    model = GaussianField(lambda overlap: overlap / (2 - overlap))
    assert model.derive().verify()
    assert model.ground_state().derive().verify()


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (lambda overlap: 1 / (1 - overlap), "finite from q = 0 to 1"),
        (lambda overlap: -sp.log(1 - overlap), "finite from q = 0 to 1"),
        (sp.cos, "coefficients >= 0"),
        (sp.sqrt, "power series"),
    ],
)
def test_what_is_no_covariance(covariance, message):
    with pytest.raises(InputError, match=message):
        GaussianField(covariance)


def test_where_only_polynomials_are_taken():
    with pytest.raises(InputError, match="polynomial covariances"):
        GaussianField(exponential, ansatz=FullRSB())
    with pytest.raises(InputError, match="takes a polynomial"):
        GaussianField(exponential, "spherical").ground_state()
    with pytest.raises(InputError, match="couplings of orders"):
        validate(GaussianField(exponential), T=2)
