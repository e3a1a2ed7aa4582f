"""The sensing operator: an adjoint pair, the same matrix however it is stored, within its budget."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate import sensing as module
from solvers.simulate.sensing import DenseGaussianSensing, RowSensing, Sensing

KIB = 1 << 10


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 16 * KIB)


def dense(operator):
    matrix = np.empty((operator.samples, operator.shape[0] * operator.shape[1]))
    for rows, block in operator.chunks():
        matrix[rows] = block
    return matrix


@pytest.mark.parametrize(("dtype", "accuracy"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_products_are_those_of_the_matrix(small_chunks, dtype, accuracy):
    operator = DenseGaussianSensing(301, (7, 13), 5, dtype=dtype)
    rng = np.random.default_rng(1)
    signal, residual = rng.standard_normal((7, 13)), rng.standard_normal(301)
    matrix = dense(operator) / np.sqrt(91)
    np.testing.assert_allclose(operator.forward(signal), matrix @ signal.ravel(), atol=accuracy)
    np.testing.assert_allclose(operator.adjoint(residual).ravel(), residual @ matrix, atol=10 * accuracy)
    assert np.vdot(operator.forward(signal), residual) == pytest.approx(
        np.vdot(signal, operator.adjoint(residual)), rel=20 * accuracy
    )
    assert operator.forward(signal).dtype == operator.adjoint(residual).dtype == np.float64


def test_entries_are_standard_normal():
    entries = dense(DenseGaussianSensing(400, (20, 30), 3))
    count = entries.size
    assert abs(entries.mean()) < 4 / np.sqrt(count)
    assert abs(entries.var() - 1) < 4 * np.sqrt(2 / count)
    assert abs(np.mean(entries**4) - 3) < 4 * np.sqrt(96 / count)


def test_regenerated_chunks_are_the_stored_ones(small_chunks):
    shape, n = (8, 16), 333
    stored = DenseGaussianSensing(n, shape, 11)
    part = DenseGaussianSensing(n, shape, 11, memory_budget=65 * KIB, regenerate=True)
    none = DenseGaussianSensing(n, shape, 11, memory_budget=16 * KIB, regenerate=True)
    assert stored.regenerated_chunks == 0
    assert part.regenerated_chunks == 8
    assert part.stored_bytes == 48 * KIB  # one chunk of the budget is the scratch space
    assert none.stored_bytes == 0
    signal, residual = np.ones(shape), np.ones(n)
    for other in (part, none):
        np.testing.assert_array_equal(dense(stored), dense(other))
        np.testing.assert_array_equal(stored.forward(signal), other.forward(signal))
        np.testing.assert_array_equal(stored.adjoint(residual), other.adjoint(residual))


def test_the_seed_is_the_matrix():
    shape, signal = (3, 4), np.ones((3, 4))

    def outputs(seed):
        return DenseGaussianSensing(5, shape, seed).forward(signal)

    np.testing.assert_array_equal(outputs(1), outputs(1))
    np.testing.assert_array_equal(outputs(1), outputs(np.random.SeedSequence(1)))
    np.testing.assert_array_equal(outputs(np.random.default_rng(2)), outputs(np.random.default_rng(2)))
    assert not np.allclose(outputs(1), outputs(2))
    rng = np.random.default_rng(2)
    assert not np.allclose(outputs(rng), outputs(rng))


def test_a_matrix_over_the_budget_is_refused_before_it_is_allocated():
    with pytest.raises(InputError) as error:
        DenseGaussianSensing(10**9, (1000, 1000), 0)
    message = str(error.value)
    assert "needs 3.73e+06 GiB" in message
    assert "budget is 2 GiB" in message
    assert "regenerate=True" in message
    assert "\n" not in message
    with pytest.raises(InputError, match="one chunk alone"):
        DenseGaussianSensing(10, (1000, 1000), 0, memory_budget=KIB, regenerate=True)


@pytest.mark.parametrize(
    ("samples", "shape", "seed", "dtype"),
    [(0, (2, 2), 0, "f4"), (1, (0, 2), 0, "f4"), (1, (2, 2), -1, "f4"), (1, (2, 2), 0, "f2")],
)
def test_bad_sizes(samples, shape, seed, dtype):
    with pytest.raises(InputError):
        DenseGaussianSensing(samples, shape, seed, dtype=dtype)


def test_bad_shapes_and_protocol():
    operator = DenseGaussianSensing(5, (2, 3), 0)
    with pytest.raises(InputError, match="signal has shape"):
        operator.forward(np.ones((3, 2)))
    with pytest.raises(InputError, match="residual has shape"):
        operator.adjoint(np.ones(4))
    assert isinstance(operator, Sensing)
    assert isinstance(operator, RowSensing)
