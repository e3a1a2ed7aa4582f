"""Spherical spins: quadrature on the circle and the sphere, and the solved spherical models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvers.errors import InputError
from solvers.simulate.ensemble import Estimate
from solvers.simulate.finite_size import extrapolate
from solvers.simulate.spherical import simulate_spherical
from solvers.simulate.spin_systems import gaussian_spins, sk_spins


def generator(seed=0):
    return np.random.Generator(np.random.SFC64(seed))


def test_force_is_minus_the_gradient():
    rng = generator()
    system = gaussian_spins(5, {1: 0.2, 2: 0.5, 3: 0.3, 4: 0.4}, rng, samples=2, field=0.3)
    x = rng.standard_normal((2, 5, 3))
    force = system.force(x)
    for i in range(5):
        step = np.zeros((2, 5, 3))
        step[:, i] = 1e-5
        slope = (system.energy(x + step) - system.energy(x - step)) / 2e-5
        assert force[:, i] == pytest.approx(-slope, abs=1e-8)


def exact_on_the_circle(system, T):
    angle = 2 * np.pi * np.arange(400) / 400
    x = math.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)])
    return exact_averages(system, T, x, np.ones(400))


def exact_on_the_sphere(system, T):
    z, w = np.polynomial.legendre.leggauss(40)
    angle = 2 * np.pi * np.arange(80) / 80
    r = np.sqrt(1 - z**2)[:, None]
    x = math.sqrt(3) * np.stack([r * np.cos(angle), r * np.sin(angle), z[:, None] + 0 * angle])
    return exact_averages(system, T, x.reshape(3, -1), np.repeat(w, 80))


def exact_averages(system, T, x, weight):
    H = system.energy(np.broadcast_to(x, (system.samples, *x.shape)))
    law = weight * np.exp(-H / T)
    law /= law.sum(axis=1, keepdims=True)
    return (law * H).sum(axis=1) / len(x), law @ x.mean(axis=0)


@pytest.mark.parametrize(
    ("weights", "size", "exact"),
    [({2: 0.5}, 2, exact_on_the_circle), ({2: 0.4, 3: 0.8}, 3, exact_on_the_sphere)],
)
def test_tiny_spheres_against_quadrature(weights, size, exact):
    T = np.array([0.7, 1.3])
    rng = generator(1)
    system = gaussian_spins(size, weights, rng, samples=100, field=0.3)
    # long motions with few leaps, so that the acceptance matters
    run = simulate_spherical(system, T, rng, motions=300, leaps=4, step=0.5)
    assert np.all((run.acceptance > 0.5) & (run.acceptance < 0.99))
    for k, temperature in enumerate(T):
        energy, magnetisation = exact(system, temperature)
        for record, value in ((run.energy, energy), (run.magnetisation, magnetisation)):
            difference = record[150:, :, :, k].mean(axis=(0, 2)) - value
            assert abs(difference.mean()) < 4 * difference.std(ddof=1) / 100**0.5
            assert abs(difference.mean()) < 0.05


def test_two_spin_sphere_has_its_solved_energy():
    """J. M. Kosterlitz, D. J. Thouless, R. C. Jones, Phys. Rev. Lett. 36, 1217 (1976): e = -1/(2T) above T = 1,
    -1 + T/2 below. The drift at T > 1 is 1/N, at N = 96 under the allowance."""
    T = np.array([0.5, 1.5])
    rng = generator(2)
    run = simulate_spherical(sk_spins(96, rng, samples=8), T, rng, motions=120, leaps=8)
    found = run.energies()
    assert np.all(np.abs(found.mean - [-0.75, -1 / 3]) < 4 * found.error + [0.05, 0.03])
    assert np.all(run.acceptance > 0.6)
    assert run.overlap_moments(2).mean[0] == pytest.approx(0.25, abs=0.1)  # q = 1 - T
    assert run.equilibration().passed


@pytest.mark.slow
def test_three_spin_sphere_above_its_dynamical_temperature():
    """q = 0 and e = -1/(2T) at T = 1 > T_d = sqrt(3/8), with a drift in 1/N and 1/N^2.

    Most of the drift is that of the covariance at equal points: averaged over the sphere, sum over i < j < k of
    x_i^2 x_j^2 x_k^2 is (N-1)(N-2)/((N+2)(N+4)) of N^3/6.
    """
    rng, sizes, values = generator(3), [16, 24, 36, 54], []
    for N in sizes:
        system = gaussian_spins(N, {3: 0.5}, rng, samples=1500 // N)
        run = simulate_spherical(system, np.array([1.0]), rng, motions=120, leaps=5)
        assert run.equilibration().passed, str(run.equilibration())
        found = run.energies()
        values.append(Estimate(float(found.mean[0]), float(found.error[0])))
        assert abs(values[-1].mean + 0.5 * (N - 1) * (N - 2) / ((N + 2) * (N + 4))) < 0.03
    limit = extrapolate(sizes, values, [1, 2]).limit
    assert abs(limit.mean + 0.5) < 4 * limit.error < 0.08


def test_interruption_and_bad_input():
    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    T = np.array([1.0])
    part = simulate_spherical(sk_spins(4, generator()), T, generator(1), motions=9, progress=stop)
    assert part.interrupted
    assert part.energy.shape == (5, 1, 2, 1)
    whole = simulate_spherical(sk_spins(4, generator()), T, generator(1), motions=9)
    assert np.array_equal(part.overlap, whole.overlap[:5])
    system = sk_spins(4, generator())
    for call in (
        lambda: simulate_spherical(system, T, generator(), motions=0),
        lambda: simulate_spherical(system, T, generator(), motions=1, step=0.0),
        lambda: simulate_spherical(system, T, generator(), motions=1, replicas=0),
        lambda: simulate_spherical(system, T, generator(), motions=10**10),
        lambda: simulate_spherical(system, -T, generator(), motions=1),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="two replicas"):
        simulate_spherical(sk_spins(4, generator()), T, generator(), motions=1, replicas=1).overlap_moments()
