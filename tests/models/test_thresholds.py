"""Thresholds of spins with Gaussian energies, and the states that one step of breaking counts.

Numbers without a source were computed outside this library.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from latex_engine import compile_latex
from scipy.integrate import quad

from replica import solve, sweep, threshold
from replica.ansatz import KStepRSB, OneStepRSB
from replica.cli import main
from replica.ingredients.priors import SparseRademacher
from replica.models import EmpiricalRisk, SpikedMatrix
from replica.models.gaussian_field import GaussianField, p_spin, sherrington_kirkpatrick
from solvers.errors import InputError, NotConvergedError
from solvers.solution import Outcome

SK = sherrington_kirkpatrick
THREE = p_spin(3, ansatz=OneStepRSB(m=1))
SPHERE = p_spin(3, "spherical", OneStepRSB(m=1))
AT, T_D, T_K, T_G = 0.5351049431153835, 0.6815980405760866, 0.6513852269359211, 0.24026003638047513


# -- one step at a given size of the blocks --


def at_one(T, q):
    """Of the Ising three-spin at m = 1: E tanh(t + sqrt(t) z) - q, and the complexity."""
    t = 1.5 * q**2 / T**2

    def average(g):
        body = quad(
            lambda z: np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * g(t + math.sqrt(t) * z),
            -10,
            10,
            epsabs=1e-13,
        )
        return body[0]

    log2cosh = average(lambda w: abs(w) + math.log1p(math.exp(-2 * abs(w))))
    return average(math.tanh) - q, math.log(2) + t / 2 + q**3 / (2 * T**2) - log2cosh


def test_the_states_at_m_equal_to_one():
    """q = E tanh(t + sqrt(t) z), and Sigma = ln 2 + t/2 + (beta^2/4)(p-1) q^p - E ln 2cosh(t + sqrt(t) z)."""
    found = solve(THREE, T=0.66, start="informed")
    equation, complexity = at_one(0.66, found["q1"])
    assert abs(equation) < 1e-12
    assert found["complexity"] == pytest.approx(complexity, abs=1e-12)
    assert found.free_entropy == pytest.approx(math.log(2) + 0.25 / 0.66**2, abs=1e-14)
    assert found["q0"] == 0


def test_the_complexity_is_a_legendre_transform():
    """Sigma(f) has the slope beta m, and d(m f)/dm = f_state, by differences of separate solves."""
    m, step, T = 0.9, 1e-4, 0.6
    table = sweep(p_spin(3, ansatz=OneStepRSB()), T=T, m=[m - step, m, m + step])
    sigma, state, f = (table[name].values for name in ("complexity", "f_state", "f"))
    assert (sigma[2] - sigma[0]) / (state[2] - state[0]) == pytest.approx(m / T, rel=1e-6)
    sizes = np.array([m - step, m, m + step])
    assert (sizes * f)[2] - (sizes * f)[0] == pytest.approx(2 * step * state[1], rel=1e-7)
    assert sigma[1] == pytest.approx(m / T * (state[1] - f[1]), abs=1e-13)


def test_spherical_states_at_m_equal_to_one():
    """q^(p-2) (1-q) = 2 T^2/p, whose solution at T = 0.6, p = 3 is 3/5."""
    found = solve(SPHERE, T="3/5")
    assert found["q1"] == pytest.approx(0.6, abs=1e-14)
    sigma = 0.5 * math.log(1 / (1 - 0.6)) - 0.6 / 2 - 0.6**3 / (4 * 0.36)
    assert found["complexity"] == pytest.approx(sigma, abs=1e-14)


def test_the_stationary_size_has_no_complexity():
    one = solve(p_spin(3, ansatz=OneStepRSB()), T=0.5)
    given = solve(p_spin(3, ansatz=OneStepRSB(m=1)), T=0.5, m=one["m"])
    assert given["complexity"] == pytest.approx(0, abs=1e-13)
    assert given["f_state"] == pytest.approx(one["f"], abs=1e-13)


def test_two_overlaps_at_a_given_size():
    """With a field both overlaps are unknown: Phi is stationary in both, and its minimum over m is one step's."""
    model = GaussianField("q^2/2+q^3/4", ansatz=OneStepRSB())
    one = solve(model, T=0.5, h="1/5")
    given = solve(model, T=0.5, h="1/5", m=one["m"])
    assert [given[name] for name in ("q0", "q1")] == pytest.approx([one["q0"], one["q1"]], abs=1e-9)
    other = solve(model, T=0.5, h="1/5", m=one["m"] + 0.05)
    assert other.free_entropy > one.free_entropy


def test_without_another_solution_the_outcome_says_so():
    for model in (THREE, SPHERE):
        found = solve(model, T=0.69)
        assert found.outcome is Outcome.ALONE
        assert found["q1"] == found["q0"] == 0
    assert solve(THREE, T=0.66, start="uninformed")["q1"] == 0


def test_what_counts_states_verifies_and_compiles():
    for model in (THREE, SPHERE):
        for derivation in (model.complexity(), model.state_free_energy()):
            assert derivation.verify()
            compile_latex(derivation.to_latex())
        for derivation in model.saddle_point().derivations:
            derivation.verify()
    step = THREE.complexity().steps[-1]
    with pytest.raises(ArithmeticError):
        type(step)(step.before, step.after * 2, step.rule).verify()


# -- thresholds --


def test_the_line_of_de_almeida_and_thouless():
    found = threshold(SK(), "T", condition="replicon", between=(0.3, 1), h=0.5)
    assert found.value == pytest.approx(AT, abs=1e-15)
    assert found.error < 1e-12
    assert found.solution["q"] == pytest.approx(solve(SK(), T=found.value, h=0.5)["q"], abs=1e-12)
    along_h = threshold(SK(), "h", condition="replicon", near=0.45, T=AT)
    assert along_h.value == pytest.approx(0.5, abs=1e-14)


def test_where_states_appear():
    """T_d is the end of the solution at m = 1; Kirkpatrick and Thirumalai 1987."""
    found = threshold(THREE, "T", condition="fold", between=(0.6, 0.8), start="informed")
    assert found.value == pytest.approx(T_D, abs=3e-16)
    assert found.error < 1e-13
    assert found.solution["q1"] == pytest.approx(0.64314360504137, abs=1e-11)
    assert found.solution["complexity"] == pytest.approx(0.022672352112385, abs=1e-14)
    assert threshold(THREE, "T", condition="fold", near=0.6).value == pytest.approx(T_D, abs=1e-15)


def test_where_the_number_of_states_is_no_longer_exponential():
    found = threshold(THREE, "T", condition="complexity", between=(0.6, 0.67))
    assert found.value == pytest.approx(T_K, abs=2e-15)
    equation, complexity = at_one(found.value, found.solution["q1"])
    assert max(abs(equation), abs(complexity)) < 1e-12


def test_the_instability_of_one_step():
    """E. Gardner, Nucl. Phys. B 257 (1985) 747."""
    model = p_spin(3, ansatz=OneStepRSB())
    found = threshold(model, "T", condition="replicon1", between=(0.2, 0.4))
    assert found.value == pytest.approx(T_G, abs=1e-14)
    assert found.solution["m"] == pytest.approx(0.3285555255912, abs=1e-12)


def test_spherical_thresholds():
    """Crisanti and Sommers 1992: T_d = sqrt(p (p-2)^(p-2) / (2 (p-1)^(p-1))), sqrt(3/8) at p = 3."""
    assert threshold(SPHERE, "T", condition="fold", near=0.5).value == pytest.approx(
        math.sqrt(3 / 8), abs=2e-16
    )
    four = p_spin(4, "spherical", OneStepRSB(m=1))
    assert threshold(four, "T", condition="fold", near=0.5).value == pytest.approx(
        math.sqrt(8 / 27), abs=2e-16
    )
    static = threshold(SPHERE, "T", condition="complexity", between=(0.5, 0.6))
    assert static.value == pytest.approx(0.5860539724173638, abs=2e-15)


def test_two_branches_of_equal_free_entropy():
    """At m = 9/10 the states and the symmetric solution meet where the integral of Sigma/m^2 from m to 1, the
    difference of their free entropies, vanishes: by quadrature over separate solves.
    """
    model = p_spin(3, ansatz=OneStepRSB())
    found = threshold(
        model, "T", condition="coexistence", between=(0.6, 0.645), start=("informed", "uninformed"), m="9/10"
    )
    assert found.other is not None
    assert found.other["q1"] == 0
    nodes, weights = np.polynomial.legendre.leggauss(6)
    sizes = 0.95 + 0.05 * nodes
    sigma = [solve(model, T=found.value, m=m)["complexity"] for m in sizes]
    assert np.sum(0.05 * weights * np.array(sigma) / sizes**2) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("condition", "between", "start", "value"),
    [
        ("fold", (0.98, 0.9), "informed", 0.9607438940607923),
        pytest.param("fold", (1.01, 1.1), "uninformed", 1.019583826746189, marks=pytest.mark.slow),
        pytest.param("coexistence", (0.965, 0.99), None, 0.971420541446437, marks=pytest.mark.slow),
    ],
)
def test_thresholds_of_a_sparse_spike(condition, between, start, value):
    """x = +-1/sqrt(rho) with probability rho = 0.08: a first-order transition of the Bayes-optimal overlap
    between its two spinodals; at coexistence the estimate with no overlap is as good as the informed one.
    """
    model = SpikedMatrix(SparseRademacher())
    found = threshold(model, "lam", condition=condition, between=between, start=start, rho="0.08")
    assert found.value == pytest.approx(value, abs=2e-14)
    assert found.error < 1e-12
    if condition == "coexistence":
        assert found.other is not None
        assert found.other["q"] == pytest.approx(0, abs=1e-12)


def test_a_degenerate_threshold_is_given_with_its_error():
    """Without a field the replicon of SK touches 0 at T = 1, where q vanishes: no double tells where."""
    found = threshold(SK(), "T", condition="replicon", between=(0.8, 1.1))
    assert abs(found.value - 1) < found.error < 1e-3


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            lambda: threshold(SK(), "T", condition="replicon", between=(0.3, 0.4), h=0.5),
            "does not change sign",
        ),
        (lambda: threshold(SK(), "S", condition="replicon", near=0.3, h=0.5), "unknown parameter 'S'"),
        (lambda: threshold(SK(), "T", condition="replicom", near=0.3, h=0.5), "did you mean replicon"),
        (lambda: threshold(SK(), "T", condition="replicon", h=0.5), "either between"),
        (lambda: threshold(SK(), "T", condition="replicon", between=(1, 1)), "two different values"),
        (lambda: threshold(SK(), "T", condition="replicon", near=-1), "T must be >= 0"),
        (lambda: threshold(SK(), "T", condition="replicon", near=1, T=1), "what is looked for"),
        (lambda: threshold(SK(), "T", condition="fold", between=(0.6, 0.9), h=0.1), "no fold"),
        (lambda: threshold(SK(), "T", condition="coexistence", between=(0.6, 0.9), h=0.1), "same solution"),
        (lambda: threshold(SK(), "T", condition="coexistence", near=1, start="global"), "two starts"),
        (lambda: threshold(SK(), "T", condition="fold", near=1, start=("informed", "global")), "coexistence"),
        (
            lambda: threshold(EmpiricalRisk(), "alpha", condition="fold", near=1, lam=1),
            "not looked for",
        ),
        (lambda: KStepRSB(2, m=1), "for one step"),
        (lambda: OneStepRSB(m=0), "m must be > 0"),
        (lambda: solve(THREE, T=0), "needs T > 0"),
        (lambda: solve(SK(), T=1, m=1), "unknown parameter 'm'"),
    ],
)
def test_bad_questions(statement, message):
    with pytest.raises(InputError, match=message):
        statement()


def test_no_solution_to_begin_with():
    with pytest.raises(NotConvergedError, match="no such solution"):
        threshold(p_spin(3, ansatz=OneStepRSB()), "T", condition="replicon1", between=(0.8, 0.9))


def test_from_the_command_line(capsys):
    words = "threshold sk T between=0.3,1 condition=replicon h=0.5 --json"
    assert main(words.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["T"] == pytest.approx(AT, abs=1e-15)
    assert main(["solve", "pspin", "ansatz=1rsb", "m=1", "T=0.66", "start=informed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["q1"] > 0.5
    for words in (
        "threshold sk T condition=replicon h=0.5",
        "threshold sk condition=replicon near=1",
        "threshold sk T near=1 h=0.5",
        "threshold sk T near=x condition=fold",
    ):
        assert main(words.split()) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
