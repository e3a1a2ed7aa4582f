"""Seeds: reproducible, extendable, interruptible; instances with the stated moments."""

from __future__ import annotations

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate.ensemble import mean_and_error, run_seeds
from solvers.simulate.instances import bilinear_instance, draw_outputs, informed_start, sample_count
from solvers.simulate.sensing import DenseGaussianSensing


def test_seeds_are_reproducible_and_extend():
    draw = run_seeds(lambda rng: rng.standard_normal(), 5)
    assert draw == run_seeds(lambda rng: rng.standard_normal(), 5)
    assert draw[:3] == run_seeds(lambda rng: rng.standard_normal(), 3)
    assert len(set(draw)) == 5
    assert draw != run_seeds(lambda rng: rng.standard_normal(), 5, root=1)


def test_progress_and_interruption():
    seen = []
    run_seeds(lambda rng: 0, 3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    count = iter(range(10))

    def task(rng):
        value = next(count)
        if value == 2:
            raise KeyboardInterrupt
        return value

    assert run_seeds(task, 5) == [0, 1]


def test_mean_and_error():
    rng = np.random.default_rng(0)
    mean, error = mean_and_error(rng.standard_normal(10_000))
    assert error == pytest.approx(0.01, rel=0.05)
    assert abs(mean) < 4 * error
    with pytest.raises(InputError, match="at least two"):
        mean_and_error([1.0])
    with pytest.raises(InputError, match="not finite"):
        mean_and_error([1.0, float("nan")])
    with pytest.raises(InputError):
        run_seeds(lambda rng: 0, 0)
    with pytest.raises(InputError):
        run_seeds(lambda rng: 0, 1, root=-1)


def test_instances():
    rng = np.random.default_rng(3)
    S = bilinear_instance(80, 120, 10, rng)
    assert S.shape == (80, 120)
    assert np.linalg.matrix_rank(S) == 10
    assert np.mean(S**2) == pytest.approx(1.0, abs=0.2)
    start, variance = informed_start(S / np.sqrt(np.mean(S**2)), 0.3, rng)
    truth = S / np.sqrt(np.mean(S**2))
    assert variance == pytest.approx(0.7)
    assert np.mean(start * truth) == pytest.approx(0.3, abs=0.03)
    assert np.mean(start**2) == pytest.approx(0.3, abs=0.03)
    assert np.mean((start - truth) ** 2) == pytest.approx(0.7, abs=0.03)
    operator = DenseGaussianSensing(sample_count(0.1, S.shape), S.shape, 1)
    assert operator.samples == 960
    y = draw_outputs(operator, S, lambda h, rng: np.sign(h), rng)
    np.testing.assert_array_equal(y, np.sign(operator.forward(S)))
    for bad in (
        lambda: bilinear_instance(0, 1, 1, rng),
        lambda: sample_count(1e-9, (3, 3)),
        lambda: informed_start(S, 1.5, rng),
    ):
        with pytest.raises(InputError):
            bad()
