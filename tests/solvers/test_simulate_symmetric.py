"""The symmetric rotationally invariant denoiser: the published resolvent, Jacobians, sampled matrices."""

from __future__ import annotations

import numpy as np
import pytest

from replica.lowering.message_passing import hilbert_transform
from replica.models.quadratic_network import QuadraticNetwork
from solvers.errors import InputError
from solvers.simulate.instances import informed_start, symmetric_instance
from solvers.simulate.rotational import neighbour_slopes
from solvers.simulate.sensing import DenseGaussianSensing
from solvers.simulate.symmetric import symmetric_denoiser, symmetric_scale, symmetric_variance
from tests.solvers.simulate_by_hand import one_thread  # noqa: F401 an autouse fixture


def resolvent(x, width, strength):
    """g(x + i0): the root in the lower half-plane of z(g) = kappa/(kappa - g) + g/q_hat + 1/g (arXiv
    2408.03733), cleared of denominators.
    """
    roots = np.roots([-1 / strength, width / strength + x, -(1 + x * width) + width, width])
    return min(roots, key=lambda root: root.imag)


def by_hand(width):
    return lambda x, strength: np.array([resolvent(v, width, strength).real for v in x])


def noisy(rng, d, width, strength):
    S = symmetric_instance(d, round(width * d), rng)
    noise = rng.standard_normal((d, d))
    return S, S + (noise + noise.T) / np.sqrt(2 * d * strength)


@pytest.mark.parametrize(("width", "strength"), [(0.5, 0.4), (0.5, 30.0), (2.0, 3.0)])
def test_the_generated_transform_is_the_published_resolvent(width, strength):
    """On the bulk; eigenvalues of either sign."""
    x = np.linalg.eigvalsh(noisy(np.random.default_rng(0), 60, width, strength)[1])
    assert strength > 1 or x[0] < 0
    g = np.array([resolvent(v, width, strength) for v in x])
    bulk = g.imag < -1e-3
    assert bulk.sum() > 40
    found = hilbert_transform(QuadraticNetwork())(x, strength, {"kappa": width})
    np.testing.assert_allclose(found[bulk], g.real[bulk], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("x", [-4.0, 9.0, 40.0])
def test_outside_the_bulk_it_is_the_stieltjes_transform(x):
    """The branch that decays like 1/x: real there, found by following it in from infinity."""
    width, strength, g = 0.5, 2.0, 0.0
    for at in np.geomspace(1e6, abs(x), 400) * np.sign(x):
        roots = np.roots([-1 / strength, width / strength + at, -(1 + at * width) + width, width])
        g = min(roots, key=lambda root, near=g or 1 / at: abs(root - near)).real
    found = hilbert_transform(QuadraticNetwork())(np.array([x]), strength, {"kappa": width})[0]
    assert found == pytest.approx(g, rel=1e-6)


def test_the_error_is_the_variance_believed_and_that_of_the_theory():
    """E|S - S_hat|^2/d over instances: the divergence says the same, and so does the integral of rho^3."""
    width, strength, d = 0.5, 1.7, 120
    rng, scale = np.random.default_rng(1), symmetric_scale(120)
    errors, believed = [], []
    for _ in range(10):
        S, Y = noisy(rng, d, width, strength)
        estimate, variance = symmetric_denoiser(scale * Y, strength / 4, by_hand(width))
        np.testing.assert_allclose(estimate, estimate.T, atol=1e-10)
        errors.append(np.sum((S - estimate / scale) ** 2) / d)
        believed.append(variance / 2)
    x = np.linspace(-4, 12, 8001)
    density = np.array([-resolvent(v, width, strength).imag / np.pi for v in x])
    assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-4)
    theory = 1 / strength - 4 * np.pi**2 * np.trapezoid(density**3, x) / (3 * strength**2)
    bar = np.std(errors, ddof=1) / np.sqrt(10)
    assert abs(np.mean(errors) - theory) < 4 * bar + 0.01
    assert np.mean(believed) == pytest.approx(theory, rel=0.03)


def test_the_divergence_is_that_of_the_matrix_function():
    """By central differences in an orthonormal basis of symmetric matrices, of f(x) = x^3/(1 + x^2)."""
    rng, d, step = np.random.default_rng(2), 6, 1e-5
    Y = rng.standard_normal((d, d))
    Y = (Y + Y.T) / 2

    def shrinkage(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * (values**3 / (1 + values**2))) @ vectors.T

    total = 0.0
    for i in range(d):
        for j in range(i, d):
            E = np.zeros((d, d))
            E[i, j] = E[j, i] = 1 if i == j else 0.5**0.5
            total += np.sum(E * (shrinkage(Y + step * E) - shrinkage(Y - step * E))) / (2 * step)
    values = np.linalg.eigvalsh(Y)
    slopes = (3 * values**2 + values**4) / (1 + values**2) ** 2
    found = symmetric_variance(values, values**3 / (1 + values**2), slopes, 2.0)
    assert found == pytest.approx(2 * total / (2.0 * d * d), rel=1e-7)


def test_equal_eigenvalues_contribute_their_slope():
    values, f, slopes = np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 1.5]), np.array([0.7, 0.7, 0.9])
    expected = 2 * (slopes.sum() + 0.7 + 2 * 1.0) / (3.0 * 9)
    assert symmetric_variance(values, f, slopes, 3.0) == pytest.approx(expected, rel=1e-14)
    assert neighbour_slopes(values, f)[-1] == pytest.approx(1.0)


def test_rotations_pass_through():
    rng, d = np.random.default_rng(3), 30
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    _, Y = noisy(rng, d, 0.5, 2.0)
    plain, turned = (symmetric_denoiser(R, 0.5, by_hand(0.5)) for R in (Y, rotation @ Y @ rotation.T))
    np.testing.assert_allclose(turned.estimate, rotation @ plain.estimate @ rotation.T, atol=1e-8)
    assert turned.variance == pytest.approx(plain.variance, rel=1e-6)


def test_iid_sensing_is_symmetric_sensing():
    """<G, sqrt(2 d) S>/d = Tr(X S)/sqrt(d) with X = (G + G^T)/sqrt(2), and the adjoint is that of X."""
    rng, d, n = np.random.default_rng(4), 12, 40
    sensing = DenseGaussianSensing(n, (d, d), 5, dtype=np.float64)
    G = np.concatenate([block for _, block in sensing.chunks()]).reshape(n, d, d)
    X = (G + G.transpose(0, 2, 1)) / np.sqrt(2)
    S, g = symmetric_instance(d, 5, rng), rng.standard_normal(n)
    expected = np.einsum("nij,ij->n", X, S) / np.sqrt(d)
    np.testing.assert_allclose(sensing.forward(symmetric_scale(d) * S), expected, atol=1e-10)
    back = sensing.adjoint(g)
    np.testing.assert_allclose(
        (back + back.T) / 2, np.einsum("n,nij->ij", g, X) / (np.sqrt(2) * d), atol=1e-10
    )


def test_instances_and_starts():
    rng, d = np.random.default_rng(6), 300
    S = symmetric_instance(d, 150, rng)
    assert np.trace(S) / d == pytest.approx(1, abs=0.02)
    assert np.sum(S**2) / d == pytest.approx(3, abs=0.1)
    start, variance = informed_start(S, 0.5, rng, prior_mean=np.eye(d), prior_variance=2.0, symmetric=True)
    np.testing.assert_array_equal(start, start.T)
    assert variance == 1.0


def test_bad_input_is_one_line():
    for R, precision, words in (
        (np.zeros((2, 3)), 1.0, "takes a square matrix"),
        (np.full((2, 2), np.inf), 1.0, "finite"),
        (np.zeros((2, 2)), 0.0, "precision is positive"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            symmetric_denoiser(R, precision, by_hand(0.5))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="d, r >= 1"):
        symmetric_instance(3, 0, np.random.default_rng(0))
