"""Eigenvalues over pairs of replicas against explicit matrices; replicons against published lines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sympy as sp

from replica.ansatz import OneStepRSB
from replica.api import solve
from replica.expr.average import GaussianAverage
from replica.lowering.levels import NestedProgram
from replica.models.gaussian_field import GaussianField, p_spin, sherrington_kirkpatrick
from replica.stability import pair_eigenvalues, replicons, spin_eigenvalues
from replica.symbols import beta, h, q

w = sp.Symbol("w", real=True)


@pytest.mark.parametrize("size", [4, 5, 6])
def test_pair_eigenvalues_of_the_explicit_matrix(size):
    same, one, none = 1.3, 0.4, -0.2
    pairs = list(itertools.combinations(range(size), 2))
    kinds = {2: same, 1: one, 0: none}
    matrix = np.array([[kinds[len({*x} & {*y})] for y in pairs] for x in pairs])
    expected = sorted(
        float(value) for value, count in pair_eigenvalues(same, one, none, size) for _ in range(int(count))
    )
    assert sorted(np.linalg.eigvalsh(matrix)) == pytest.approx(expected, abs=1e-12)


def test_the_replicon_of_a_spin_is_the_square_of_its_response():
    """1 - 2 E tanh^2 + E tanh^4 = E sech^4 (de Almeida and Thouless 1978)."""

    def fields(body):
        return GaussianAverage(body, w, 0, q)

    value, _ = spin_eigenvalues(sp.tanh(w), fields).replicon
    direct = GaussianAverage((1 - sp.tanh(w) ** 2) ** 2, w, 0, q)
    (found,) = replicons(sherrington_kirkpatrick())
    moments, squares, line = NestedProgram((value, direct, found), (q, beta, h)).run((0.6, 1.0, 0.0), 4)
    assert moments == pytest.approx(squares, abs=1e-14)
    assert line == pytest.approx(1 - squares, abs=1e-14)


def test_almeida_thouless_temperature():
    """SK at h = 0.5: the replicon vanishes at T = 0.5351049431153835 (computed outside this library)."""
    model = sherrington_kirkpatrick()
    low, high = (solve(model, T=T, h="1/2")["replicon"] for T in ("0.53510494311", "0.53510494312"))
    assert low < 0 < high
    assert abs(low) < 1e-10


def test_gardner_temperature():
    """Ising p = 3: the replicon of the innermost overlap of one step vanishes at T_G = 0.24026003638 (E.
    Gardner 1985; digits computed outside this library).
    """
    solution = solve(p_spin(3, ansatz=OneStepRSB()), T="0.24026003638")
    assert abs(solution["replicon1"]) < 1e-10


def test_spherical_replicon_is_the_curvature_of_the_entropy():
    """Replica-symmetric: 1 - beta^2 xi''(q) (1 - q)^2 (Crisanti and Sommers 1992)."""
    (found,) = replicons(GaussianField(lambda overlap: overlap**3 / 2, "spherical"))
    assert sp.expand(found - (1 - beta**2 * 3 * q * (1 - q) ** 2)) == 0
