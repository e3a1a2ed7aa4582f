"""Channels: normalisation, evidence against the direct average, output function, heat equation, score, symmetry,
sampling; with the noiseless piecewise-linear ones, whose outputs mix atoms and half-lines.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.logsum import stable_log
from replica.expr.numeric import mp_function
from replica.expr.stable import ndtr, normal_density, xlogx
from replica.ingredients.channels import (
    CHANNELS,
    AbsoluteValue,
    GaussianNoise,
    LaplaceNoise,
    LeakyReLU,
    Logistic,
    MarginStep,
    Probit,
    Quantiser,
    ReLU,
    Sign,
    SymmetricInterval,
)
from replica.lowering.program import lower
from replica.symbols import V, delta, h, kappa, omega, y
from solvers.backends.float64 import Float64
from solvers.errors import InputError

SMOOTH = [GaussianNoise(), Probit(), Logistic(), AbsoluteValue(), ReLU(), LeakyReLU(), LaplaceNoise()]
STEPS = [Sign(), MarginStep(), SymmetricInterval(), Quantiser()]
NOISELESS = [AbsoluteValue(noisy=False), ReLU(noisy=False), LeakyReLU(noisy=False)]
ALL = [*SMOOTH, *STEPS, *NOISELESS]


def named(channels):
    """Ids of a parametrisation."""
    return [c.name + (" noiseless" if c in NOISELESS else "") for c in channels]


NOISE, THRESHOLD = sp.Rational(1, 5), sp.Rational(3, 10)
PARAMETERS = {delta: NOISE, kappa: THRESHOLD}
FIELD, VARIANCE = sp.Rational(3, 7), sp.Rational(4, 5)
AT = {omega: FIELD, V: VARIANCE}


def over(channels):
    """A test for each channel; noisy leaky ReLU, the longest formulas and no new rule, is slow."""
    cases = [pytest.param(c, marks=[pytest.mark.slow] if c == LeakyReLU() else []) for c in channels]
    return pytest.mark.parametrize("channel", cases, ids=named(channels))


def closed(channel):
    """Whether the evidence is free of integrals."""
    return not isinstance(channel, Logistic)


every, every_closed = over(ALL), over([c for c in ALL if closed(c)])


def outputs(channel):
    """Some values of y, every atom among them."""
    values = []
    for part, _ in channel.pieces(y, h):
        if isinstance(part, sp.FiniteSet):
            values.extend(part)
        else:
            values.extend(
                v
                for v in (sp.Rational(7, 10), sp.Rational(-6, 5), sp.Integer(3))
                if part.contains(v) == True  # noqa: E712
            )
    return values


def signed(part):
    """A symbol for an output in a part: on a half-line it has a sign, which tells the pieces apart."""
    return sp.Symbol("y", real=True, positive=part.inf == 0 or None, negative=part.sup == 0 or None)


def total(channel, of_output):
    """Atoms summed, densities integrated by mpmath: ``of_output`` is asked at atoms and at a symbol of each part."""
    result = mpmath.mpf(0)
    for part, _ in channel.pieces(y, h):
        if isinstance(part, sp.FiniteSet):
            result += mpmath.fsum(mp_function(of_output(v).subs(PARAMETERS), ())() for v in part)
            continue
        at = signed(part)
        value = mp_function(of_output(at).subs(PARAMETERS), (at,))
        corners = (-15, -5, -1.25, -0.6, 0, mpmath.mpf(3) / 7, 0.6, 5, 15)  # FIELD among them
        ends = [e for e in corners if part.inf <= e <= part.sup]
        result += mpmath.quad(value, ends, method="gauss-legendre", maxdegree=5)
    return result


def by_field(channel, value, function=lambda _: 1):
    """E of function(h) P_out(value|h) over h ~ N(FIELD, VARIANCE), written by hand for each channel."""
    centre, variance = mpmath.mpf(3) / 7, mpmath.mpf(4) / 5
    noise, threshold, value = (
        mpmath.mpf(1) / 5,
        mpmath.mpf(3) / 10,
        mpmath.mpf(sp.Rational(value).p) / sp.Rational(value).q,
    )

    def law(u):
        return mpmath.npdf(u, centre, mpmath.sqrt(variance)) * function(u)

    link = {
        "gaussian": lambda u: u,
        "abs": abs,
        "relu": lambda u: max(u, 0),
        "leaky": lambda u: max(u, u / 10),
    }.get(channel.name)
    if link is not None and channel not in NOISELESS:
        weight = lambda u: mpmath.npdf(value, link(u), mpmath.sqrt(noise))  # noqa: E731
    elif channel.name == "abs":
        return law(value) + law(-value)
    elif channel.name == "leaky":
        return law(value) if value > 0 else 10 * law(10 * value)
    elif channel.name == "relu" and value > 0:
        return law(value)
    else:
        weight = {
            "relu": lambda u: u < 0,
            "sign": lambda u: u * value > 0,
            "margin": lambda u: (u - threshold) * value > 0,
            "probit": lambda u: mpmath.ncdf(u * value / mpmath.sqrt(noise)),
            "logistic": lambda u: 1 / (1 + mpmath.exp(-u * value)),
            "interval": lambda u: (abs(u) < threshold) == (value > 0),
            "quantiser": lambda u: value == (u > -1) + (u > 0) + (u > 1),
            "laplace": lambda u: (
                mpmath.exp(-abs(value - u) * mpmath.sqrt(2 / noise)) / mpmath.sqrt(2 * noise)
            ),
        }[channel.name]
    kinks = sorted([0, threshold, -threshold, centre, value, *(v for v in range(-11, 12) if v)])
    return mpmath.quad(lambda u: law(u) * weight(u), [-14, *kinks, 14])


def test_registry():
    assert {"gaussian", "sign", "abs", "probit", "logistic", "margin", "relu", "leaky"} <= set(CHANNELS)
    assert {"interval", "quantiser", "laplace", "poisson"} <= set(CHANNELS)
    for name, channel in CHANNELS.items():
        assert channel.name == name
        assert channel() == channel()  # hashable, a key of caches
        assert channel.description
    assert len({Sign(), Sign(), AbsoluteValue(), AbsoluteValue(noisy=False)}) == 3


def test_parameters():
    assert [p.name for p in GaussianNoise().parameters] == ["delta"]
    assert GaussianNoise().parameters[0].contains(Fraction(0))
    assert not Probit().parameters[0].contains(Fraction(0))
    assert [p.name for p in MarginStep().parameters] == ["kappa"]
    assert all([p.default for p in c.parameters] == [0] for c in (AbsoluteValue(), ReLU(), LeakyReLU()))
    assert all(c.parameters == () for c in (Sign(), Logistic(), *NOISELESS))


@every
def test_evidence_is_normalised(channel):
    """Atoms and integrals sum to 1."""
    assert float(total(channel, lambda v: channel.evidence(v, FIELD, VARIANCE))) == pytest.approx(
        1, abs=1e-12
    )


@over([*SMOOTH, *STEPS])
@pytest.mark.parametrize("field", [sp.Rational(3, 7), sp.Rational(-5, 4)], ids=str)
def test_density_is_normalised(channel, field):
    assert float(total(channel, lambda v: channel.density(v, field))) == pytest.approx(1, abs=1e-12)


@every
def test_averages_over_the_outputs(channel):
    """The expectation of 1 is 1; that of a function of y and of its evidence is the sum or integral itself."""
    one = channel.expectation(lambda v, z: sp.S.One, omega, V).subs(AT).subs(PARAMETERS)
    assert float(sp.N(one, 20)) == pytest.approx(1, abs=1e-12)

    def body(v, z):
        return v**2 + v / 3

    of_output = channel.expectation(body, omega, V).subs(AT).subs(PARAMETERS)
    direct = total(channel, lambda v: channel.evidence(v, FIELD, VARIANCE) * body(sp.sympify(v), None))
    assert float(sp.N(of_output, 20)) == pytest.approx(float(direct), rel=1e-11)


@every_closed
def test_average_log_evidence(channel):
    """int dy Z_out log Z_out, as the free entropy uses it, against the sum over atoms and the integral in y."""
    average = channel.expectation(lambda _, z: stable_log(z), omega, V).subs(AT).subs(PARAMETERS)
    direct = total(channel, lambda v: xlogx(channel.evidence(v, FIELD, VARIANCE)))
    assert float(mp_function(average, ())()) == pytest.approx(float(direct), rel=1e-11)


@every
def test_evidence_is_the_average_of_the_density(channel):
    for value in outputs(channel):
        found = mp_function(channel.evidence(value, omega, V).subs(AT).subs(PARAMETERS), ())()
        assert float(found) == pytest.approx(float(by_field(channel, value)), rel=1e-12)


@every
def test_output_function_is_the_posterior_mean_of_the_field(channel):
    """g_out = (E[h|y] - omega)/V, by the definition of the evidence."""
    for value in outputs(channel):
        found = mp_function(channel.output_function(value, omega, V).subs(AT).subs(PARAMETERS), ())()
        mean = by_field(channel, value, lambda u: u) / by_field(channel, value)
        assert float(found) == pytest.approx(float((mean - FIELD) / VARIANCE), rel=1e-11)


@every_closed
def test_evidence_has_a_closed_form(channel):
    assert not any(channel.evidence(v, omega, V).has(GaussianAverage) for v in outputs(channel))


def test_evidences_in_closed_form():
    root = sp.sqrt(V)
    assert GaussianNoise().evidence(y, omega, V) == normal_density(y, omega, V + delta)
    assert Sign().evidence(1, omega, V) == ndtr(omega / root)
    assert Sign().evidence(-1, omega, V) == ndtr(-omega / root)
    assert MarginStep().evidence(1, omega, V) - ndtr((omega - kappa) / root) == 0
    probit = Probit().evidence(-1, omega, V)
    assert sp.simplify(probit.args[0] ** 2 - omega**2 / (V + delta)) == 0
    relu = ReLU(noisy=False)
    assert relu.evidence(0, omega, V) == ndtr(-omega / root)
    assert relu.evidence(y, omega, V) == normal_density(y, omega, V)


def test_the_logistic_evidence_stays_an_average():
    average = Logistic().evidence(1, omega, V)
    assert isinstance(average, GaussianAverage)
    assert (average.mean, average.variance) == (omega, V)


@every
def test_log_evidence_is_the_log(channel):
    for value in outputs(channel):
        at = AT | PARAMETERS
        stable = mp_function(channel.log_evidence(value, omega, V).subs(at), ())()
        direct = mp_function(sp.log(channel.evidence(value, omega, V)).subs(at), ())()
        assert float(stable) == pytest.approx(float(direct), rel=1e-13)


@every
def test_output_function_against_differences(channel):
    """At 50 digits; where the evidence is an integral, at 30."""
    digits, agreement = (50, 30) if closed(channel) else (25, 15)
    for value in outputs(channel)[: 3 if closed(channel) else 1]:
        fixed = {V: VARIANCE, **PARAMETERS}
        log_evidence = mp_function(sp.log(channel.evidence(value, omega, V)).subs(fixed), (omega,))
        slope = mp_function(channel.output_function(value, omega, V).subs(fixed), (omega,))
        with mpmath.workdps(digits):
            at, step = mpmath.mpf(3) / 7, mpmath.mpf(10) ** (-digits // 5)
            f = [log_evidence(at + k * step) for k in (-2, -1, 1, 2)]
            difference = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)  # error of order step^4
            tolerance = mpmath.mpf(10) ** (-agreement) + 100 * step**4
            assert abs(difference - slope(at)) < tolerance


@every
def test_heat_equation(channel):
    """dZ/dV = Z''/2: the evidence averages over its centre."""
    for value in outputs(channel):
        evidence = channel.evidence(value, omega, V).subs(PARAMETERS)
        left = mp_function(evidence.diff(V).subs(AT), ())
        right = mp_function(evidence.diff(omega, 2).subs(AT) / 2, ())
        with mpmath.workdps(50 if closed(channel) else 20):
            assert abs(left() - right()) < mpmath.mpf(10) ** (-40 if closed(channel) else -15)


@every_closed
def test_heat_equation_against_differences(channel):
    """The derivative in V itself by a central difference at 50 digits."""
    for value in outputs(channel):
        evidence = channel.evidence(value, omega, V).subs(PARAMETERS)
        function = mp_function(evidence, (omega, V))
        with mpmath.workdps(50):
            at = (mpmath.mpf(3) / 7, mpmath.mpf(4) / 5)
            left, right = mpmath.diff(function, at, (0, 1)), mpmath.diff(function, at, (2, 0)) / 2
            assert abs(left - right) < mpmath.mpf(10) ** -25 * max(1, abs(left))


@every
def test_score_has_no_mean(channel):
    """The sum over y of dZ_out/domega and of its derivative vanish, as does the mean of g_out through
    ``expectation``.
    """
    for order in (1, 2):
        slope = total(channel, lambda v, k=order: channel.evidence(v, omega, V).diff(omega, k).subs(AT))
        assert float(slope) == pytest.approx(0, abs=1e-10)
    if closed(channel):
        mean = channel.expectation(lambda v, z: stable_log(z).diff(omega), omega, V).subs(AT).subs(PARAMETERS)
        assert float(mp_function(mean, ())()) == pytest.approx(0, abs=1e-11)


def test_expectation_of_the_output():
    noise = GaussianNoise()
    assert noise.expectation(lambda v, _: v, omega, V) == omega
    assert sp.expand(noise.expectation(lambda v, _: v**2, omega, V) - omega**2 - V - delta) == 0
    assert sp.N(Sign().expectation(lambda v, _: v**2, FIELD, VARIANCE) - 1, 15) == pytest.approx(0, abs=1e-14)


@every_closed
def test_stable_far_from_the_output(channel):
    """An output all but impossible at its field: the logarithm and its slope stay finite in doubles."""
    finite = isinstance(channel.outputs, sp.FiniteSet)
    impossible = {"interval": 1, "quantiser": 0}.get(channel.name, -1)
    for value in (impossible,) if finite else [v for v in outputs(channel) if v <= 0] or [sp.Rational(7, 10)]:
        program = lower(
            [channel.log_evidence(value, omega, V), channel.output_function(value, omega, V)],
            [omega, V, delta, kappa],
        )
        backend = Float64()
        with backend.context():
            log_evidence, slope = program.run(backend, 4, [60.0, 1e-3, 1e-3, 0.3]).values
        assert np.isfinite(log_evidence)
        if channel.name == "laplace":  # the tail of the noise is exponential
            assert slope == pytest.approx(-np.sqrt(2 / 1e-3), rel=1e-6)
            continue
        assert log_evidence < -1e5
        # log Z_out ~ -(omega - h*)^2/(2 v), with h* the nearest field that gives the output
        assert -80_000 < slope < -20_000


@pytest.mark.parametrize(
    ("channel", "symmetric"),
    [*((c, False) for c in (GaussianNoise(), Sign(), Probit(), Logistic(), MarginStep(), ReLU(), LeakyReLU())),
     (AbsoluteValue(), True), (AbsoluteValue(noisy=False), True), (ReLU(noisy=False), False)],
)  # fmt: skip
def test_symmetry(channel, symmetric):
    assert channel.symmetric is symmetric


@every
def test_samples_have_the_frequencies_of_the_evidence(channel):
    """Outputs at h ~ N(omega, V): atoms and bins of real outputs within five standard errors, seed fixed."""
    rng = np.random.default_rng(11)
    size = 200_000
    field = float(FIELD) + np.sqrt(float(VARIANCE)) * rng.standard_normal(size)
    parameters = {"delta": float(NOISE) if channel not in NOISELESS else 0.0, "kappa": float(THRESHOLD)}
    drawn = channel.sample(field, rng, **parameters)
    assert drawn.shape == field.shape
    for part, _ in channel.pieces(y, h):
        if isinstance(part, sp.FiniteSet):
            for atom in part:
                probability = float(
                    mp_function(channel.evidence(atom, FIELD, VARIANCE).subs(PARAMETERS), ())()
                )
                spread = np.sqrt(probability * (1 - probability) / size)
                assert np.mean(drawn == float(atom)) == pytest.approx(probability, abs=5 * spread)
            continue
        at = signed(part)
        density = mp_function(channel.evidence(at, FIELD, VARIANCE).subs(PARAMETERS), (at,))
        edges = [e for e in (-2, -1, -0.3, -0.1, 0, 0.2, 0.5, 1, 2, 3) if part.inf <= e <= part.sup]
        for low, high in pairwise(edges):
            probability = float(mpmath.quad(density, [low, high]))
            spread = np.sqrt(probability * (1 - probability) / size)
            share = np.mean((drawn > low) & (drawn < high))
            assert share == pytest.approx(probability, abs=5 * spread + 1e-12)
    one = channel.sample(field, np.random.default_rng(5), **parameters)
    assert np.array_equal(one, channel.sample(field, np.random.default_rng(5), **parameters))


def test_noiseless_samples():
    rng = np.random.default_rng(0)
    field = np.array([-2.0, 0.0, 3.0])
    assert np.array_equal(GaussianNoise().sample(field, rng, delta=0.0), field)
    for channel, expected in zip(
        (AbsoluteValue, ReLU, LeakyReLU), ([2, 0, 3], [0, 0, 3], [-0.2, 0, 3]), strict=True
    ):
        assert np.allclose(channel().sample(field, rng, delta=0.0), expected, rtol=1e-15)
        assert np.allclose(channel(noisy=False).sample(field, rng), expected, rtol=1e-15)
    assert np.array_equal(Sign().sample(field, rng), [-1, 1, 1])
    assert np.array_equal(MarginStep().sample(field, rng, kappa=3.0), [-1, -1, 1])


def test_no_noise_is_another_channel():
    """At delta = 0 the densities are distributions: ``at`` gives the channel of atoms and half-lines."""
    for channel, noiseless in zip((AbsoluteValue(), ReLU(), LeakyReLU()), NOISELESS, strict=True):
        assert channel.at({"delta": Fraction(0)}) == noiseless
        assert channel.at({"delta": Fraction(1, 9)}) is channel
        assert noiseless.at({}) is noiseless
    parts = [[part for part, _ in c.pieces(y, h)] for c in NOISELESS]
    right, left = sp.Interval.open(0, sp.oo), sp.Interval.open(-sp.oo, 0)
    assert parts[0] == [right]
    assert parts[1] == [sp.FiniteSet(0), right]
    assert set(parts[2]) == {right, left}


def test_share_of_outputs_that_fix_their_field():
    """All for |h| and leaky ReLU, half for ReLU, none for signs and noisy outputs."""
    assert [c.exact_share({}) for c in NOISELESS] == [1, Fraction(1, 2), 1]
    noisy = {"delta": Fraction(1, 9), "kappa": Fraction(0)}
    assert all(c.exact_share(noisy) == 0 for c in (*SMOOTH, *STEPS))
    assert GaussianNoise().exact_share({"delta": Fraction(0)}) == 1
    functions = [c for c in ALL if c.noiseless(noisy)]
    assert functions == [*STEPS, *NOISELESS]


@pytest.mark.parametrize("slopes", [(1, 2), (-1, 0), (sp.Rational(1, 2), sp.Rational(-3, 2))], ids=str)
def test_any_two_slopes(slopes):
    """A piecewise-linear channel is its two slopes: atoms and half-lines follow and are normalised."""

    class Bent(ReLU):
        name = "bent"

        @property
        def slopes(self):
            return tuple(sp.sympify(s) for s in slopes)

        def link(self, field):
            return sp.Max(field, 0) * slopes[0] + sp.Min(field, 0) * slopes[1]

    channel = Bent(noisy=False)
    assert float(total(channel, lambda v: channel.evidence(v, FIELD, VARIANCE))) == pytest.approx(
        1, abs=1e-12
    )
    mean = channel.expectation(lambda v, _: v, FIELD, VARIANCE)
    direct = sp.N(GaussianAverage(channel.link(h), h, FIELD, VARIANCE), 15)
    assert float(mp_function(mean, ())()) == pytest.approx(float(direct), rel=1e-10)


def test_without_a_closed_form_the_evidence_stays_an_average():
    class Bounded(GaussianNoise):
        name = "bounded"

        def density(self, y, field):
            return normal_density(y, sp.tanh(field), delta)

    average = Bounded().evidence(y, omega, V)
    assert average == GaussianAverage(normal_density(y, sp.tanh(h), delta), h, omega, V)
    assert Bounded().expectation(lambda v, z: sp.log(z), omega, V).has(OutputSum)


@pytest.mark.parametrize("slope", [0, 1, "2", "nan", "__import__('os').getcwd()", "x"])
def test_a_slope_is_a_number_that_is_parsed_not_evaluated(slope):
    with pytest.raises(InputError, match="the slope must"):
        LeakyReLU(slope=slope)
    assert LeakyReLU(slope="1/5").slopes == LeakyReLU(slope=0.2).slopes == (1, sp.Rational(1, 5))
