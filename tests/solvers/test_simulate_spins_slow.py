"""Monte Carlo at the sizes it can reach against replica theory, with the finite-size drift."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from solvers.simulate.ensemble import Estimate
from solvers.simulate.finite_size import extrapolate
from solvers.simulate.memories import hopfield_retrieval
from solvers.simulate.spin_systems import gaussian_spins, hopfield_spins, random_patterns, sk_spins
from solvers.simulate.spins import geometric_temperatures, simulate_spins

pytestmark = pytest.mark.slow

Z, W = np.polynomial.hermite_e.hermegauss(40)
W = W / W.sum()


def generator(seed):
    return np.random.Generator(np.random.SFC64(seed))


def parisi_energy(beta, start):
    """Energy of SK at h = 0 with k steps of replica symmetry breaking (the free energy made maximal).

    start: q_0 < ... < q_k, then m_1 < ... < m_k.
    """
    k = len(start) // 2

    def second_moment(q, m):
        steps = np.diff(np.concatenate([[0.0], m, [1.0]]))
        return steps @ q**2

    def free_entropy(p):
        q, m = p[: k + 1], p[k + 1 :]
        if np.any(np.diff(np.concatenate([[0.0], q, [1.0]])) <= 0) or np.any(
            np.diff(np.concatenate([[0.0], m, [1.0]])) <= 0
        ):
            return np.inf
        width = np.sqrt(np.diff(np.concatenate([[0.0], q])))
        h = sum(width[i] * Z.reshape([-1 if j == i else 1 for j in range(k + 1)]) for i in range(k + 1))
        phi = np.logaddexp(beta * h, -beta * h)
        for i in range(k - 1, -1, -1):
            top = phi.max(axis=-1, keepdims=True)
            phi = top[..., 0] + np.log(np.exp(m[i] * (phi - top)) @ W) / m[i]
        return beta**2 / 4 * (1 + second_moment(q, m) - 2 * q[-1]) + phi @ W

    found = minimize(
        free_entropy, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12, "maxfev": 5000}
    )
    assert found.success
    return -beta / 2 * (1 - second_moment(found.x[: k + 1], found.x[k + 1 :]))


def test_sk_in_its_glass_phase():
    """T = 0.5: energies of N = 32 to 256 fall as N^(-2/3) towards the value of replica symmetry breaking."""
    T = geometric_temperatures(0.5, 1.4, 8)
    rng, sizes, values = generator(1), [32, 64, 128, 256], []
    for N, samples in zip(sizes, (400, 200, 120, 60), strict=True):
        run = simulate_spins(sk_spins(N, rng, samples=samples), T, rng, sweeps=800)
        assert run.equilibration().passed, str(run.equilibration())
        found = run.energies()
        values.append(Estimate(float(found.mean[0]), float(found.error[0])))
    one = parisi_energy(2.0, [0.15, 0.55, 0.3])
    two = parisi_energy(2.0, [0.1, 0.35, 0.6, 0.2, 0.45])
    assert abs(two - one) < 0.002
    drift = [value.mean - two for value in values]
    assert drift == sorted(drift, reverse=True)
    assert drift[0] > 5 * values[0].error
    found = extrapolate(sizes, values, [2 / 3])
    assert found.chi_square < 12
    assert abs(found.limit.mean - two) < 4 * found.limit.error + 0.002


def test_three_spin_energy_above_its_dynamical_temperature():
    """Ising 3-spin at T = 1 > T_d = 0.682: e = -1/(2T), reached from above as 1/N."""
    rng, sizes, values = generator(2), [12, 20, 32, 48], []
    for N in sizes:
        run = simulate_spins(
            gaussian_spins(N, {3: 0.5}, rng, samples=600 // N), np.array([1.0, 1.3]), rng, sweeps=300
        )
        assert run.equilibration().passed, str(run.equilibration())
        found = run.energies()
        values.append(Estimate(float(found.mean[0]), float(found.error[0])))
    limit = extrapolate(sizes, values).limit
    assert abs(limit.mean + 0.5) < 4 * limit.error < 0.1


def test_hopfield_retrieval_at_finite_temperature():
    """alpha = 0.05, T = 0.3: m and q of the replica-symmetric theory, from N = 400 and 1600."""
    alpha, T = 0.05, 0.3
    m = q = 0.9
    for _ in range(2000):
        r = q / (1 - (1 - q) / T) ** 2
        t = np.tanh((m + math.sqrt(alpha * r) * Z) / T)
        m, q = W @ t, W @ t**2
    for N, networks in ((400, 24), (1600, 8)):
        rng = generator(N)
        xi = random_patterns(networks, int(alpha * N), N, rng)
        run = simulate_spins(
            hopfield_spins(xi), np.array([T]), rng, sweeps=120, start=xi[:, 0], reference=xi[:, 0]
        )
        assert run.equilibration().passed, str(run.equilibration())
        found, overlap = run.magnetisations(), run.overlap_moments(1)
        assert abs(found.mean[0] - m) < 4 * found.error[0] + 1 / N
        assert abs(overlap.mean[0] - q) < 4 * overlap.error[0] + 1 / N


def test_hopfield_capacity_between_two_loads():
    """alpha_c = 0.1379: as N doubles, retrieval stays at alpha = 0.12 and falls at alpha = 0.16."""
    inside, outside = (
        [hopfield_retrieval(N, round(load * N), generator(3), networks=10).mean() for N in (500, 1000, 2000)]
        for load in (0.12, 0.16)
    )
    assert all(value.mean > 0.97 for value in inside)
    for smaller, larger in pairwise(outside):
        assert smaller.mean - larger.mean > 3 * math.hypot(smaller.error, larger.error)


def test_a_thousand_spins_in_under_two_minutes():
    """SK, N = 1000, 32 temperatures, 1e4 sweeps: extrapolated from 150, in processor time."""
    rng = generator(4)
    system, T = sk_spins(1000, rng), geometric_temperatures(0.3, 1.6, 32)
    start = time.process_time()
    simulate_spins(system, T, rng, sweeps=150)
    assert (time.process_time() - start) / 150 * 10_000 < 120
