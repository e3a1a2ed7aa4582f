"""Enumeration, message passing and memories: hand-computed sums, the replica-symmetric theory, its limits."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.optimize import brentq
from scipy.special import erf

from solvers.errors import InputError
from solvers.simulate.ensemble import Estimate
from solvers.simulate.enumeration import all_energies, enumerate_spins, walsh_hadamard
from solvers.simulate.finite_size import extrapolate
from solvers.simulate.memories import QuenchOutcome, hopfield_retrieval, quench
from solvers.simulate.spin_systems import (
    SpinSystem,
    gaussian_spins,
    hopfield_spins,
    random_patterns,
    sk_spins,
)
from solvers.simulate.tap import TapOutcome, tap_free_entropy, tap_iterate

T_AT = 0.5351049431153835
"""Almeida-Thouless temperature of SK at h = 0.5, solved to these digits from beta^2 E sech^4 = 1."""


def generator(seed=0):
    return np.random.Generator(np.random.SFC64(seed))


def replica_symmetric(T, h):
    """q, beta^2 E sech^4 and the free entropy of SK, by hand."""
    z = np.linspace(-10, 10, 401)
    w = np.exp(-z * z / 2)
    w /= w.sum()
    beta, q = 1 / T, 0.5
    for _ in range(400):
        q = w @ np.tanh(beta * (math.sqrt(q) * z + h)) ** 2
    u = beta * (math.sqrt(q) * z + h)
    return q, beta**2 * (w @ np.cosh(u) ** -4.0), beta**2 / 4 * (1 - q) ** 2 + w @ np.logaddexp(u, -u)


# ---- enumeration


def test_two_and_three_spins_by_hand():
    T, h = 0.8, 0.3
    b = 1 / T
    J = np.zeros((1, 2, 2))
    J[0, 0, 1] = J[0, 1, 0] = 0.7
    found = enumerate_spins(SpinSystem({2: J}, h), np.array([T]))
    Z = 2 * math.exp(b * 0.7) * math.cosh(2 * b * h) + 2 * math.exp(-b * 0.7)
    assert found.free_entropy[0, 0] == pytest.approx(math.log(Z) / 2, abs=1e-14)
    m = 2 * math.exp(b * 0.7) * math.sinh(2 * b * h) / Z
    bond = (2 * math.exp(b * 0.7) * math.cosh(2 * b * h) - 2 * math.exp(-b * 0.7)) / Z
    assert found.magnetisation[0, 0] == pytest.approx(m, abs=1e-14)
    assert found.energy[0, 0] == pytest.approx((-0.7 * bond - 2 * h * m) / 2, abs=1e-14)
    assert found.overlap_moment(1)[0, 0] == pytest.approx(m**2, abs=1e-14)
    assert found.overlap_moment(2)[0, 0] == pytest.approx((1 + bond**2) / 2, abs=1e-14)
    assert found.ground_state[0] == pytest.approx(-(0.7 + 2 * h) / 2)

    triple = np.zeros((1, 3, 3, 3))
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        triple[(0, *order)] = 0.9
    found = enumerate_spins(SpinSystem({3: triple}), np.array([T]))
    # half of the states have product +1: Z = 8 cosh(beta J), <s_i> = <s_i s_j> = 0
    assert found.free_entropy[0, 0] == pytest.approx(math.log(8 * math.cosh(b * 0.9)) / 3, abs=1e-14)
    assert found.energy[0, 0] == pytest.approx(-0.9 * math.tanh(b * 0.9) / 3, abs=1e-14)
    assert found.overlap_moment(1)[0, 0] == pytest.approx(0, abs=1e-14)
    assert found.overlap_moment(2)[0, 0] == pytest.approx(1 / 3, abs=1e-14)


def test_transform_is_multiplication_by_hadamard():
    v = generator().standard_normal((2, 32))
    assert walsh_hadamard(v) == pytest.approx(v @ hadamard(32), abs=1e-12)


def test_everything_by_summing_over_configurations():
    system = gaussian_spins(5, {1: 0.3, 2: 0.5, 3: 0.2, 4: 0.4}, generator(1), samples=2, field=-0.2)
    T = np.array([0.5, 1.5])
    found = enumerate_spins(system, T)
    states = np.array(list(product([1.0, -1.0], repeat=5)))[:, ::-1]  # bit i of the number is spin i
    H = system.energy(np.broadcast_to(states.T, (2, 5, 32)))
    for d, (k, temperature) in product(range(2), enumerate(T)):
        assert all_energies(system, d) == pytest.approx(H[d], abs=1e-12)
        law = np.exp(-H[d] / temperature)
        assert found.free_entropy[d, k] == pytest.approx(math.log(law.sum()) / 5, abs=1e-13)
        law /= law.sum()
        assert found.energy[d, k] == pytest.approx(law @ H[d] / 5, abs=1e-13)
        assert found.magnetisation[d, k] == pytest.approx(law @ states.mean(axis=1), abs=1e-13)
        overlap = states @ states.T / 5
        for index, q in enumerate(found.overlap_values):
            expected = np.sum(np.outer(law, law)[np.isclose(overlap, q)])
            assert found.overlap[d, k, index] == pytest.approx(expected, abs=1e-13)


def test_high_temperature_free_entropy_of_sk_from_tiny_sizes():
    """E log Z / N -> log 2 + beta^2/4 for T > 1 (h = 0), from N = 8 .. 14; the drift is far over the errors."""
    beta, sizes = 0.5, [8, 10, 12, 14]
    rng = generator(2)
    values = []
    for N in sizes:
        runs = enumerate_spins(sk_spins(N, rng, samples=6400 // N), np.array([1 / beta]), overlaps=False)
        values.append(runs.quenched_free_entropy()[0])
    exact = math.log(2) + beta**2 / 4
    assert exact - values[0].mean > 5 * values[0].error
    found = extrapolate(sizes, values)
    assert found.limit.error < 0.002
    assert abs(found.limit.mean - exact) < 4 * found.limit.error
    assert found.chi_square < 16
    # log E Z falls short by beta^2/4, and log (Z / E Z) has the mean of M. Aizenman, J. L. Lebowitz, D. Ruelle,
    # Commun. Math. Phys. 112, 3 (1987)
    drift = -(beta**2) / 4 + (math.log(1 - beta**2) + beta**2) / 4
    assert found.coefficients[0] == pytest.approx(drift, abs=4 * found.limit.error * 12)


def test_extrapolation_recovers_its_own_law_and_its_error():
    rng = generator(3)
    sizes, deviations = [8, 12, 20, 50], []
    for _ in range(400):
        noise = 0.01 * rng.standard_normal(4)
        values = [Estimate(1 + 2 * N ** (-2 / 3) + e, 0.01) for N, e in zip(sizes, noise, strict=True)]
        found = extrapolate(sizes, values, [2 / 3])
        deviations.append((found.limit.mean - 1) / found.limit.error)
    assert np.std(deviations) == pytest.approx(1, abs=0.12)
    assert found.freedom == 2


def test_enumeration_stops_with_what_it_has():
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    system = sk_spins(6, generator(), samples=4)
    part = enumerate_spins(system, np.array([1.0]), progress=stop)
    assert not part.complete
    assert part.energy.shape == (2, 1)
    assert np.array_equal(part.energy, enumerate_spins(system, np.array([1.0])).energy[:2])


# ---- message passing for SK


def test_tap_solution_above_the_almeida_thouless_line():
    """Converges, to the replica-symmetric q and free entropy, at the rate beta^2 E sech^4."""
    T, h, N = 0.8, 0.5, 1500
    q, at, phi = replica_symmetric(T, h)
    rng = generator(4)
    runs = []
    for _ in range(4):
        J = sk_spins(N, rng).couplings[2][0]
        run = tap_iterate(J, T, h)
        assert run.outcome is TapOutcome.CONVERGED
        m = run.magnetisation
        field = h + J @ m - (1 - m @ m / N) / T * m
        assert np.abs(m - np.tanh(field / T)).max() < 1e-8
        runs.append((m @ m / N, run.rate(), tap_free_entropy(J, m, T, h)))
    for found, expected, allowed in zip(
        np.mean(runs, axis=0), (q, at, phi), (0.03, 0.08, 0.015), strict=True
    ):
        assert abs(found - expected) < allowed


def test_tap_state_evolution_of_the_first_steps():
    """q_t follows q_{t+1} = E tanh^2 beta (sqrt(q_t) z + h) from q_0 = 0, also below the line."""
    T, h, N = 0.45, 0.5, 2000
    run = tap_iterate(sk_spins(N, generator(5)).couplings[2][0], T, h, iterations=6)
    z, w = np.polynomial.hermite_e.hermegauss(61)
    q = 0.0
    for found in run.overlap:
        q = w @ np.tanh((math.sqrt(q) * z + h) / T) ** 2 / w.sum()
        assert found == pytest.approx(q, abs=0.05)


def test_tap_fails_below_the_almeida_thouless_line():
    assert replica_symmetric(T_AT, 0.5)[1] == pytest.approx(1, abs=1e-9)
    outcomes = []
    for T in (T_AT + 0.25, T_AT - 0.15):
        rng = generator(6)
        for _ in range(3):
            outcomes.append(tap_iterate(sk_spins(800, rng).couplings[2][0], T, 0.5, iterations=500))
    assert [run.outcome.name for run in outcomes] == 3 * ["CONVERGED"] + 3 * ["ITERATION_LIMIT"]
    assert all(run.change[-1] > 0.01 for run in outcomes[3:])


def predicted_moves(T, h, steps):
    """E (m^t - m^{t-1})^2 of state evolution: the fields of two steps are Gaussian, with the overlaps of the
    steps before as their covariance."""
    z, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    before, now, both, moves = 0.0, 0.0, 0.0, []
    for step in range(steps):
        first = math.sqrt(before) * z[:, None]
        slope = both / math.sqrt(before) if before > 0 else 0.0
        second = slope * z[:, None] + math.sqrt(max(now - slope**2, 0)) * z
        # before the first step m is 0, whatever the field
        old = np.tanh((h + first) / T) if step > 0 else np.zeros((1, 1))
        new = np.tanh((h + second) / T)
        moves.append(w @ (new - old) ** 2 @ w)
        before, now, both = w @ (old + 0 * new) ** 2 @ w, w @ new**2 @ w, w @ (old * new) @ w
    return np.array(moves)


def test_moves_of_the_iteration_follow_state_evolution():
    """On both sides of the Almeida-Thouless line; above it they shrink by beta^2 E sech^4 a step in the end."""
    rng = generator(12)
    samples = [sk_spins(1000, rng).couplings[2][0] for _ in range(16)]
    for T in (0.4, 0.6, 0.8, 1.0):
        found = np.mean([tap_iterate(J, T, 0.5, iterations=8).change ** 2 for J in samples], axis=0)
        assert found == pytest.approx(predicted_moves(T, 0.5, 8), rel=0.1)
    for T in (0.6, 0.8):
        moves = predicted_moves(T, 0.5, 60)
        assert moves[-1] / moves[-2] == pytest.approx(replica_symmetric(T, 0.5)[1], abs=1e-3)
    below = predicted_moves(0.4, 0.5, 300)
    assert below[-1] == pytest.approx(below[-2], rel=1e-6)
    assert below[-1] > 0.01


def test_tap_free_entropy_is_stationary_at_its_solution():
    J = sk_spins(40, generator(7), field=0.5).couplings[2][0]
    run = tap_iterate(J, 1.2, 0.5, tolerance=1e-14)
    assert run.outcome is TapOutcome.CONVERGED
    for i in range(3):
        step = np.zeros(40)
        step[i] = 1e-4
        up, down = (tap_free_entropy(J, run.magnetisation + s * step, 1.2, 0.5) for s in (1, -1))
        assert abs(up - down) / 2e-4 < 1e-8
    assert tap_free_entropy(J, np.zeros(40), 2.0) == pytest.approx(math.log(2) + 1 / 16)


def test_tap_paramagnet_without_field():
    """Above T = 1 any start decays to m = 0, the mean square by beta^2 a step."""
    rng = generator(8)
    run = tap_iterate(sk_spins(1000, rng).couplings[2][0], 1.5, start=rng.uniform(-0.5, 0.5, 1000))
    assert run.outcome is TapOutcome.CONVERGED
    assert run.overlap[-1] < 1e-18
    assert run.rate() == pytest.approx(1 / 1.5**2, abs=0.06)


# ---- memories


def test_quench_ends_in_a_local_minimum():
    rng = generator(9)
    system = hopfield_spins(random_patterns(2, 30, 150, rng))
    start = 2.0 * rng.integers(0, 2, (2, 150, 5)) - 1
    run = quench(system, start)
    assert run.outcome is QuenchOutcome.SETTLED
    assert np.all(run.settled)
    fields = np.matmul(system.couplings[2], run.spins)
    assert np.all(run.spins * fields > -1e-9)
    assert np.all(run.energy <= system.energy(start) / 150 + 1e-12)
    short = quench(system, start, sweeps=1)
    assert short.outcome is QuenchOutcome.SWEEP_LIMIT
    cubic = gaussian_spins(12, {2: 0.5, 3: 0.5}, rng, samples=2, field=0.1)
    run = quench(cubic, 2.0 * rng.integers(0, 2, (2, 12, 5)) - 1)
    assert np.all(run.settled)
    for i in range(12):
        flipped = run.spins.copy()
        flipped[:, i] *= -1
        assert np.all(cubic.energy(flipped) / 12 > run.energy)


def test_spins_without_a_field_keep_their_value():
    """Two patterns that differ in half the spins pull equally on those where they disagree."""
    xi = np.ones((1, 2, 8))
    xi[0, 1, 4:] = -1
    start = np.swapaxes(xi, 1, 2)
    run = quench(hopfield_spins(xi), start)
    assert np.array_equal(run.spins, start)
    free = SpinSystem({2: np.zeros((1, 70, 70))})
    spins = 2.0 * generator().integers(0, 2, (1, 70, 3)) - 1
    assert np.array_equal(quench(free, spins).spins, spins)


def test_hopfield_keeps_its_patterns_at_low_load():
    """T = 0 replica-symmetric theory at alpha = 0.05: m = erf y, alpha = (erf(y)/y - 2 exp(-y^2)/sqrt(pi))^2/2."""

    def load(y):
        return 0.5 * (erf(y) / y - 2 / math.sqrt(math.pi) * math.exp(-y * y)) ** 2

    y = brentq(lambda y: load(y) - 0.05, 2, 6)
    run = hopfield_retrieval(800, 40, generator(10), networks=4)
    assert run.load == 0.05
    assert run.outcome is QuenchOutcome.SETTLED
    assert abs(run.mean().mean - erf(y)) < 4 * run.mean().error + 1e-4
    corrupted = hopfield_retrieval(800, 40, generator(10), networks=2, flipped=0.15)
    assert corrupted.mean().mean > 0.99


def test_hopfield_forgets_above_capacity_the_more_the_larger():
    """alpha_c = 0.1379 at T = 0 (replica symmetric); at alpha = 0.2 m falls with N, at 0.1 it stays."""
    forgotten = [
        hopfield_retrieval(N, N // 5, generator(11), networks=count).mean()
        for N, count in ((150, 20), (800, 5))
    ]
    assert forgotten[0].mean - forgotten[1].mean > 3 * math.hypot(forgotten[0].error, forgotten[1].error)
    assert forgotten[-1].mean < 0.6
    assert hopfield_retrieval(600, 60, generator(11), networks=3).mean().mean > 0.99


@pytest.mark.parametrize(
    "call",
    [
        lambda: enumerate_spins(sk_spins(21, generator()), np.array([1.0])),
        lambda: enumerate_spins(sk_spins(4, generator()), np.array([0.0])),
        lambda: enumerate_spins(sk_spins(4, generator()), np.array([1.0]), overlaps=False).overlap_moment(2),
        lambda: enumerate_spins(sk_spins(4, generator()), np.array([1.0])).quenched_free_entropy(),
        lambda: all_energies(sk_spins(4, generator()), 1),
        lambda: extrapolate([10], [Estimate(1, 0.1)]),
        lambda: extrapolate([10, 20], [Estimate(1, 0.1), Estimate(1, 0.0)]),
        lambda: extrapolate([10, 10], [Estimate(1, 0.1), Estimate(1, 0.1)]),
        lambda: extrapolate([10, 20, 30], 3 * [Estimate(1, 0.1)], [1, 1]),
        lambda: tap_iterate(np.eye(3), 1.0, 0.1),
        lambda: tap_iterate(np.zeros((3, 2)), 1.0, 0.1),
        lambda: tap_iterate(np.zeros((3, 3)), 0.0, 0.1),
        lambda: tap_iterate(np.zeros((3, 3)), 1.0),
        lambda: tap_iterate(np.zeros((3, 3)), 1.0, 0.1, start=np.full(3, 2.0)),
        lambda: tap_iterate(np.zeros((3, 3)), 1.0, 0.1).rate(),
        lambda: quench(sk_spins(4, generator()), np.ones((1, 3, 1))),
        lambda: quench(sk_spins(4, generator()), np.zeros((1, 4, 1))),
        lambda: hopfield_retrieval(10, 0, generator()),
        lambda: hopfield_retrieval(10, 2, generator(), flipped=0.5),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
