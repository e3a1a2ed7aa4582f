"""Integrals over spectra: arguments, substitution, derivatives in a parameter, LaTeX."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from replica.expr.printing import latex
from replica.expr.spectral import (
    HilbertTransform,
    ImaginaryPart,
    LogPotential,
    RealPart,
    SpectralDensity,
    SpectralIntegral,
    unfold_parts,
)
from replica.expr.spectral_numeric import evaluate_spectral
from replica.ingredients.spectra import point_mass
from replica.lowering.program import lower
from solvers.backends.arb import Arb
from solvers.backends.mp import MP

x = sp.Symbol("x", positive=True)
g = sp.Symbol("g_Y")
v, c = sp.symbols("v c", positive=True)
SEMICIRCLE = point_mass(0).plus_wigner(v)  # variance v
SHIFTED = point_mass(c).plus_gaussian(v, sp.Rational(1, 2))
DENSITY, HILBERT = SpectralDensity(g), HilbertTransform(g)
SECOND = SpectralIntegral(DENSITY * x**2, x, g, SEMICIRCLE)


def value(integral, **point):
    return evaluate_spectral(integral.subs({sp.Symbol(k, positive=True): w for k, w in point.items()}))


def test_args_invariants():
    for expr in (SECOND, DENSITY, HILBERT, LogPotential(x * g, g), RealPart(g), SECOND.diff(v)):
        assert expr.func(*expr.args) == expr
    assert SECOND.free_symbols == {v}
    other = sp.Symbol("g_Z")
    assert (
        SECOND.as_dummy() == SpectralIntegral(SpectralDensity(other) * x**2, x, other, SEMICIRCLE).as_dummy()
    )


def test_substitution_does_not_capture():
    scaled = SpectralIntegral(c * DENSITY * x**2, x, g, SEMICIRCLE)
    captured = scaled.subs(c, x)  # the outer x: a parameter, not the eigenvalue
    assert captured.free_symbols == {x, v}
    assert captured.bound_symbols[0] != x
    assert value(captured.subs(x, 3), v=2) == pytest.approx(6, abs=1e-9)
    assert scaled.subs(x, 5) == scaled
    into_law = SECOND.subs(v, x)
    assert value(into_law.subs(x, 2)) == pytest.approx(2, abs=1e-9)
    assert into_law.free_symbols == {x}


def test_moments_of_the_semicircle():
    """Catalan numbers: the second moment is v, the fourth 2 v^2."""
    assert value(SECOND, v=3) == pytest.approx(3, abs=1e-9)
    assert value(SpectralIntegral(DENSITY * x**4, x, g, SEMICIRCLE), v=3) == pytest.approx(18, abs=1e-8)


def functional(name):
    potential = SHIFTED.log_potential.subs(
        dict(zip(SHIFTED.bound_symbols, (x, g), strict=True)), simultaneous=True
    )
    return {
        "second moment": DENSITY * x**2,
        "energy": DENSITY * LogPotential(potential, g),
        "cube": v * x * DENSITY**3,
        "hilbert": DENSITY * x * HILBERT**2,
    }[name]


@pytest.mark.parametrize("name", ["second moment", "energy", "cube", "hilbert"])
def test_derivative_in_a_parameter_of_the_law(name):
    """The lowered derivative at 30 digits against a five-point difference at 60: the body vanishes at the
    edges.
    """
    integral = SpectralIntegral(functional(name), x, g, SHIFTED)
    point = {v: sp.Rational(3, 4), c: sp.Rational(9, 5)}

    def at(expr, digits, level, values):
        backend = Arb(digits)
        program = lower([expr], [v, c])
        with backend.context():
            (result,) = program.run(
                backend, level, [backend.rational(int(u.p), int(u.q)) for u in values]
            ).values
            return np.asarray(result)[()].mid().str(digits, radius=False)

    mp = MP(60).mp
    for parameter in (v, c):
        slope = mp.mpf(at(integral.diff(parameter), 30, 6, point.values()))
        step = sp.Rational(1, 10**4)
        samples = {}
        for k in (-2, -1, 1, 2):
            moved = point | {parameter: point[parameter] + k * step}
            samples[k] = mp.mpf(at(integral, 40, 6, moved.values()))
        h = mp.mpf(1) / 10**4
        difference = (8 * (samples[1] - samples[-1]) - (samples[2] - samples[-2])) / (12 * h)
        assert abs(slope - difference) < 1e-12 * max(1, abs(difference))


def test_second_moment_derivative_is_exact():
    assert value(SECOND.diff(v), v=2) == pytest.approx(1, abs=1e-6)
    assert SECOND.diff(c) == 0


def test_derivative_in_a_parameter_that_the_law_does_not_have():
    integral = SpectralIntegral(c**2 * DENSITY * x**2, x, g, SEMICIRCLE)
    assert integral.diff(c) == SpectralIntegral(2 * c * DENSITY * x**2, x, g, SEMICIRCLE)
    assert not integral.diff(c).has(ImaginaryPart)
    assert integral.diff(x) == integral.diff(g) == 0


def test_parts_unfold_to_real_and_imaginary_parts():
    at = complex(0.7, -0.4)
    functions = {"RealPart": np.real, "ImaginaryPart": np.imag}
    expr = unfold_parts(3 * DENSITY + HILBERT**2 + LogPotential(g**2, g))
    lowered = sp.lambdify(g, expr, [functions, "numpy"])(at)
    assert lowered == pytest.approx(3 * 0.4 / np.pi + 0.49 + (at**2).real, rel=1e-15)
    assert (DENSITY**2).diff(g) == -2 * DENSITY * ImaginaryPart(1) / sp.pi


@pytest.mark.parametrize(
    ("expr", "tex"),
    [
        (SpectralIntegral(x * DENSITY**3, x, g, SEMICIRCLE), r"\int\!\mathrm{d}x\;x \varrho_{Y}^{3}(x)"),
        (
            SpectralIntegral(DENSITY + HILBERT, x, g, SEMICIRCLE) / (2 * v),
            r"\frac{1}{2 v} \int\!\mathrm{d}x\;\left(h_{Y}(x) + \varrho_{Y}(x)\right)",
        ),
        (LogPotential(g, g), r"\int\!\varrho_{Y}(x')\log|x-x'|\,\mathrm{d}x'"),
        (RealPart(g), r"\operatorname{Re}\left[g_{Y}\right]"),
        (ImaginaryPart(g) ** 2, r"\operatorname{Im}\left[g_{Y}\right]^{2}"),
    ],
    ids=["cube", "fraction before", "potential", "real", "imaginary"],
)
def test_latex(expr, tex):
    assert latex(expr) == tex
