"""More dimensions than tokens, d > L, without the map to (1/beta, rho/beta).

The library solves beta < 1 at the transposed point.  Here the L x L matrix Y^T Y/L of a tall Y is taken as it is.
Its law: the L columns of Y given U are independent with the d x d covariance U U^T/r + 1/q_hat, of Stieltjes
transform s (Marchenko-Pastur of ratio 1/rho at w = z - 1/q_hat), so that Silverstein's equation for the
transform m of Y^T Y/L reads, for any ratio d/L,

    z = -1/m + (1/(beta m)) (1 - s(w)/m),  w = -(1/q_hat + 1/m)

(J. W. Silverstein and Z. D. Bai, J. Multivariate Anal. 54 (1995) 175, eq. 1.1).  The score of Y in its singular
basis is sum_{j != i} 2 y_i/(y_i^2 - y_j^2) + (d - L)/y_i, from the Jacobian of the singular values of a d x L
matrix, and mmse = 1/q_hat - E|score|^2/(dL q_hat^2).
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp

from replica import solve
from replica.lowering.problem import pair_problem
from replica.models import BilinearSequenceRegression
from solvers.backends.float64 import Float64

BSR = BilinearSequenceRegression()
KNOWN = "0.67145133752025898528"  # at alpha, beta, rho, delta = 0.37, 0.4, 0.3, 0.23; computed elsewhere
Z, M = sp.symbols("z m")


def law(beta, rho, q_hat):
    """P(z, m) = 0 of the Stieltjes transform of Y^T Y/L, exact coefficients."""
    b, c, noise = sp.Rational(beta), 1 / sp.Rational(rho), 1 / sp.Rational(q_hat)
    w, s = -(noise + 1 / M), M * (1 - b - b * M * Z)
    return sp.Poly(sp.numer(sp.together(c * w * s**2 + (w + c - 1) * s + 1)), M)


def spectrum(beta, rho, q_hat, nodes=200):
    """Nodes x, weights, density and Hilbert transform of the law on its bulks."""
    polynomial = law(beta, rho, q_hat)
    discriminant = sp.Poly(sp.discriminant(polynomial.as_expr(), M), Z)
    factors = [f for f, _ in sp.factor_list(discriminant)[1]]
    roots = [complex(x) for f in factors for x in sp.Poly(f, Z).nroots(30, maxsteps=200)]
    # real: the edges; nearly real: two edges that have just met, and the density dips
    edges = sorted({x.real for x in roots if x.real > 1e-12 and abs(x.imag) < x.real / 2})
    coefficients = [sp.lambdify(Z, c, "numpy") for c in polynomial.all_coeffs()]

    b = float(Fraction(beta))

    def transform(x):
        for m in np.roots([float(c(x)) for c in coefficients]):
            s = m * (1 - b - b * m * x)
            if m.imag > 1e-9 and s.imag > 0:
                return m
        return 0j

    angles, weights = np.polynomial.legendre.leggauss(nodes)
    angles, weights = (angles + 1) * np.pi / 2, weights * np.pi / 2
    at, dx = [], []
    for first, last in pairwise(edges):
        if transform((first + last) / 2).imag > 1e-6:
            at.append(first + (last - first) * np.sin(angles / 2) ** 2)
            dx.append((last - first) * np.sin(angles) / 2 * weights)
    x, dx = np.concatenate(at), np.concatenate(dx)
    m = np.array([transform(v) for v in x])
    return x, dx, m.imag / np.pi, -m.real


def tall_mmse(beta, rho, q_hat):
    """Of S + Z/sqrt(q_hat), d > L, by quadrature over the law of Y^T Y/L."""
    x, dx, density, hilbert = spectrum(beta, rho, q_hat)
    assert (density * dx).sum() == pytest.approx(1, abs=1e-9)  # no atom: all L singular values are positive
    b, q = float(Fraction(beta)), float(Fraction(q_hat))
    assert (density * x * dx).sum() == pytest.approx((1 + 1 / q) / b, rel=1e-9)  # E|Y|^2/L^2
    score = 2 * np.sqrt(x) * hilbert + (1 / b - 1) / np.sqrt(x)
    return 1 / q - b * (density * score**2 * dx).sum() / q**2


# rank below, above and at the smaller side L
POINTS = [("2/5", "3/10"), ("1/2", "1/5"), ("1/3", "1/2"), ("9/10", "9/10"), ("1/10", "2")]


@pytest.mark.parametrize(("beta", "rho"), POINTS)
@pytest.mark.parametrize("q_hat", ["1/3", "3"])
def test_the_error_of_a_tall_signal(beta, rho, q_hat):
    values = {"beta": Fraction(beta), "rho": Fraction(rho)}
    canonical = {name: float(x) for name, x in BSR.canonical(values).items()}
    mapped = float(pair_problem(BSR).signal(Float64(), 6, float(Fraction(q_hat)), canonical).value)
    assert tall_mmse(beta, rho, q_hat) == pytest.approx(mapped, abs=1e-8)


def test_the_fixed_point_of_a_tall_signal():
    """v = MMSE(alpha/(Delta + v)) iterated on the tall side alone, against the number known and against solve."""
    point = {"alpha": "0.37", "beta": "0.4", "rho": "0.3", "delta": "0.23"}
    v = 1.0
    for _ in range(30):
        v, before = tall_mmse("2/5", "3/10", Fraction(0.37 / (0.23 + v)).limit_denominator(10**9)), v
        if abs(v - before) < 1e-10:
            break
    assert v == pytest.approx(float(KNOWN), abs=1e-8)
    assert solve(BSR, **point)["mmse"] == pytest.approx(v, abs=1e-8)
    strength = Fraction("0.37") / (Fraction("0.23") + Fraction(KNOWN))
    assert tall_mmse("2/5", "3/10", strength) == pytest.approx(float(KNOWN), abs=1e-9)


def test_the_error_of_a_sampled_tall_signal():
    """The denoiser written by hand on the singular values of one matrix of 1200 x 480."""
    d, L, r, q_hat = 1200, 480, 360, 0.75
    rng = np.random.default_rng(5)
    S = rng.standard_normal((d, r)) @ rng.standard_normal((r, L)) / np.sqrt(r)
    Y = S + rng.standard_normal((d, L)) / np.sqrt(q_hat)
    left, y, right = np.linalg.svd(Y, full_matrices=False)
    x = y**2 / L
    gaps = x[:, None] - x[None, :]
    width = 0.3 * np.sqrt(x[:, None] / L) * np.sqrt(x.mean())  # many spacings, far below the bulk
    hilbert = (gaps / (gaps**2 + width**2)).mean(axis=1)
    denoised = y - (2 * y * hilbert + (d - L) / y) / q_hat
    mse = ((S - (left * denoised) @ right) ** 2).mean()
    expected = tall_mmse("2/5", "3/10", "3/4")
    print(mse, expected)
    assert mse == pytest.approx(expected, abs=0.01)
    # the estimate is far better than the best linear one, 1/(1 + q_hat)
    assert expected < 1 / (1 + q_hat) - 0.03
    # the law itself: the counts below the quantiles
    nodes, dx, density, _ = spectrum("2/5", "3/10", "3/4")
    for power in (-1, 1, 2):
        assert (x**power).mean() == pytest.approx((density * nodes**power * dx).sum(), rel=0.02)
