"""Separable priors: Z_in against the law itself, moments, denoiser, sampling, stability in doubles, refusals."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, stats
from scipy.special import xlogy

from replica.expr.numeric import mp_function
from replica.ingredients.priors import (
    PRIORS,
    Bernoulli,
    Discrete,
    GaussBernoulli,
    Gaussian,
    GaussianMixture,
    Laplace,
    Rademacher,
    SparseRademacher,
)
from replica.lowering.program import lower
from replica.symbols import A, B, rho
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.errors import InputError

SHARE = sp.Rational(3, 10)
SKEWED = Discrete((-1, 0, 2), ("1/4", "1/2", "1/4"))
HUMPS = GaussianMixture(("1/3", "1/2", "1/6"), (-1, "1/2", 2), ("1/4", 0, 1))
MIXTURES = [Gaussian(), Rademacher(), GaussBernoulli(), Bernoulli(), SparseRademacher(), SKEWED, HUMPS]
ALL = [*MIXTURES, Laplace()]
every = pytest.mark.parametrize("prior", ALL, ids=lambda p: p.name)
every_mixture = pytest.mark.parametrize("prior", MIXTURES, ids=lambda p: p.name)
POINTS = [(sp.Rational(7, 5), sp.Rational(-3, 4)), (sp.Rational(1, 3), sp.Rational(5, 2))]


# The laws written a second time, as atoms and as Gaussians (weight, mean, standard deviation).
def law(prior):
    p = mpmath.mpf(3) / 10
    third, sixth = mpmath.mpf(1) / 3, mpmath.mpf(1) / 6
    return {
        "gaussian": [(1, 0, 1)],
        "rademacher": [(0.5, 1, 0), (0.5, -1, 0)],
        "gauss-bernoulli": [(p, 0, 1), (1 - p, 0, 0)],
        "bernoulli": [(p, 1, 0), (1 - p, 0, 0)],
        "sparse-rademacher": [(p / 2, 1 / mpmath.sqrt(p), 0), (p / 2, -1 / mpmath.sqrt(p), 0), (1 - p, 0, 0)],
        "discrete": [(0.25, -1, 0), (0.5, 0, 0), (0.25, 2, 0)],
        "gaussian-mixture": [(third, -1, 0.5), (0.5, 0.5, 0), (sixth, 2, 1)],
    }[prior.name]


def directly(prior, a, b, power=0):
    """E x^power exp(b x - a x^2/2) by the sum over atoms and by quadrature."""

    def tilt(u):
        return u**power * mpmath.exp(b * u - a * u * u / 2)

    if prior.name == "laplace":
        root = mpmath.sqrt(2)
        return mpmath.quad(
            lambda u: tilt(u) * mpmath.exp(-root * abs(u)) / root, [-60, -10, -3, 0, 3, 10, 60]
        )
    total = mpmath.mpf(0)
    for weight, mean, spread in law(prior):
        if spread == 0:
            total += weight * tilt(mpmath.mpf(mean))
        else:
            ends = [mean + spread * k for k in (-14, -4, 0, 4, 14)]
            total += weight * mpmath.quad(lambda u, m=mean, s=spread: tilt(u) * mpmath.npdf(u, m, s), ends)
    return total


def mpf(value):
    return mpmath.mpf(value.p) / value.q


def at(expr, **values):
    return expr.subs(rho, SHARE).subs({A: values["a"], B: values["b"]})


def test_registry():
    assert set(PRIORS) >= {
        "gaussian",
        "rademacher",
        "gauss-bernoulli",
        "bernoulli",
        "sparse-rademacher",
        "laplace",
    }
    for name, prior in PRIORS.items():
        assert prior.name == name
        assert prior() == prior()
        assert prior.description
    assert {p.name: [q.name for q in p.parameters] for p in ALL if p.parameters} == {
        "gauss-bernoulli": ["rho"],
        "bernoulli": ["rho"],
        "sparse-rademacher": ["rho"],
    }


@every_mixture
def test_normalisation(prior):
    """Z_in(0, 0) = 1; the weights of the components sum to 1."""
    assert sp.simplify(prior.partition().subs({A: 0, B: 0}) - 1) == 0
    assert sp.simplify(sp.Add(*(c.weight for c in prior.components())) - 1) == 0


def test_normalisation_of_laplace():
    """Its closed form is 0/0 at A = 0: the limit along A, where Z_in = 1 + O(A)."""
    with mpmath.workdps(60):
        value = mp_function(Laplace().partition().subs(B, 0), (A,))(mpmath.mpf(10) ** -12)
        assert abs(value - 1) < mpmath.mpf(10) ** -11


@every
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_partition_is_the_average_over_the_law(prior, point):
    found = mp_function(at(prior.partition(), a=point[0], b=point[1]), ())()
    assert float(found) == pytest.approx(float(directly(prior, *map(mpf, point))), rel=1e-12)


@every
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_denoiser_is_the_posterior_mean(prior, point):
    """f_in = <x> and df_in/dB = <x^2> - <x>^2 under the tilted law."""
    moments = [directly(prior, *map(mpf, point), power=k) for k in range(3)]
    mean = moments[1] / moments[0]
    found = mp_function(at(prior.denoiser(), a=point[0], b=point[1]), ())()
    slope = mp_function(at(prior.denoiser().diff(B), a=point[0], b=point[1]), ())()
    assert float(found) == pytest.approx(float(mean), rel=1e-11)
    assert float(slope) == pytest.approx(float(moments[2] / moments[0] - mean**2), rel=1e-10)


@every
def test_log_partition_is_the_log(prior):
    a, b = POINTS[0]
    with mpmath.workdps(50):
        stable = mp_function(at(prior.log_partition(), a=a, b=b), ())()
        assert (
            abs(stable - mpmath.log(mp_function(at(prior.partition(), a=a, b=b), ())()))
            < mpmath.mpf(10) ** -45
        )


@every
def test_denoiser_against_differences_at_fifty_digits(prior):
    """f_in = d log Z_in/dB and df_in/dB, by differences of the partition function."""
    a, b = POINTS[0]
    with mpmath.workdps(60):
        logarithm = mp_function(sp.log(prior.partition()).subs(rho, SHARE).subs(A, a), (B,))
        mean = mp_function(at(prior.denoiser(), a=a, b=b), ())()
        slope = mp_function(at(prior.denoiser().diff(B), a=a, b=b), ())()
        centre, step = mpf(b), mpmath.mpf(10) ** -9
        f = [logarithm(centre + k * step) for k in range(-3, 4)]
        first = (-f[0] + 9 * f[1] - 45 * f[2] + 45 * f[4] - 9 * f[5] + f[6]) / (60 * step)
        second = (2 * f[0] - 27 * f[1] + 270 * f[2] - 490 * f[3] + 270 * f[4] - 27 * f[5] + 2 * f[6]) / (
            180 * step**2
        )
        assert abs(first - mean) < mpmath.mpf(10) ** -45  # the rules' error is of order step^6 = 1e-54
        assert abs(second - slope) < mpmath.mpf(10) ** -38  # rounding 1e-60/step^2


@every
def test_heat_equation_backwards(prior):
    """dZ_in/dA = -(1/2) d^2 Z_in/dB^2."""
    a, b = POINTS[0]
    left = mp_function(at(prior.partition().diff(A), a=a, b=b), ())
    right = mp_function(at(prior.partition().diff(B, 2), a=a, b=b), ())
    with mpmath.workdps(50):
        assert abs(left() + right() / 2) < mpmath.mpf(10) ** -45


@every_mixture
def test_moments_are_derivatives_of_log_partition(prior):
    """Mean and variance from log Z_in at A = B = 0."""
    log_partition = prior.log_partition().subs(rho, SHARE)
    mean, second = (sp.sympify(m).subs(rho, SHARE) for m in (prior.mean, prior.second_moment))
    zero = {A: 0, B: 0}
    assert float(mp_function(log_partition.diff(B).subs(zero), ())()) == pytest.approx(float(mean), abs=1e-14)
    variance = float(mp_function(log_partition.diff(B, 2).subs(zero), ())())
    assert variance == pytest.approx(float(second - mean**2), rel=1e-13)
    weight = float(mp_function(log_partition.diff(A).subs(zero), ())())
    assert weight == pytest.approx(-float(second) / 2, rel=1e-13)


@every
def test_samples_have_the_moments(prior):
    """Mean, second and fourth moment of drawn coordinates within five standard errors; the seed repeats them."""
    size, share = 200_000, {"rho": float(SHARE)} if prior.parameters else {}
    drawn = prior.sample(size, np.random.default_rng(3), **share)
    assert drawn.shape == (size,)
    exact = [directly(prior, 0, 0, power=k) for k in (1, 2, 4)]
    assert float(exact[0]) == pytest.approx(float(sp.sympify(prior.mean).subs(rho, SHARE)), abs=1e-14)
    assert float(exact[1]) == pytest.approx(
        float(sp.sympify(prior.second_moment).subs(rho, SHARE)), rel=1e-13
    )
    for power, value in zip((1, 2, 4), exact, strict=True):
        spread = np.std(drawn**power) / np.sqrt(size)
        assert np.mean(drawn**power) == pytest.approx(float(value), abs=5 * spread + 1e-12)
    assert np.array_equal(drawn, prior.sample(size, np.random.default_rng(3), **share))


def test_samples_of_point_masses_are_exact():
    rng = np.random.default_rng(4)
    assert set(Rademacher().sample(1000, rng)) == {-1.0, 1.0}
    assert set(Bernoulli().sample(1000, rng, rho=0.4)) == {0.0, 1.0}
    assert set(SKEWED.sample(1000, rng)) == {-1.0, 0.0, 2.0}
    zeros = np.mean(GaussBernoulli().sample(100_000, rng, rho=0.2) == 0)
    assert zeros == pytest.approx(0.8, abs=5 * np.sqrt(0.16 / 1e5))


def test_denoisers_in_closed_form():
    assert Rademacher().denoiser() == sp.tanh(B)
    assert sp.simplify(Gaussian().denoiser() - B / (1 + A)) == 0
    # spike and slab: rho N(0, 1) + (1 - rho) delta_0
    slab = rho * sp.exp(B**2 / (2 * (1 + A))) / sp.sqrt(1 + A)
    expected = slab / (slab + 1 - rho) * B / (1 + A)
    point = {rho: SHARE, A: sp.Rational(7, 5), B: sp.Rational(3, 4)}
    assert sp.N((GaussBernoulli().denoiser() - expected).rewrite(sp.exp).subs(point), 30) == pytest.approx(
        0, abs=1e-28
    )


@every
def test_symmetry(prior):
    assert prior.symmetric is (prior.name not in ("bernoulli", "discrete", "gaussian-mixture"))


def test_information_dimension():
    values = {"rho": Fraction(3, 10)}
    expected = {
        "gaussian": 1,
        "gauss-bernoulli": Fraction(3, 10),
        "laplace": 1,
        "gaussian-mixture": Fraction(1, 2),
    }
    for prior in ALL:
        assert prior.dimension(values) == expected.get(prior.name, 0)


@every
def test_stable_in_doubles(prior):
    """No overflow and no nan in log Z_in, f_in and df_in/dB from A = 1e-12 to 1e6 and at |B| up to 1e6; f_in is
    inside the support and its slope, a variance, is not negative.
    """
    grid_a, grid_b = np.meshgrid([1e-12, 1e-6, 1e-2, 1.0, 50.0, 1e6], [0, 1e-9, 0.3, 5.0, 40.0, 1e3, 1e6])
    if prior.name == "laplace":
        # rounding of B^2/(2A) is all there is to compare at the far corners: the law has tails of its own
        grid_a, grid_b = np.meshgrid([1e-2, 1.0, 50.0, 1e6], [0, 1e-9, 0.3, 5.0, 40.0, 1e3])
    a, b = np.concatenate([grid_a.ravel(), grid_a.ravel()]), np.concatenate([grid_b.ravel(), -grid_b.ravel()])
    program = lower([prior.log_partition(), prior.denoiser(), prior.denoiser().diff(B)], [A, B, rho])
    backend = Float64()
    with backend.context():
        logarithm, mean, slope = program.run(backend, 4, [a, b, np.full_like(a, float(SHARE))]).values
    shape = np.zeros_like(a)
    for values in (logarithm, mean, slope):
        assert np.all(np.isfinite(values + shape))
    assert np.all(slope >= -1e-12 * np.maximum(1, np.abs(mean)))
    if prior.name in ("rademacher", "bernoulli", "sparse-rademacher", "discrete"):
        atoms = [float(m) for _, m, _ in law(prior)]
        assert np.all((mean >= min(atoms) - 1e-9) & (mean <= max(atoms) + 1e-9))


@every_mixture
def test_doubles_against_fifty_digits(prior):
    """f_in in doubles where a naive ratio overflows."""
    program = lower([prior.denoiser()], [A, B, rho])
    for a, b in ((1e-12, 200.0), (50.0, 300.0), (1e6, -1e4), (3.0, -80.0)):
        backend = Float64()
        with backend.context():
            (found,) = program.run(backend, 4, [a, b, float(SHARE)]).values
        with mpmath.workdps(50):
            where = {A: sp.Rational(a), B: sp.Rational(b), rho: SHARE}
            exact = (
                mp_function(prior.partition().diff(B).subs(where), ())()
                / mp_function(prior.partition().subs(where), ())()
            )
        assert float(found) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Discrete((0, 1), (0.5, 0.6)), "must sum to 1, got 11/10"),
        (lambda: Discrete((0, 1), ("3/2", "-1/2")), "must be >= 0"),
        (lambda: Discrete((0, 1), (1,)), "1 for 2"),
        (lambda: Discrete((), ()), "not none"),
        (lambda: Discrete((1, 1.0), (0.5, 0.5)), "the atoms must differ"),
        (lambda: Discrete((0, "one"), (0.5, 0.5)), "an atom must be a finite number"),
        (lambda: Discrete((0, float("nan")), (0.5, 0.5)), "an atom must be a finite number"),
        (lambda: GaussianMixture((0.5, 0.5), (0, 1), (1,)), "2 means need as many variances, got 1"),
        (lambda: GaussianMixture((0.5, 0.5), (0, 1), (1, -1)), "variances must be >= 0"),
        (lambda: GaussianMixture((0.5, 0.4), (0, 1), (1, 1)), "the weights must sum to 1, got 9/10"),
        (lambda: GaussianMixture((0.5,), (0, 1), (1, 1)), "1 for 2"),
        (lambda: GaussianMixture((1,), ("x",), (1,)), "a mean must be a finite number"),
        (lambda: GaussianMixture((1,), (0,), (sp.I,)), "a variance must be a finite real number, got I"),
        (lambda: GaussianMixture((0.5, 0.5), (1, 1), (0, 0)), "more than one value, got 1 with certainty"),
        (lambda: Discrete((1, 2), (0, 1)), "more than one value, got 2 with certainty"),
        (lambda: Discrete((0, sp.Symbol("a")), (0.5, 0.5)), "an atom must be a finite real number, got a"),
        (lambda: Discrete((0, sp.oo), (0.5, 0.5)), "an atom must be a finite real number, got oo"),
        (lambda: Discrete("01", (0.5, 0.5)), "the atoms must be several numbers"),
        (lambda: Discrete((0, 1), None), "the probabilities must be several numbers"),
        (lambda: Discrete((0, 1, 2), (1 / 3,) * 3), "must sum to 1, got .*; write a third as '1/3'"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_floats_mean_the_decimals_they_print_as():
    assert Discrete((0, 1), (0.1, 0.9)).components() == Discrete((0, 1), ("1/10", "9/10")).components()
    assert Discrete((sp.sqrt(2), 0), (0.5, 0.5)).second_moment == 1


def test_lists_and_arrays_state_the_same_law_and_what_never_occurs_is_no_component():
    law = Discrete((0, 1), ("1/4", "3/4"))
    assert Discrete([0, 1], ["1/4", "3/4"]) == law
    assert hash(Discrete(np.array([0, 1]), np.array([0.25, 0.75]))) is not None
    assert Discrete((5, 0, 1), (0, "1/4", "3/4")).components() == law.components()


def test_share_of_non_zero_coordinates_is_a_probability():
    parameter = GaussBernoulli().parameters[0]
    assert not parameter.contains(Fraction(0))
    assert not parameter.contains(Fraction(1))
    assert parameter.contains(Fraction(1, 2))


@pytest.mark.parametrize(
    ("prior", "strength"),
    [
        (Rademacher(), 0.3),
        (GaussBernoulli(), 1.4),
        (SparseRademacher(), 5.0),
        (Discrete((-1, 0, 2), ("1/4", "1/2", "1/4")), 2.0),
        (GaussianMixture(("1/3", "2/3"), (-1, "1/2"), ("1/4", 0)), 30.0),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_the_information_lost_is_that_of_the_law_of_what_is_observed(prior, strength):
    """-I(x; B) = E log N(B; A x, A) less E log p(B), the second by an adaptive integral over p(B)."""
    share = {rho: float(SHARE)}
    laws = [tuple(float(sp.sympify(v).subs(share)) for v in c) for c in prior.components()]

    def density(b):
        return sum(
            w * stats.norm.pdf(b, strength * m, np.sqrt(strength + strength**2 * v)) for w, m, v in laws
        )

    far = 14 * (strength + np.sqrt(strength)) * (1 + max(abs(m) for _, m, _ in laws))
    places = sorted({strength * m for _, m, _ in laws})
    entropy = integrate.quad(lambda b: -xlogy(density(b), density(b)), -far, far, points=places, limit=500)[0]
    expected = np.log(2 * np.pi * np.e * strength) / 2 - entropy
    program = lower([prior.lost_information()], [A, rho])
    with Float64().context():
        (found,) = program.run(Float64(), 6, [strength, share[rho]]).values
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_a_signal_seen_almost_without_noise_has_lost_no_digit():
    """I(x; B) -> H = (3/2) log 2 of the atoms, in doubles, where log Z_in is of size A = 10^12."""
    program = lower([Discrete((-1, 0, 2), ("1/4", "1/2", "1/4")).lost_information()], [A])
    with Float64().context():
        (found,) = program.run(Float64(), 6, [1e12]).values
    assert float(found) == pytest.approx(-1.5 * np.log(2), abs=1e-14)


@pytest.mark.parametrize("strength", [1.0, 10.0, 100.0, 300.0, 1012.27])
@pytest.mark.parametrize(
    "prior",
    [
        SKEWED,
        Discrete((-3, -1, 1, 3), ("1/4", "1/4", "1/4", "1/4")),
        Discrete((-2, -1, "1/2", 1, 3), ("1/10", "1/5", "2/5", "1/5", "1/10")),
    ],
    ids=lambda p: str(len(p.atoms)),
)
def test_the_error_of_several_atoms_against_a_plain_sum(prior, strength):
    """Where neighbouring atoms are equally likely the posterior switches, and all of the error is there."""
    atoms = [float(Fraction(a)) for a in prior.atoms]
    weights = [float(Fraction(w)) for w in prior.probabilities]
    truth = 0.0
    for mean, weight in zip(atoms, weights, strict=True):
        reach = 40 * np.sqrt(strength)
        b, step = np.linspace(strength * mean - reach, strength * mean + reach, 2**19, retstep=True)
        logs = [np.log(w) + b * a - strength * a * a / 2 for a, w in zip(atoms, weights, strict=True)]
        top = np.max(logs, axis=0)
        odds = [np.exp(log - top) for log in logs]
        pairs = sum(
            odds[i] * odds[j] * (atoms[i] - atoms[j]) ** 2 for i in range(len(odds)) for j in range(i)
        )
        density = np.exp(-((b - strength * mean) ** 2) / (2 * strength)) / np.sqrt(2 * np.pi * strength)
        truth += weight * (density * pairs / sum(odds) ** 2).sum() * step
    program = lower([prior.observed(prior.posterior_variance())], [A])
    with Float64().context():
        result = program.run(Float64(), 5, [strength])
    assert float(result.values[0]) == pytest.approx(truth, rel=1e-11, abs=0)
    assert float(result.error) < 1e-8 * truth


@pytest.mark.parametrize("strength", ["1e-10", "1e-7", "1e-4", "1/10", "3", "1000"])
def test_the_information_on_a_laplace_variable(strength):
    """E log Z - A/2, Z = (M(u_1) + M(u_2))/sqrt(2 A) with M = Phi/phi and u = (+-B - sqrt 2)/sqrt(A)."""
    with mpmath.workdps(45):
        a = mpmath.mpf(Fraction(strength).numerator) / Fraction(strength).denominator
        s = mpmath.sqrt(a + a * a)

        def log_z(b):
            ends = [(sign * b - mpmath.sqrt(2)) / mpmath.sqrt(a) for sign in (1, -1)]
            return mpmath.log(sum(mpmath.ncdf(u) / mpmath.npdf(u) for u in ends) / mpmath.sqrt(2 * a))

        def body(t):
            log = log_z(s * t)
            return mpmath.exp(log - (s * t) ** 2 / (2 * a)) / mpmath.sqrt(2 * mpmath.pi * a) * s * log

        truth = mpmath.quad(body, [-40, -12, -4, -1, 0, 1, 4, 12, 40]) - a / 2
    program = lower([Laplace().lost_information()], [A])
    with Float64().context():
        result = program.run(Float64(), 6, [float(a)])
    assert float(result.values[0]) == pytest.approx(float(truth), rel=1e-13, abs=1e-11)
    backend = Arb(30)
    with backend.context():
        precise = program.run(backend, 7, [backend.number(Fraction(strength))])
        value = backend.to_fraction(backend.midpoint(np.asarray(precise.values[0]).reshape(-1)[0]))
    assert float(value) == pytest.approx(float(truth), rel=1e-13, abs=1e-20)


@pytest.mark.parametrize("strength", [1e-8, 1e-7, 1e-5, 1e-4])
def test_a_laplace_variable_seen_through_much_noise(strength):
    """mmse(A) = 1 - A + A^2 - (15 - 6 k + k^2) A^3/6 + O(A^4) of unit variance, no skewness and k = E x^4 = 6
    (D. Guo, Y. Wu, S. Shamai and S. Verdu, IEEE Trans. Inf. Theory 57 (2011) 2371): no digit of 1 - v is lost to
    exponents of order 1/A, and the estimate of the error knows.
    """
    prior = Laplace()
    program = lower([prior.observed(prior.posterior_variance())], [A])
    with Float64().context():
        result = program.run(Float64(), 6, [strength])
    series = 1 - strength + strength**2 - 15 * strength**3 / 6
    assert float(result.values[0]) == pytest.approx(series, rel=0, abs=2e-12)
    assert float(result.error) < 1e-11
