"""Channels and priors of one's own: against equations written by hand, limits, named ingredients, quadrature."""

from __future__ import annotations

import doctest
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import special
from scipy.stats import cauchy, norm, poisson

from replica import TeacherStudent, simulate, solve
from replica.expr.logsum import expit
from replica.expr.stable import ndtr, normal_density
from replica.ingredients import (
    DensityPrior,
    Discrete,
    ExpressionChannel,
    Gaussian,
    GaussianNoise,
    Laplace,
    LaplaceNoise,
    Logistic,
    Probit,
    Quantiser,
    Rademacher,
    Sign,
    SymmetricInterval,
    own,
)
from replica.ingredients.channels import POSITIVE_DELTA
from replica.lowering.message_passing import output_functions
from replica.lowering.problem import pair_problem
from replica.parameters import Parameter
from replica.symbols import A, B, V, delta, h, omega, parameter_symbol, x, y
from solvers.backends.float64 import Float64
from solvers.errors import InputError
from solvers.solution import Outcome

EPS = Parameter("eps", "epsilon", "share of flipped labels", Fraction(0), upper=Fraction(1, 2))
FLIPPED = ExpressionChannel(
    lambda y, h, eps: (1 - eps) * sp.Heaviside(y * h) + eps * sp.Heaviside(-y * h), (-1, 1), (EPS,)
)
CLOGLOG = ExpressionChannel(lambda y, h: (1 - y) * sp.exp(-sp.exp(h)) + y * (1 - sp.exp(-sp.exp(h))), (0, 1))
CUBIC = ExpressionChannel(lambda y, h: 1 / (1 + sp.exp(-y * h**3)), (-1, 1))
LINK = ExpressionChannel(lambda y, h, delta: normal_density(y, h**3, delta), sp.Reals, (POSITIVE_DELTA,))


def test_docstrings():
    assert doctest.testmod(own).failed == 0


# --- the label-noise channel ---------------------------------------------------------------------------------


def flipped_by_hand(overlap, rate, eps):
    """Psi(q) = E_omega sum_y Z log Z with Z = eps + (1 - 2 eps) Phi(y omega/sqrt(1 - q)); 2 alpha dPsi/dq."""

    def psi(q):
        def body(t):
            p = eps + (1 - 2 * eps) * mpmath.ncdf(t * mpmath.sqrt(q / (1 - q)))
            return mpmath.npdf(t) * (p * mpmath.log(p) + (1 - p) * mpmath.log(1 - p))

        return mpmath.quad(body, [-12, -4, -1, 0, 1, 4, 12])

    with mpmath.workdps(30):
        return float(2 * rate * mpmath.diff(psi, mpmath.mpf(overlap)))


def test_label_noise_against_a_derivation_by_hand():
    solution = solve(TeacherStudent(Rademacher(), FLIPPED), alpha=1.5, eps=0.1)
    conjugate = flipped_by_hand(solution["q"], 1.5, 0.1)
    assert solution["q_hat"] == pytest.approx(conjugate, rel=1e-10)
    overlap = mpmath.quad(
        lambda t: mpmath.npdf(t) * mpmath.tanh(conjugate + mpmath.sqrt(conjugate) * t), [-9, -3, 0, 3, 9]
    )
    assert solution["q"] == pytest.approx(float(overlap), rel=1e-10)
    # a new label is predicted wrongly: by the flip alone, or by the sign alone
    clean = float(mpmath.acos(mpmath.sqrt(solution["q"])) / mpmath.pi)
    assert solution["generalisation_error"] == pytest.approx(0.1 + 0.8 * clean, rel=1e-10)


def test_without_flips_it_is_the_sign():
    expected = solve(TeacherStudent(Rademacher(), Sign()), alpha=1)
    for eps, distance in ((0, 1e-12), ("1e-8", 1e-6)):
        found = solve(TeacherStudent(Rademacher(), FLIPPED), alpha=1, eps=eps)
        assert found["mmse"] == pytest.approx(expected["mmse"], abs=distance)
        assert found.free_entropy == pytest.approx(expected.free_entropy, abs=distance)
    assert FLIPPED.noiseless({"eps": Fraction(0)})
    assert not FLIPPED.noiseless({"eps": Fraction(1, 10)})


@pytest.mark.slow
def test_every_step_of_the_derivation_holds():
    for step in TeacherStudent(Discrete((-1, 0, 2), ("1/4", "1/2", "1/4")), FLIPPED).derive().steps:
        step.verify()


def test_label_noise_is_drawn_from_its_probabilities():
    field = np.repeat([-0.7, 1.3], 100_000)
    drawn = FLIPPED.sample(field, np.random.default_rng(0), eps=0.1)
    assert set(drawn) == {-1.0, 1.0}
    np.testing.assert_allclose(
        [np.mean(drawn[field < 0] == 1), np.mean(drawn[field > 0] == -1)], 0.1, atol=0.004
    )


def test_message_passing_follows_the_state_evolution():
    model = TeacherStudent(Rademacher(), FLIPPED)
    run = simulate(model, N=1000, seeds=4, max_iterations=8, alpha=3, eps=0.1)
    mean, error = run.trajectory()
    np.testing.assert_array_less(abs(mean[:6] - run.state_evolution[:6]), 4 * error[:6] + 0.02)


# --- links without a closed form -----------------------------------------------------------------------------


def conjugate_by_hand(probability, overlap):
    """E_omega sum_y (E_h P')^2/E_h P at h = omega + sqrt(1 - q) t, both averages by the trapezoid."""
    t = np.linspace(-9, 9, 1201)
    weight = norm.pdf(t) * (t[1] - t[0])
    values = probability(np.sqrt(overlap) * t[:, None] + np.sqrt(1 - overlap) * t)
    p, slope = values @ weight, values @ (weight * t) / np.sqrt(1 - overlap)
    return weight @ (slope**2 / (p * (1 - p)))


@pytest.mark.parametrize(
    ("channel", "probability"),
    [
        (CLOGLOG, lambda u: -np.expm1(-np.exp(u))),
        (CUBIC, lambda u: special.expit(u**3)),
    ],
    ids=["exponential", "cubic"],
)
def test_a_link_without_closed_form_against_nested_quadrature(channel, probability):
    solution = solve(TeacherStudent(Rademacher(), channel), alpha=1)
    assert solution["q_hat"] == pytest.approx(conjugate_by_hand(probability, solution["q"]), rel=1e-8)


def test_a_cubic_link_with_gaussian_noise():
    """The evidence and g_out are averages that agree with quadrature; the equations stand."""
    point = {y: sp.Rational(3, 10), omega: sp.Rational(1, 2), V: sp.Rational(4, 5), delta: sp.Rational(1, 2)}

    def average(f):
        return mpmath.quad(
            lambda u: f(u) * mpmath.npdf(u, 0.5, mpmath.sqrt(0.8)) * mpmath.npdf(0.3, u**3, mpmath.sqrt(0.5)),
            [-9, -3, -1, 0, 1, 3, 9],
        )

    evidence, first = average(lambda u: 1), average(lambda u: u)
    assert float(LINK.evidence(y, omega, V).subs(point)) == pytest.approx(float(evidence), rel=1e-10)
    slope, _ = output_functions(LINK)(np.array([0.3]), np.array([0.5]), 0.8, {"delta": 0.5})
    assert slope[0] == pytest.approx(float((first / evidence - 0.5) / 0.8), rel=1e-3)
    model = TeacherStudent(Rademacher(), LINK)
    assert len(model.derive().steps) > 3
    drawn = LINK.sample(np.full(100_000, 1.2), np.random.default_rng(0), delta=0.5)
    np.testing.assert_allclose([drawn.mean(), drawn.var()], [1.2**3, 0.5], atol=0.01)


# --- named channels written again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "named", "parameters"),
    [
        (
            ExpressionChannel(normal_density(y, h, delta), sp.Reals, (POSITIVE_DELTA,)),
            GaussianNoise(),
            {"delta": 0.2},
        ),
        (
            ExpressionChannel(LaplaceNoise().density(y, h), sp.Reals, (POSITIVE_DELTA,)),
            LaplaceNoise(),
            {"delta": 0.5},
        ),
        (
            ExpressionChannel(lambda y, h: sp.Heaviside(y * (1 - sp.Abs(h))), (-1, 1)),
            SymmetricInterval(),
            {"kappa": 1},
        ),
        pytest.param(
            ExpressionChannel(
                lambda y, h: sp.Piecewise(
                    (sp.Heaviside(h - 1), sp.Eq(y, 2)),
                    (sp.Heaviside(-1 - h), sp.Eq(y, 0)),
                    (sp.Heaviside(h + 1) * sp.Heaviside(1 - h), True),
                ),
                (0, 1, 2),
            ),
            Quantiser((-1, 1)),
            {},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["gaussian", "laplace", "interval", "quantiser"],
)
def test_a_named_channel_written_as_an_expression(channel, named, parameters):
    values = [
        solve(
            TeacherStudent(Rademacher(), c),
            alpha=1,
            **{p.name: parameters[p.name] for p in c.parameters},
        )["mmse"]
        for c in (channel, named)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-10)
    assert channel.noiseless({k: Fraction(str(v)) for k, v in parameters.items()}) == named.noiseless(
        parameters
    )


def by_hand(probabilities, overlap):
    """E_omega sum_y (dZ/domega)^2/Z for a few outputs or a grid of them, (weight of y, P(y|h)), by trapezoids."""
    t = np.linspace(-9, 9, 801)
    weight = norm.pdf(t) * (t[1] - t[0])
    fields = np.sqrt(overlap) * t[:, None] + np.sqrt(1 - overlap) * t
    total = 0.0
    for size, probability in probabilities:
        p = probability(fields)
        z, slope = p @ weight, p @ (weight * t) / np.sqrt(1 - overlap)
        total += size * (weight @ np.where(z > 1e-290, slope**2 / np.maximum(z, 1e-290), 0.0))
    return total


@pytest.mark.parametrize("middle", ["difference", "rest"])
def test_an_ordered_probit(middle):
    """Three levels of h + z: the middle one is a difference of distribution functions, or 1 less the others."""
    inside = {
        "difference": ndtr(1 - h) - ndtr(-1 - h),
        "rest": 1 - ndtr(-1 - h) - ndtr(h - 1),
    }[middle]
    law = sp.Piecewise((ndtr(-1 - h), sp.Eq(y, -1)), (ndtr(h - 1), sp.Eq(y, 1)), (inside, True))
    solution = solve(TeacherStudent(Rademacher(), ExpressionChannel(law, (-1, 0, 1))), alpha=2)
    levels = [
        (1, lambda u: norm.cdf(-1 - u)),
        (1, lambda u: norm.cdf(u - 1)),
        (1, lambda u: norm.cdf(1 - u) - norm.cdf(-1 - u)),
    ]
    assert solution["q_hat"] == pytest.approx(2 * by_hand(levels, solution["q"]), rel=1e-8)


def test_labels_outside_an_interval():
    """P(1|h) = 1 - Phi(h) + Phi(h - 1): positive term by term only if the constant goes with the minus."""
    outside = 1 - ndtr(h) + ndtr(h - 1)
    law = sp.Piecewise((outside, sp.Eq(y, 1)), (ndtr(h) - ndtr(h - 1), True))
    solution = solve(TeacherStudent(Rademacher(), ExpressionChannel(law, (-1, 1))), alpha=2)
    inside = lambda u: norm.cdf(u) - norm.cdf(u - 1)  # noqa: E731
    levels = [(1, inside), (1, lambda u: 1 - inside(u))]
    assert solution["q_hat"] == pytest.approx(2 * by_hand(levels, solution["q"]), rel=1e-8)


@pytest.mark.parametrize(
    "clipped",
    [
        lambda h: (sp.Abs(h + 1) - sp.Abs(h - 1)) / 2,
        lambda h: sp.Max(-1, sp.Min(1, h)),
        pytest.param(
            lambda h: sp.Piecewise((-1, h < -1), (1, h > 1), (h, True)),  # the same, a third time
            marks=pytest.mark.slow,
        ),
    ],
    ids=["absolute values", "extrema", "piecewise"],
)
def test_clipped_fields(clipped):
    """y = max(-1, min(1, h)) + noise: three pieces, the middle one on an interval."""
    channel = ExpressionChannel(
        lambda y, h, delta: normal_density(y, clipped(h), delta), sp.Reals, (POSITIVE_DELTA,)
    )
    solution = solve(TeacherStudent(Gaussian(), channel), alpha=0.5, delta=0.1)
    outputs, step = np.linspace(-3.5, 3.5, 141, retstep=True)
    levels = [(step, lambda u, y=y: norm.pdf(y, np.clip(u, -1, 1), 0.1**0.5)) for y in outputs]
    # kinks in h cost the plain sum its accuracy
    assert solution["q_hat"] == pytest.approx(0.5 * by_hand(levels, solution["q"]), rel=1e-5)


def test_photon_counts():
    """y ~ Poisson(h^2): the count 0 is most likely at h = 0, where h^(2y) of other counts vanishes."""
    law = sp.exp(-(h**2)) * h ** (2 * y) / sp.factorial(y)
    channel = ExpressionChannel(law, sp.S.Naturals0, sample=lambda field, rng: rng.poisson(field**2))
    solution = solve(TeacherStudent(Rademacher(), channel), alpha=2)
    levels = [(1, lambda u, k=k: poisson.pmf(k, u**2)) for k in range(70)]
    assert solution["q_hat"] == pytest.approx(2 * by_hand(levels, solution["q"]), rel=1e-9)
    assert solve(TeacherStudent(Gaussian(), channel), alpha=0.5)["q"] == 0


@pytest.mark.parametrize(
    ("law", "fisher"),
    [
        (1 / (sp.pi * (1 + (y - h) ** 2)), 0.5),  # Cauchy noise: outputs with a tail 1/y^2
        (normal_density(y, 0, sp.exp(h)), 0.5),  # the field is the logarithm of a variance
    ],
    ids=["heavy tail", "log variance"],
)
def test_outputs_of_many_scales(law, fisher):
    """q_hat tends to alpha times the Fisher information of the field as the signal becomes known."""
    solution = solve(TeacherStudent(Rademacher(), ExpressionChannel(law, sp.Reals)), alpha=100)
    assert solution["q_hat"] == pytest.approx(100 * fisher, rel=1e-3)


def test_cauchy_noise():
    law = 1 / (sp.pi * (1 + (y - h) ** 2))
    solution = solve(TeacherStudent(Gaussian(), ExpressionChannel(law, sp.Reals)), alpha=2)
    u, step = np.linspace(-9, 9, 241, retstep=True)
    levels = [
        (step * np.cosh(s), lambda field, s=s: cauchy.pdf(np.sinh(s) - field)) for s in u
    ]  # outputs up to 4000, beyond which Z g^2 is nothing
    assert solution["q_hat"] == pytest.approx(2 * by_hand(levels, solution["q"]), rel=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "values"),
    [
        (lambda h: h * sp.Abs(h), lambda u: u * abs(u)),
        (lambda h: sp.Max(0, h) ** 2, lambda u: np.maximum(u, 0) ** 2),
        (lambda h: sp.tanh(sp.Abs(h)), lambda u: np.tanh(abs(u))),
    ],
    ids=["signed square", "half a square", "corner"],
)
def test_kinks_of_links_without_closed_form(link, values):
    channel = ExpressionChannel(
        lambda y, h, delta: normal_density(y, link(h), delta), sp.Reals, (POSITIVE_DELTA,)
    )
    solution = solve(TeacherStudent(Gaussian(), channel), alpha=2, delta=0.1)
    outputs, step = np.linspace(-30, 30, 601, retstep=True)  # fields up to 5 deviations
    levels = [(step, lambda u, y=y: norm.pdf(y, values(u), 0.1**0.5)) for y in outputs]
    assert solution["q_hat"] == pytest.approx(2 * by_hand(levels, solution["q"]), rel=1e-4)


@pytest.mark.parametrize(
    "density",
    [
        lambda y, h: sp.Heaviside(y * (h**2 - 1)),
        lambda y, h: (1 + y * sp.sign(h**2 - 1)) / 2,
        lambda y, h: (1 + y * sp.sign(sp.Abs(h) - 1)) / 2,
        lambda y, h: sp.Piecewise((1, y * (h**2 - 1) > 0), (0, True)),
    ],
    ids=["step", "sign", "sign of a modulus", "cases"],
)
def test_steps_at_a_quadratic(density):
    """y = sign(h^2 - 1) is the outside of an interval."""
    interval = solve(TeacherStudent(Gaussian(), SymmetricInterval()), alpha=2, kappa=1)
    own = solve(TeacherStudent(Gaussian(), ExpressionChannel(density, (-1, 1))), alpha=2)
    assert own["q"] == pytest.approx(interval["q"], rel=1e-12)
    assert own.free_entropy == pytest.approx(interval.free_entropy, rel=1e-12)


@pytest.mark.parametrize(
    ("density", "outputs", "named"),
    [
        (lambda y, h: (1 + y * sp.sign(h)) / 2, (-1, 1), Sign()),
        (lambda y, h: (1 + y * sp.erf(h / sp.sqrt(2))) / 2, (-1, 1), Probit()),
        (lambda y, h: y * ndtr(h) + (1 - y) * ndtr(-h), (0, 1), Probit()),
        (lambda y, h: (1 + y * sp.tanh(h / 2)) / 2, (-1, 1), Logistic()),
    ],
    ids=["sign", "erf", "of 0 and 1", "tanh"],
)
def test_probabilities_with_the_output_as_a_factor(density, outputs, named):
    own = solve(TeacherStudent(Gaussian(), ExpressionChannel(density, outputs)), alpha=2)
    noise = {p.name: 1 for p in named.parameters}
    known = solve(TeacherStudent(Gaussian(), named), alpha=2, **noise)
    assert own["q"] == pytest.approx(known["q"], rel=1e-11)


def test_labels_with_flips_determine_a_binary_signal():
    """A step of P(y|h) tells fields that are nearly known from their neighbours, flips or none: q = 1 is a solution,
    with Phi = -log 2 - alpha H(eps), and the best one from where that is the largest.
    """
    model, flips = TeacherStudent(Rademacher(), FLIPPED), 0.1
    lost = -flips * np.log(flips) - (1 - flips) * np.log(1 - flips)
    found = {alpha: solve(model, alpha=alpha, eps=flips, start="informed") for alpha in (1, 3, 5)}
    for alpha, solution in found.items():
        assert solution.outcome is Outcome.PERFECT_RECOVERY
        assert solution.free_entropy == pytest.approx(-np.log(2) - alpha * lost, rel=1e-14)
        assert solution["mutual_information"] == pytest.approx(np.log(2), rel=1e-14)
    assert len(found[1].branches) == 3
    assert len(found[5].branches) == 1
    assert solve(model, alpha=1, eps=flips, start="global").outcome is Outcome.CONVERGED
    best = solve(model, alpha=3, eps=flips, start="global", digits=30)
    assert best.outcome is Outcome.PERFECT_RECOVERY
    assert float(best.free_entropy) == pytest.approx(-np.log(2) - 3 * lost, rel=1e-14)
    assert not FLIPPED.jumps({"eps": Fraction(1, 2)})


@pytest.mark.parametrize(
    ("density", "entropy"),
    [
        (lambda y, h: sp.Heaviside(y - h + 1) * sp.Heaviside(h + 1 - y) / 2, np.log(2)),
        (lambda y, h: sp.exp(h - y) * sp.Heaviside(y - h), 1),
    ],
    ids=["uniform", "exponential"],
)
def test_noise_with_an_edge_determines_a_binary_signal(density, entropy):
    channel = ExpressionChannel(density, sp.Reals)
    found = solve(TeacherStudent(Rademacher(), channel), alpha="1/2", start="informed")
    assert found.outcome is Outcome.PERFECT_RECOVERY
    assert found.free_entropy == pytest.approx(-np.log(2) - entropy / 2, rel=1e-12)
    assert len(found.branches) == 3


def test_the_logarithm_of_an_output_says_as_much():
    """-log of an exponential variable of rate e^h has a Gumbel law about h."""
    rate = ExpressionChannel(lambda y, h: sp.exp(h - y * sp.exp(h)), sp.Interval(0, sp.oo))
    gumbel = ExpressionChannel(lambda y, h: sp.exp(h - y - sp.exp(h - y)), sp.Reals)
    one, other = (solve(TeacherStudent(Gaussian(), c), alpha="3/2")["q"] for c in (rate, gumbel))
    assert one == pytest.approx(other, rel=1e-11)


@pytest.mark.parametrize("variance", ["1", "1e-9"])
def test_a_steep_kink_is_no_jump(variance):
    """Small noise makes P(y|h) steep, and q_hat large, but finite as v -> 0."""
    for link, jumps in ((lambda h: sp.Max(h, 0), False), (lambda h: sp.sign(h - 1), True)):
        channel = ExpressionChannel(
            lambda y, h, delta, link=link: normal_density(y, link(h), delta), sp.Reals, (POSITIVE_DELTA,)
        )
        assert channel.jumps({"delta": Fraction(variance)}) is jumps


def test_what_has_no_numbers_is_refused():
    channel = ExpressionChannel(lambda y, h: sp.Heaviside(y * (h**3 - h - 1)), (-1, 1))
    with pytest.raises(InputError, match=r"no numerical form .* allowed are elementary functions"):
        solve(TeacherStudent(Gaussian(), channel), alpha=1)


def test_it_is_a_value():
    """Equal formulas are equal channels, and print the same: sweeps and seeds go by them."""
    again = ExpressionChannel(
        lambda y, h, eps: (1 - eps) * sp.Heaviside(y * h) + eps * sp.Heaviside(-y * h), [-1, 1], [EPS]
    )
    assert again == FLIPPED
    assert hash(again) == hash(FLIPPED)
    assert repr(again) == repr(FLIPPED)
    assert ExpressionChannel(expit(0.5 * y * h), (-1, 1)).formula == expit(y * h / 2)
    assert ExpressionChannel(lambda y, h: expit(y * (h - 1) * (h + 1)), (-1, 1)).symmetric
    assert not FLIPPED.symmetric
    assert parameter_symbol(EPS).is_nonnegative


def named(name, **bounds):
    return Parameter(name, name, "a test", **bounds)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExpressionChannel(sp.Heaviside(y * h) / 2, (-1, 1)), "sum or integrate to 1 .* got 0.5"),
        (lambda: ExpressionChannel((1 + y * h) / 2, (-1, 1)), "must be >= 0, got -0.35 at y = 1"),
        (lambda: ExpressionChannel(normal_density(y, h, 1) * 2, sp.Reals), "got 2"),
        (lambda: ExpressionChannel(sp.exp(y - h), sp.Reals), "no convergent sum or integral"),
        (lambda: ExpressionChannel(expit(y * h), (-1, 1, 2)), "sum or integrate to 1"),
        (lambda: ExpressionChannel(sp.exp(-y) * (h + 5), sp.S.Naturals0), "sum or integrate to 1"),
        (lambda: ExpressionChannel(sp.DiracDelta(y - h), sp.Reals), "no DiracDelta"),
        (
            lambda: ExpressionChannel(expit(y * sp.Symbol("h")), (-1, 1)),
            "unknown symbol h: allowed are y, h of",
        ),
        (lambda: ExpressionChannel(expit(y * h * delta), (-1, 1)), "unknown symbol Delta"),
        (lambda: ExpressionChannel(lambda y, h: mpmath.exp(h), (-1, 1)), "written with SymPy functions"),
        (lambda: ExpressionChannel("expit(y*h)", (-1, 1)), "must be a SymPy expression"),
        (lambda: ExpressionChannel(sp.S.Half, (-1, 1)), "must depend on h"),
        (lambda: ExpressionChannel(expit(y * h), (1,)), "outputs must be numbers"),
        (lambda: ExpressionChannel(expit(y * h), "signs"), "outputs must be numbers"),
        (lambda: ExpressionChannel(expit(y * h), (-1, 1), (named("rho"),)), "'rho' belongs to the models"),
        (
            lambda: ExpressionChannel(expit(y * h), (-1, 1), (named("q"),)),
            "symbol q .* has a meaning already",
        ),
        (lambda: ExpressionChannel(expit(y * h), (-1, 1), (EPS, EPS)), "must have different names"),
        (lambda: DensityPrior(sp.exp(-x)), "must sum or integrate to 1"),
        (lambda: DensityPrior(x * sp.exp(-(x**2) / 2)), "must be >= 0"),
        (lambda: DensityPrior(1 / (sp.pi * (1 + x**2))), "no closed form .* allowed are sums"),
        (lambda: DensityPrior(x * sp.exp(-x) * sp.Heaviside(x)), "not real term by term"),
        (
            lambda: DensityPrior(normal_density(x, 0, sp.Symbol("s", positive=True))),
            "unknown symbol s: allowed",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("v", [1e-6, 1e-10, 1e-20])
def test_a_kink_where_the_field_is_nearly_known(v):
    """y = h|h| + sqrt(Delta) z at v -> 0: q_hat = alpha E (d h|h|/dh)^2/Delta = 4 alpha/Delta, but for what the
    curvature and the kink at 0 take off, of order v.
    """
    channel = ExpressionChannel(
        lambda y, h, delta: normal_density(y, h * sp.Abs(h), delta), sp.Reals, (POSITIVE_DELTA,)
    )
    half = pair_problem(TeacherStudent(Rademacher(), channel)).output
    found = half(Float64(), 6, np.array([v]), {"alpha": 2.0, "delta": 0.1})
    assert found.value[0] == pytest.approx(80, rel=130 * v + 1e-12)
    assert found.error[0] < 1e-10


def test_a_value_outside_the_domain_of_an_own_parameter_is_refused():
    with pytest.raises(InputError, match=r"eps must be >= 0 and <= 0\.5, got 0\.7"):
        solve(TeacherStudent(Rademacher(), FLIPPED), alpha=1, eps=0.7)


def test_outputs_that_cannot_be_drawn_ask_for_a_sampler():
    law = LaplaceNoise().density(y, h)
    with pytest.raises(InputError, match="give sample="):
        ExpressionChannel(law, sp.Reals, (POSITIVE_DELTA,)).sample(
            np.zeros(3), np.random.default_rng(0), delta=1.0
        )
    given = ExpressionChannel(
        law, sp.Reals, (POSITIVE_DELTA,), sample=lambda field, rng, delta: field + delta
    )
    assert given.sample(np.zeros(2), np.random.default_rng(0), delta=0.5).tolist() == [0.5, 0.5]


# --- priors with a density -----------------------------------------------------------------------------------

DENSITIES = {
    "uniform": (lambda x: sp.Heaviside(1 - x) * sp.Heaviside(1 + x) / 2, [-1, 1]),
    "exponential": (lambda x: sp.exp(-x) * sp.Heaviside(x), [0, 1, 4, 30]),
    "half Gaussian": (lambda x: sp.sqrt(2 / sp.pi) * sp.exp(-(x**2) / 2) * sp.Heaviside(x), [0, 2, 12]),
    "two sides": (
        lambda x: sp.Piecewise((sp.exp(-2 * x), x > 0), (sp.exp(x / 2) / 4, True)),
        [-90, -10, -1, 0, 1, 20],
    ),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_partition_and_moments_of_a_density(name):
    prior, points = DensityPrior(DENSITIES[name][0]), DENSITIES[name][1]
    value = sp.lambdify(x, prior.density(x), "mpmath")

    def integral(a, b, power):
        return float(mpmath.quad(lambda u: value(u) * u**power * mpmath.exp(b * u - a * u * u / 2), points))

    for order, moment in ((1, prior.mean), (2, prior.second_moment)):
        assert float(moment) == pytest.approx(integral(0, 0, order), rel=1e-9, abs=1e-9)
    for a, b in ((0.7, 0.4), (3.0, -2.5)):
        expected = [integral(a, b, k) for k in range(3)]
        at = {A: sp.Rational(str(a)), B: sp.Rational(str(b))}
        assert [float(prior.tilted_moment(k).subs(at)) for k in range(3)] == pytest.approx(expected, rel=1e-9)
        assert float(prior.denoiser().subs(at)) == pytest.approx(expected[1] / expected[0], rel=1e-9)
    drawn = prior.sample(200_000, np.random.default_rng(0))
    spread = float(prior.second_moment)
    np.testing.assert_allclose(
        [drawn.mean(), (drawn**2).mean()], [float(prior.mean), spread], atol=0.03 * max(spread, 0.3)
    )


@pytest.mark.parametrize(
    ("density", "prior"),
    [(Laplace().density(x), Laplace()), (normal_density(x, 0, 1), Gaussian())],
    ids=["laplace", "gaussian"],
)
def test_a_named_prior_written_as_a_density(density, prior):
    own_prior = DensityPrior(density)
    assert own_prior.symmetric
    assert own_prior.second_moment == 1
    values = [
        solve(TeacherStudent(p, GaussianNoise()), alpha=0.8, delta=0.1)["mmse"] for p in (own_prior, prior)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-10)


def test_uniform_signal_against_quadrature():
    """Mean square error through a Gaussian channel, q_hat = alpha/(delta + v): v(q_hat) by two quadratures."""
    solution = solve(
        TeacherStudent(DensityPrior(DENSITIES["uniform"][0]), GaussianNoise()), alpha=0.8, delta=0.1
    )
    strength = solution["q_hat"]
    assert strength == pytest.approx(0.8 / (0.1 + solution["mmse"]), rel=1e-9)
    field, signal = np.linspace(-25, 25, 4001) * np.sqrt(strength), np.linspace(-1, 1, 2001)
    weight = np.ones(2001)
    weight[0] = weight[-1] = 0.5
    tilt = np.exp(np.outer(field, signal) - strength * signal**2 / 2 - field[:, None] ** 2 / (2 * strength))
    zero, one = tilt @ weight, tilt @ (weight * signal)
    overlap = np.sum(one**2 / np.maximum(zero, 1e-300)) / np.sum(zero)
    assert 1 / 3 - overlap == pytest.approx(solution["mmse"], abs=1e-6)
