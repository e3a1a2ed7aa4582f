"""Channels: normalisation, evidence against the direct average, output function, symmetry, sampling."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica.expr.average import GaussianAverage
from replica.expr.numeric import mp_function
from replica.expr.stable import ndtr, normal_density
from replica.ingredients.channels import CHANNELS, AbsoluteValue, GaussianNoise, Sign
from replica.lowering.program import lower
from replica.symbols import V, delta, h, omega, y
from solvers.backends.float64 import Float64

ALL = [GaussianNoise(), Sign(), AbsoluteValue()]
NAMES = [c.name for c in ALL]
NOISE = sp.Rational(1, 5)
FIELD, VARIANCE = sp.Rational(3, 7), sp.Rational(4, 5)


def outputs(channel):
    """Some values of y."""
    return (
        (-1, 1) if channel.outputs.is_FiniteSet else (sp.Rational(7, 10), sp.Rational(-6, 5), sp.Integer(3))
    )


def total(channel, expr, field=FIELD):
    """Sum or integral over all outputs, by mpmath."""
    expr = expr.subs({delta: NOISE})
    if channel.outputs.is_FiniteSet:
        return mpmath.fsum(mp_function(expr.subs(y, v), ())() for v in channel.outputs)
    value = mp_function(expr, (y,))
    return mpmath.quad(value, [-12, -2, -float(field), 0, float(field), 2, 12])


def test_registry():
    assert {"gaussian": GaussianNoise, "sign": Sign, "abs": AbsoluteValue} == CHANNELS
    assert [p.name for c in ALL for p in c.parameters] == ["delta", "delta"]
    assert GaussianNoise() == GaussianNoise()  # hashable, a key of caches
    assert len({Sign(), Sign(), AbsoluteValue()}) == 2


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
@pytest.mark.parametrize("field", [sp.Rational(3, 7), sp.Rational(-5, 4)])
def test_density_is_normalised(channel, field):
    density = channel.density(y, h).subs(h, field)
    assert float(total(channel, density, field)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_evidence_is_normalised(channel):
    evidence = channel.evidence(y, FIELD, VARIANCE) if not channel.outputs.is_FiniteSet else None
    if evidence is None:
        assert sum(channel.evidence(v, FIELD, VARIANCE) for v in channel.outputs).evalf() == pytest.approx(
            1, abs=1e-14
        )
    else:
        assert float(total(channel, evidence)) == pytest.approx(1, abs=1e-12)
    assert channel.expectation(lambda _: sp.S.One, FIELD, VARIANCE).subs(
        delta, NOISE
    ).evalf() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_evidence_is_the_average_of_the_density(channel):
    for value in outputs(channel):
        closed = channel.evidence(value, omega, V).subs({omega: FIELD, V: VARIANCE, delta: NOISE})
        density = channel.density(sp.sympify(value), h).subs(delta, NOISE)
        if isinstance(channel, Sign):
            with mpmath.workdps(20):
                half = mpmath.quad(
                    lambda u: mpmath.npdf(u, mpmath.mpf(3) / 7, mpmath.sqrt(mpmath.mpf(4) / 5)), [0, 1, 2, 12]
                )
            direct = half if value > 0 else 1 - half
        else:
            with mpmath.workdps(20):
                f = mp_function(density, (h,))
                direct = mpmath.quad(
                    lambda u, f=f: f(u) * mpmath.npdf(u, mpmath.mpf(3) / 7, mpmath.sqrt(mpmath.mpf(4) / 5)),
                    [-12, -3, -1, 0, 1, 3, 12],
                )
        assert float(closed) == pytest.approx(float(direct), rel=1e-12)


def test_evidences_in_closed_form():
    assert GaussianNoise().evidence(y, omega, V) == normal_density(y, omega, V + delta)
    assert Sign().evidence(sp.Integer(1), omega, V) == ndtr(omega / sp.sqrt(V))
    assert Sign().evidence(sp.Integer(-1), omega, V) == ndtr(-omega / sp.sqrt(V))


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_log_evidence_is_the_log(channel):
    for value in outputs(channel):
        at = {omega: FIELD, V: VARIANCE, delta: NOISE}
        stable = mp_function(channel.log_evidence(value, omega, V).subs(at), ())()
        direct = mp_function(sp.log(channel.evidence(value, omega, V)).subs(at), ())()
        assert float(stable) == pytest.approx(float(direct), rel=1e-13)


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_output_function_against_differences(channel):
    for value in outputs(channel):
        fixed = {V: VARIANCE, delta: NOISE}
        log_evidence = mp_function(sp.log(channel.evidence(value, omega, V)).subs(fixed), (omega,))
        slope = mp_function(channel.output_function(value, omega, V).subs(fixed), (omega,))
        with mpmath.workdps(50):
            at = mpmath.mpf(3) / 7
            assert abs(mpmath.diff(log_evidence, at) - slope(at)) < mpmath.mpf(10) ** -30


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_heat_equation(channel):
    """dZ/dV = Z''/2: the evidence averages over its centre."""
    for value in outputs(channel):
        evidence = channel.evidence(value, omega, V).subs(delta, NOISE)
        function = mp_function(evidence, (omega, V))
        with mpmath.workdps(50):
            at = (mpmath.mpf(3) / 7, mpmath.mpf(4) / 5)
            left = mpmath.diff(function, at, (0, 1))
            assert abs(left - mpmath.diff(function, at, (2, 0)) / 2) < mpmath.mpf(10) ** -25 * max(
                1, abs(left)
            )


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_score_has_no_mean(channel):
    """The sum over y of Z_out g_out is d/domega 1 = 0; that of Z_out (g_out' + g_out^2) vanishes too."""
    at = {omega: FIELD, V: VARIANCE, delta: NOISE}

    def averaged(f):
        if channel.outputs.is_FiniteSet:
            return sum(
                mp_function((channel.evidence(v, omega, V) * f(v)).subs(at), ())() for v in channel.outputs
            )
        return total(channel, (channel.evidence(y, omega, V) * f(y)).subs(at))

    assert float(averaged(lambda v: channel.output_function(v, omega, V))) == pytest.approx(0, abs=1e-11)
    curvature = averaged(
        lambda v: channel.output_function(v, omega, V).diff(omega) + channel.output_function(v, omega, V) ** 2
    )
    assert float(curvature) == pytest.approx(0, abs=1e-10)


def test_expectation_of_the_output():
    assert GaussianNoise().expectation(lambda v: v, omega, V) == omega
    assert sp.expand(GaussianNoise().expectation(lambda v: v**2, omega, V) - omega**2 - V - delta) == 0
    assert sp.expand(Sign().expectation(lambda v: v**2, FIELD, VARIANCE).evalf() - 1) == pytest.approx(
        0, abs=1e-14
    )


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_stable_far_from_the_output(channel):
    """An output all but impossible at its field: the logarithm and its slope stay finite in doubles."""
    value = -1 if channel.outputs.is_FiniteSet else sp.Integer(-60)
    program = lower(
        [channel.log_evidence(value, omega, V), channel.output_function(value, omega, V)], [omega, V, delta]
    )
    backend = Float64()
    with backend.context():
        log_evidence, slope = program.run(backend, 4, [60.0, 1e-3, 1e-3]).values
    assert np.isfinite(log_evidence)
    assert log_evidence < -1e5
    assert np.isfinite(slope)


@pytest.mark.parametrize(("channel", "symmetric"), [*zip(ALL, (False, False, True), strict=True)], ids=NAMES)
def test_symmetry(channel, symmetric):
    assert channel.symmetric is symmetric


@pytest.mark.parametrize("channel", ALL, ids=NAMES)
def test_sampling_moments(channel):
    """Mean and variance of sampled outputs at h ~ N(omega, V) against the evidence, within five standard
    errors.
    """
    rng = np.random.default_rng(11)
    size = 200_000
    field = float(FIELD) + np.sqrt(float(VARIANCE)) * rng.standard_normal(size)
    drawn = channel.sample(field, rng, delta=float(NOISE))
    assert drawn.shape == field.shape
    at = {delta: NOISE}
    for power in (1, 2):
        if channel.outputs.is_FiniteSet:
            exact = float(sum(v**power * channel.evidence(v, FIELD, VARIANCE) for v in channel.outputs))
        else:
            exact = float(total(channel, y**power * channel.evidence(y, FIELD, VARIANCE)))
        assert np.mean(drawn**power) == pytest.approx(
            exact, abs=5 * np.std(drawn**power) / np.sqrt(size) + 1e-12
        )
    again = channel.sample(field, np.random.default_rng(5), delta=float(NOISE))
    assert np.array_equal(again, channel.sample(field, np.random.default_rng(5), delta=float(NOISE)))
    assert at


def test_noiseless_samples():
    rng = np.random.default_rng(0)
    field = np.array([-2.0, 0.0, 3.0])
    assert np.array_equal(GaussianNoise().sample(field, rng, delta=0.0), field)
    assert np.array_equal(AbsoluteValue().sample(field, rng, delta=0.0), [2, 0, 3])
    assert np.array_equal(Sign().sample(field, rng), [-1, 1, 1])


def test_no_closed_form_is_said():
    class Cubic(GaussianNoise):
        name = "cubic"

        def density(self, y, field):
            return normal_density(y, sp.tanh(field), delta)

    with pytest.raises(NotImplementedError, match="no closed form for the evidence of the channel cubic"):
        Cubic().evidence(y, omega, V)
    assert GaussianAverage(Cubic().density(y, h), h, omega, V).has(GaussianAverage)
