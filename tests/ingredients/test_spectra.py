"""Laws of spectra: closed forms, identities of the operations, sampled matrices, and mass where naive
quadrature fails.

Every number is computed here, independently of this library: closed forms, sampled matrices, or moments by
free cumulants.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from replica.expr.spectral import HilbertTransform, LogPotential, SpectralDensity, SpectralIntegral
from replica.ingredients import spectra
from replica.ingredients.spectra import (
    Law,
    gaussian_factors,
    gaussian_matrix,
    physical_factor,
    point_mass,
)
from replica.lowering.printer import compile_kernel
from replica.lowering.program import lower
from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP
from solvers.quadrature.spectral import spectral_nodes

z, g = spectra.z, spectra.g
beta, rho, t, c, v = sp.symbols("beta rho t c v", positive=True)
x = sp.Symbol("x", positive=True)
gx = sp.Symbol("g_x")
NOISY = gaussian_factors(beta, rho).plus_gaussian(t, 1 / beta)  # t = 1/q_hat


def same_polynomial(left, right):
    """Whether two relations P(z, g) = 0 differ by a factor free of z and g."""
    return not sp.cancel(left / right).has(z, g)


LAWS = {
    "semicircle": point_mass(0).plus_wigner(v),
    "Marchenko-Pastur": gaussian_matrix(c),
    "two factors": gaussian_factors(beta, rho),
    "factors and noise": NOISY,
    "transposed": gaussian_matrix(c).transposed(c),
    "scaled": gaussian_matrix(c).scaled(v),
    "free sum": gaussian_matrix(c).plus_wigner(v),
    "shifted": point_mass(t).plus_gaussian(v, c),
}


@pytest.mark.parametrize("name", LAWS)
def test_args_invariants(name):
    law = LAWS[name]
    assert law.func(*law.args) == law
    assert law.free_symbols <= {beta, rho, t, c, v}
    assert not law.free_symbols & {z, g}
    at = dict.fromkeys(law.free_symbols, sp.Rational(3, 2))
    assert isinstance(law.subs(at), Law)
    assert not law.subs(at).free_symbols


# --- closed forms -------------------------------------------------------------------------------------------


def test_semicircle_polynomial_and_edges():
    law = LAWS["semicircle"]
    assert same_polynomial(law.polynomial, v * g**2 - z * g + 1)
    assert not law.nonnegative
    edges = sp.Poly.from_list(law.branch_polynomial, sp.Dummy()).all_coeffs()
    assert sp.cancel(edges[2] / edges[0] + 4 * v) == 0  # z^2 = 4 v
    assert edges[1] == 0


def test_marchenko_pastur_polynomial_and_edges():
    """c z g^2 + (c - 1 + z ... ) g + 1 = 0 in the form of V. Marchenko and L. Pastur (1967): edges (1 +- sqrt
    c)^2.
    """
    law = gaussian_matrix(c)
    assert same_polynomial(law.polynomial, c * z * g**2 - (z + c - 1) * g + 1)
    points = sp.Poly.from_list(law.branch_polynomial, x)
    for root in ((1 + sp.sqrt(c)) ** 2, (1 - sp.sqrt(c)) ** 2, 0):
        assert sp.expand(points.as_expr().subs(x, root)) == 0
    assert points.degree() == 3


@pytest.mark.parametrize(
    ("law", "polynomial"),
    [
        # S = U V^T/sqrt r at beta = rho = 1: the square of a 2-fold free product, Fuss-Catalan: z^2 g^3 - z g
        # + 1
        (gaussian_factors(1, 1), z**2 * g**3 - z * g + 1),
        (gaussian_matrix(1).scaled(3), 3 * z * g**2 - z * g + 1),
        (
            gaussian_matrix(sp.Rational(1, 2)).transposed(sp.Rational(1, 2)),
            2 * z * g**2 - (2 * z + 1) * g + 2,
        ),
        (point_mass(3).plus_wigner(1), g**2 - (z - 3) * g + 1),
        (point_mass(0).plus_gaussian(2, 1), 2 * z * g**2 - z * g + 1),
    ],
    ids=["Fuss-Catalan", "scaled", "transposed", "shifted semicircle", "square with variance"],
)
def test_polynomial_of_an_operation(law, polynomial):
    assert same_polynomial(law.polynomial, polynomial)


def test_operations_that_undo_each_other():
    law = gaussian_matrix(c)
    assert same_polynomial(law.transposed(c).transposed(1 / c).polynomial, law.polynomial)
    assert same_polynomial(law.scaled(v).scaled(1 / v).polynomial, law.polynomial)
    assert same_polynomial(
        point_mass(0).plus_wigner(1).plus_wigner(2).polynomial, point_mass(0).plus_wigner(3).polynomial
    )
    twice = law.plus_gaussian(v, c).polynomial
    assert same_polynomial(twice, law.scaled(1 + v).polynomial)  # sums of Gaussian matrices


@functools.cache
def nodes_of(law, level=5, backend=None):
    backend = backend or Float64()
    coefficients = compile_kernel(law.coefficients(), [z])
    branch = compile_kernel(law.branch_polynomial, [])
    with backend.context():
        return spectral_nodes(
            backend,
            level,
            lambda at: coefficients(backend, at),
            lambda: branch(backend),
            law.nonnegative,
            [],
        )


@pytest.mark.parametrize("aspect", ["1/3", "1", "7/10"])
def test_marchenko_pastur_density_and_hilbert_transform(aspect):
    a = sp.Rational(aspect)
    nodes = nodes_of(gaussian_matrix(a))
    at, a = nodes.x, float(a)
    lower_edge, upper_edge = (1 - np.sqrt(a)) ** 2, (1 + np.sqrt(a)) ** 2
    inside = (at > lower_edge + 1e-3) & (at < upper_edge - 1e-3)
    density = np.sqrt((upper_edge - at[inside]) * (at[inside] - lower_edge)) / (2 * np.pi * a * at[inside])
    hilbert = (at[inside] + a - 1) / (2 * a * at[inside])
    assert inside.sum() > 60
    assert at.min() >= lower_edge - 1e-12
    assert at.max() <= upper_edge + 1e-12
    assert -nodes.g[inside].imag / np.pi == pytest.approx(density, rel=1e-10)
    assert nodes.g[inside].real == pytest.approx(hilbert, rel=1e-10, abs=1e-12)


def test_semicircle_density_and_hilbert_transform():
    nodes = nodes_of(point_mass(0).plus_wigner(2))
    at = nodes.x[np.abs(nodes.x) < 2.8]
    values = nodes.g[np.abs(nodes.x) < 2.8]
    assert -values.imag / np.pi == pytest.approx(np.sqrt(8 - at**2) / (4 * np.pi), rel=1e-10)
    assert values.real == pytest.approx(at / 4, abs=1e-12)


def test_log_potential_of_the_semicircle():
    """Re U = x^2/4 - 1/2 inside [-2, 2] (E. Saff and V. Totik, Logarithmic Potentials, example IV.5.1)."""
    law = point_mass(0).plus_wigner(1)
    potential = sp.lambdify((z, g), law.log_potential)
    for at in (-1.9, -0.3, 0.0, 1.2):
        transform = complex(at / 2, -np.sqrt(4 - at**2) / 2)
        assert potential(at, transform).real == pytest.approx(at**2 / 4 - 0.5, abs=1e-14)


@pytest.mark.parametrize("name", LAWS)
def test_potential_outside_the_support_is_the_mean_of_the_logarithm(name):
    """U(z) and g(z) far to the right, on the root g ~ 1/z, against the law's own nodes."""
    at = {s: sp.Rational(5 + k, 4) for k, s in enumerate((beta, c, rho, t, v))} | {
        c: sp.Rational(2, 3),
        rho: sp.Rational(3, 5),
    }
    law = LAWS[name].subs(at)
    nodes = nodes_of(law)
    far = float(nodes.x.max()) + 3
    roots = np.roots([complex(k.subs(z, sp.Rational(far))) for k in law.coefficients()])
    transform = min(roots, key=lambda root: abs(root * far - 1))
    weights = -nodes.g.imag / np.pi * nodes.weights
    at_zero = 1 - weights.sum()  # an atom at 0: rank-deficient matrices
    assert transform == pytest.approx((weights / (far - nodes.x)).sum() + at_zero / far, rel=1e-9)
    potential = complex(sp.N(law.log_potential.subs({z: sp.Rational(far), g: sp.Float(transform.real, 20)})))
    assert potential.real == pytest.approx(
        (weights * np.log(far - nodes.x)).sum() + at_zero * np.log(far), rel=1e-9
    )


@pytest.mark.parametrize("name", LAWS)
def test_the_potential_is_a_primitive_of_the_transform(name):
    """dU/dz = g on every root of P, at 30 digits: U_z + U_g g'(z), g' = -P_z/P_g."""
    at = {
        beta: sp.Rational(9, 5),
        rho: sp.Rational(3, 7),
        t: sp.Rational(5, 6),
        c: sp.Rational(2, 3),
        v: sp.Rational(4, 3),
    }
    law = LAWS[name].subs(at)
    slope = law.log_potential.diff(z) - law.log_potential.diff(g) * law.polynomial.diff(
        z
    ) / law.polynomial.diff(g)
    with mpmath.workdps(60):
        value = sp.lambdify((z, g), slope, "mpmath")
        for point in (mpmath.mpf("0.37"), mpmath.mpf("5.3"), mpmath.mpc("1.1", "0.4")):
            coefficients = [
                sp.lambdify(z, k, "mpmath")(point) for k in sp.Poly(law.polynomial, g).all_coeffs()
            ]
            for root in mpmath.polyroots(coefficients, maxsteps=200, extraprec=200):
                assert abs(value(point, root) - root) < mpmath.mpf(10) ** -30 * max(1, abs(root))


@pytest.mark.parametrize("seed", range(4))
def test_at_most_one_complex_pair_on_the_positive_axis(seed):
    """What the rule for the physical root rests on; Im g < 0 above the axis then tells the two apart."""
    rng = np.random.default_rng(seed)
    coefficients = sp.lambdify((z, beta, rho, t), NOISY.coefficients())
    for _ in range(500):
        b, r, noise = 1 + 10 ** rng.uniform(-4, 1), 10 ** rng.uniform(-2, 1), 10 ** rng.uniform(-3, 2)
        point = 10 ** rng.uniform(-3, 2)
        roots = np.roots(np.array(coefficients(point, b, r, noise), dtype=float))
        assert (roots.imag > 1e-5 * np.abs(roots)).sum() <= 1


# --- the physical factor ------------------------------------------------------------------------------------


def test_physical_factor_takes_the_root_with_unit_mass():
    right = g**2 - z * g + 1
    assert same_polynomial(physical_factor(sp.expand(right * (z * g - 2) * (g - 5))), right)


@pytest.mark.parametrize(
    "relation", [(z * g - 2) * (g - 5), (g**2 - z * g + 1) * (z * g - g**2 - 1 - g**3), z - 3]
)
def test_physical_factor_refuses_none_or_several(relation):
    with pytest.raises(ValueError, match=r"expected one factor with g ~ 1/z at infinity, found [02]"):
        physical_factor(sp.expand(relation))


# --- sampled matrices ---------------------------------------------------------------------------------------


def sampled(name, size, rng):
    """Eigenvalues of one matrix of about `size` rows, and its law."""
    if name == "Marchenko-Pastur":
        m = rng.standard_normal((size, 2 * size))
        return np.linalg.eigvalsh(m @ m.T / (2 * size)), gaussian_matrix(sp.Rational(1, 2))
    if name == "transposed":
        m = rng.standard_normal((2 * size, size))
        return np.linalg.eigvalsh(m.T @ m / size), gaussian_matrix(2).transposed(2)
    if name in ("factors", "factors and noise"):
        columns, rank = 3 * size // 2, 2 * size  # beta = 3/2, rho = 2
        s = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, columns)) / np.sqrt(rank)
        law = gaussian_factors(sp.Rational(3, 2), 2)
        if name == "factors and noise":
            s = s + np.sqrt(0.8) * rng.standard_normal((size, columns))
            law = law.plus_gaussian(sp.Rational(4, 5), sp.Rational(2, 3))
        return np.linalg.eigvalsh(s @ s.T / columns), law
    m = rng.standard_normal((size, 2 * size))
    w = rng.standard_normal((size, size)) / np.sqrt(2 * size)
    wigner = w + w.T
    if name == "plus Wigner":
        return np.linalg.eigvalsh(m @ m.T / (2 * size) + np.sqrt(0.3) * wigner), gaussian_matrix(
            sp.Rational(1, 2)
        ).plus_wigner(sp.Rational(3, 10))
    return 3 * np.linalg.eigvalsh(m @ m.T / (2 * size)), gaussian_matrix(sp.Rational(1, 2)).scaled(3)


@pytest.mark.parametrize(
    "name", ["Marchenko-Pastur", "transposed", "factors", "factors and noise", "plus Wigner", "scaled"]
)
def test_law_of_sampled_matrices(name):
    """Moments fluctuate by O(1/size) (linear statistics); the distribution function of the eigenvalues
    deviates by O(log size/size).
    """
    size = 300
    values, law = sampled(name, size, np.random.default_rng(7))
    nodes = nodes_of(law)
    weights = -nodes.g.imag / np.pi * nodes.weights
    assert weights.sum() == pytest.approx(1, abs=1e-10)
    for power in (1, 2, 3):
        moment = (weights * nodes.x**power).sum()
        assert np.mean(values**power) == pytest.approx(moment, rel=10 * power**2 / size)
    order = np.argsort(nodes.x.ravel())
    at, cumulated = nodes.x.ravel()[order], np.cumsum(weights.ravel()[order]) - weights.ravel()[order] / 2
    distance = np.max(np.abs(np.interp(np.sort(values), at, cumulated) - (np.arange(size) + 0.5) / size))
    assert distance < 2 * np.log(size) / size


# --- mass and moments where quadrature is hard --------------------------------------------------------------

MASS = SpectralIntegral(SpectralDensity(gx), x, gx, NOISY)
FIRST = SpectralIntegral(x * SpectralDensity(gx), x, gx, NOISY)
SECOND = SpectralIntegral(x**2 * SpectralDensity(gx), x, gx, NOISY)


@functools.cache
def program():
    return lower([MASS, FIRST, SECOND], [beta, rho, t])


def moments(backend, level, *values):
    with backend.context():
        result = program().run(backend, level, [backend.number(value) for value in values])
    return [np.asarray(m)[()] for m in result.values], float(np.max(result.error))


def second_moment(b, r, noise):
    """E Tr (Y Y^T/L)^2/d at large d by planar Wick contractions: signal, noise, and the mixed ones."""
    b, r, noise = Fraction(b), Fraction(r), Fraction(noise)
    return (1 + 1 / b + 1 / r) + 2 * noise * (1 + 1 / b) + noise**2 * (1 + 1 / b)


CASES = {
    # beta, rho, noise variance
    "hard edge": ("1", "1/2", "1"),
    "one bulk": ("2", "1/2", "1"),
    "two bulks": ("2", "1/2", "1/50"),
    "full rank": ("2", "3", "1/2"),
    "rank 1 < rho, little noise": ("3/2", "3/2", "1/10000"),
    "low rank, noise 1e-4": ("2", "1/2", "1/10000"),
    "low rank, noise 1e-8": ("2", "1/2", "1/100000000"),
    "hard edge, noise 1e-4": ("1", "1/5", "1/10000"),
    "near-hard edge": ("10001/10000", "1/2", "1"),
    "near-hard edge, two bulks": ("10001/10000", "1/5", "1/100"),
}


@pytest.mark.parametrize("case", CASES)
def test_mass_and_moments_in_doubles(case):
    values = CASES[case]
    (mass, first, second), error = moments(Float64(), 6, *values)
    noise = float(sp.Rational(values[2]))
    assert mass == pytest.approx(1, abs=1e-10)
    assert first == pytest.approx(1 + noise, rel=1e-10)
    assert second == pytest.approx(float(second_moment(*values)), rel=1e-10)
    assert error < 1e-8


@pytest.mark.parametrize("case", ["hard edge", "two bulks", "near-hard edge", "low rank, noise 1e-8"])
def test_mass_and_moments_at_thirty_digits(case):
    values = CASES[case]
    exact = second_moment(*values)
    backend = Arb(30)
    (mass, first, second), error = moments(backend, 6, *values)
    with backend.context():
        noise = backend.number(values[2])
        assert abs(backend.to_float(mass - 1)) < 1e-24
        assert abs(backend.to_float(first - 1 - noise)) < 1e-24
        assert abs(backend.to_float(second - backend.number(exact))) < 1e-23
    assert error < 1e-20


@pytest.mark.parametrize("case", ["hard edge", "two bulks"])
def test_mass_and_moments_by_the_second_precise_backend(case):
    backend = MP(20)
    values = CASES[case]
    (mass, first, second), _ = moments(backend, 5, *values)
    assert float(abs(mass - 1)) < 1e-15
    assert float(abs(first - 1 - backend.number(values[2]))) < 1e-15
    assert float(abs(second - backend.number(second_moment(*values)))) < 1e-14


# --- bulks that merge ---------------------------------------------------------------------------------------

BRANCH = sp.lambdify((beta, rho, t), NOISY.branch_polynomial)


def positive_edges(b, r, noise):
    with mpmath.workdps(60):
        coefficients = [mpmath.mpf(1) * k for k in BRANCH(mpmath.mpf(b), mpmath.mpf(r), noise)]
        while coefficients[-1] == 0:
            coefficients.pop()
        roots = mpmath.polyroots(coefficients, maxsteps=300, extraprec=300)
        return sum(1 for root in roots if abs(root.imag) < mpmath.mpf(10) ** -25 and root.real > 0)


@functools.cache
def critical_noise(b, r):
    """The noise at which the gap of the spectrum closes, by bisection on the number of positive branch
    points.
    """
    with mpmath.workdps(60):
        low, high = mpmath.mpf("1e-3"), mpmath.mpf(3)
        many, few = positive_edges(b, r, low), positive_edges(b, r, high)
        assert many > few
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if positive_edges(b, r, middle) == many else (low, middle)
        return (low + high) / 2


@pytest.mark.parametrize("shape", [("2", "0.5"), ("1.3", "0.2")])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-9])
def test_mass_when_bulks_are_about_to_merge_or_split(shape, side, distance):
    b, r = shape
    noise = str(mpmath.nstr(critical_noise(b, r) * (1 + side * distance), 17))
    (mass, first, second), _ = moments(Float64(), 7, b, r, noise)
    assert mass == pytest.approx(1, abs=1e-10)
    assert first == pytest.approx(1 + float(noise), abs=1e-10)
    assert second == pytest.approx(float(second_moment(b, r, noise)), rel=1e-10)


# --- Hilbert transform --------------------------------------------------------------------------------------


def test_hilbert_transform_is_the_principal_value():
    """Re g against the integral of (rho(y) - rho(x))/(x - y) plus rho(x) log[(x - a)/(b - x)], at the middle
    of the bulk.
    """
    law = NOISY.subs({beta: 2, rho: 2, t: 1})
    nodes = nodes_of(law, level=6)
    assert nodes.x.shape[0] == 1
    a, b = float(nodes.x.min()), float(nodes.x.max())
    coefficients = sp.lambdify(z, law.coefficients())
    for at in (a + 0.31 * (b - a), a + 0.6 * (b - a)):
        transform = min(np.roots(np.array(coefficients(at), dtype=float)), key=lambda root: root.imag)
        density = -transform.imag / np.pi
        quotient = (-nodes.g.imag / np.pi - density) / (at - nodes.x)
        value = (quotient * nodes.weights).sum() + density * np.log((at - a) / (b - at))
        assert value == pytest.approx(transform.real, abs=1e-8)


def test_energy_from_the_potential_and_from_pairs_of_sampled_eigenvalues():
    """The double integral of log|x - y| two ways; the sum over pairs has errors of order log(size)/size."""
    size = 400
    values, law = sampled("factors and noise", size, np.random.default_rng(3))
    potential = law.log_potential.subs({z: x, g: gx}, simultaneous=True)
    integral = SpectralIntegral(SpectralDensity(gx) * LogPotential(potential, gx), x, gx, law)
    backend = Float64()
    with backend.context():
        (energy,) = lower([integral], []).run(backend, 6, []).values
    gaps = np.abs(values[:, None] - values[None, :])[np.triu_indices(size, 1)]
    assert 2 * np.log(gaps).sum() / size**2 == pytest.approx(float(energy), abs=2 * np.log(size) / size)


def test_hilbert_transform_averages_to_zero():
    integral = SpectralIntegral(
        SpectralDensity(gx) * HilbertTransform(gx), x, gx, LAWS["Marchenko-Pastur"].subs(c, sp.Rational(1, 3))
    )
    backend = Float64()
    with backend.context():
        (value,) = lower([integral], []).run(backend, 6, []).values
    assert float(value) == pytest.approx(0, abs=1e-12)
