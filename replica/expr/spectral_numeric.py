"""Numerical values of spectral integrals in plain NumPy: a witness for the identities, independent of the
lowered quadrature.

Gauss-Legendre in the angle x = a + (b - a) sin^2(angle/2) on each bulk; about ten digits away from critical
points.
"""

# SymPy's annotations say Basic (or a class) for what is an expression:
# pyright: reportReturnType=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportAssignmentType=false

from __future__ import annotations

import itertools

import numpy as np
import sympy as sp

from replica.expr.spectral import ImaginaryPart, RealPart, SpectralIntegral, unfold_parts

_NODES = 400


def evaluate_spectral(integral: SpectralIntegral) -> float:
    """The integral, for a law without free parameters.

    >>> from replica.ingredients.spectra import point_mass
    >>> from replica.expr.spectral import SpectralDensity
    >>> x, g = sp.Symbol("x", positive=True), sp.Symbol("g")
    >>> semicircle = point_mass(0).plus_wigner(1)
    >>> round(evaluate_spectral(SpectralIntegral(SpectralDensity(g) * x**2, x, g, semicircle)), 10)
    1.0
    """
    body, x, g, law = integral.args
    parts = {RealPart.__name__: np.real, ImaginaryPart.__name__: np.imag}
    integrand = sp.lambdify((x, g), unfold_parts(body), [parts, "numpy"])
    coefficients = sp.lambdify(law.bound_symbols[0], law.coefficients(), "numpy")

    def transform(at: float) -> complex:
        return min(np.roots([float(c) for c in coefficients(at)]), key=lambda root: root.imag)

    branch = np.trim_zeros([float(c) for c in law.branch_polynomial])
    points = np.roots(branch)
    edges = points.real[np.abs(points.imag) < 1e-9 * np.abs(points)]
    if law.nonnegative:
        edges = np.append(edges[edges > 0], 0.0)
    edges = np.sort(edges)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    angles, weights = (nodes + 1) * np.pi / 2, weights * np.pi / 2
    total = 0.0
    for a, b in itertools.pairwise(edges):
        if transform((a + b) / 2).imag > -1e-7:
            continue
        at = a + (b - a) * np.sin(angles / 2) ** 2
        values = integrand(at, np.array([transform(v) for v in at]))
        total += float(np.sum(values * (b - a) * np.sin(angles) / 2 * weights))
    return total
