"""Networks with memories: energies by brute force, Monte Carlo against exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from solvers.errors import InputError
from solvers.simulate.dense_memories import DenseNetwork
from solvers.simulate.examples import draw_patterns, mean_examples
from solvers.simulate.memories import quench
from solvers.simulate.memory_chains import first_spins, heat_bath_spins, run_chains, settle
from solvers.simulate.quadratic_memories import QuadraticNetwork
from solvers.simulate.spin_systems import hopfield_spins


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def configurations(size: int) -> np.ndarray:
    """All of them, shape (2^N, N)."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=size)))


def hopfield(size: int, count: int, seed: int = 0) -> QuadraticNetwork:
    patterns = draw_patterns(count, size, (-1, 1), (0.5, 0.5), rng(seed))
    return QuadraticNetwork(patterns, np.ones(count), count / (2 * size))


def multitasking(size: int, count: int, dilution: float, entropy: float, seed: int = 0) -> QuadraticNetwork:
    half = (1 - dilution) / 2
    patterns = draw_patterns(count, size, (-1, 0, 1), (half, dilution, half), rng(seed))
    x = mean_examples(patterns, entropy, rng(seed + 1))
    return QuadraticNetwork(x, np.full(count, 1 / ((1 - dilution) * (1 + entropy))))


def dense(size: int, count: int, order: int, entropy: float = 0.2, seed: int = 0) -> DenseNetwork:
    patterns = draw_patterns(count, size, (-1, 1), (0.5, 0.5), rng(seed))
    return DenseNetwork(mean_examples(patterns, entropy, rng(seed + 1)), order, 0.5 * (1 + entropy) ** 1.5)


NETWORKS = {
    "hopfield": hopfield(8, 3),
    "multitasking": multitasking(8, 2, 0.3, 0.1),
    "dense of order 3": dense(8, 4, 3),
    "dense of order 4": dense(8, 3, 4),
    "dense of order 5": dense(8, 3, 5, 0.0),
}
COLD = {
    "hopfield": 0.4,
    "multitasking": 0.3,
    "dense of order 3": 0.8,
    "dense of order 4": 2.0,
    "dense of order 5": 1.0,
}


# ----------------------------------------------------------------------------------- energies


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_dense_energy_is_the_sum_over_ordered_indices(order):
    """-(N u/C(N, P)) sum_mu sum_{i1<...<iP} prod x_i s_i, term by term."""
    network = dense(7, 3, order)
    spins = configurations(7)[::11]
    expected = np.zeros(len(spins))
    for x in network.patterns:
        for indices in itertools.combinations(range(7), order):
            expected -= np.prod(x[list(indices)] * spins[:, list(indices)], axis=1)
    expected *= 7 * network.strength / math.comb(7, order)
    np.testing.assert_allclose(7 * network.energy(spins), expected, atol=1e-12)


def test_a_retrieved_pattern_has_the_energy_of_the_limit():
    """Distinct indices, at every N: -u per spin."""
    for order, size in ((3, 5), (4, 9), (6, 30)):
        network = DenseNetwork(draw_patterns(1, size, (-1, 1), (0.5, 0.5), rng()), order, 0.5)
        assert network.energy(network.patterns)[0] == pytest.approx(-0.5, abs=1e-12)


def test_the_energy_of_a_hopfield_network_is_that_of_its_couplings():
    network = hopfield(9, 4)
    spins = configurations(9)[::7]
    expected = hopfield_spins(network.patterns[None]).energy(spins.T[None])[0]
    np.testing.assert_allclose(9 * network.energy(spins), expected, atol=1e-12)


def test_the_energy_of_a_multitasking_network():
    """H = -(N/(2c)) sum X^2, c = (1 - d)(1 + rho)."""
    network = multitasking(6, 2, 0.3, 0.1)
    spins = configurations(6)
    overlaps = spins @ network.patterns.T / 6
    expected = -6 / (2 * 0.7 * 1.1) * (overlaps**2).sum(axis=1)
    np.testing.assert_allclose(6 * network.energy(spins), expected, atol=1e-12)


def test_the_noise_of_other_archetypes_has_the_covariance_of_the_theory():
    """E[H H'] = N gamma q^P/2 at K = 2 gamma C(N, P)/N patterns, exactly N gamma/2 at q = 1."""
    size, order, gamma = 12, 3, 0.6
    count = round(2 * gamma * math.comb(size, order) / size)
    energies = []
    half = np.r_[np.ones(9), -np.ones(3)]  # overlap 1/2 with all up
    for seed in range(1500):
        patterns = draw_patterns(count, size, (-1, 1), (0.5, 0.5), rng(seed))
        energies.append(DenseNetwork(patterns, order, 0.5).energy(np.array([np.ones(size), half])) * size)
    one, other = np.array(energies).T
    variance = size * count * size / (4 * math.comb(size, order))
    assert (one**2).mean() == pytest.approx(variance, rel=0.12)
    assert variance == pytest.approx(size * gamma / 2, rel=1e-12)
    # the mean product of three of these signs; as N grows it tends to q^3 = 1/8
    exact = sum(np.prod(half[list(c)]) for c in itertools.combinations(range(size), order)) / 220
    assert (one * other).mean() == pytest.approx(variance * exact, abs=5 * variance / math.sqrt(1500))


# ----------------------------------------------------------------------------- Monte Carlo is exact


def boltzmann(network, temperature: float) -> np.ndarray:
    energies = network.size * network.energy(configurations(network.size))
    weights = np.exp(-(energies - energies.min()) / temperature)
    return weights / weights.sum()


def number(spins: np.ndarray) -> np.ndarray:
    """Of each configuration, in the order of ``configurations``."""
    size = spins.shape[1]
    return ((spins < 0) @ (1 << np.arange(size)[::-1])).astype(int)


@pytest.mark.parametrize("name", COLD)
def test_a_sweep_keeps_the_law_of_boltzmann(name):
    """Configurations drawn from the exact law, two sweeps, the same law: chi squared of the 2^N counts."""
    network, temperature, chains = NETWORKS[name], COLD[name], 40000
    law = boltzmann(network, temperature)
    random = rng(5)
    spins = configurations(8)[random.choice(256, size=chains, p=law)]
    before = spins.copy()
    for _ in range(2):
        network.heat_bath(spins, temperature, random)
    assert np.mean(np.any(spins != before, axis=1)) > 0.2
    kept = law * chains > 5
    counts = np.bincount(number(spins), minlength=256)
    deviation = ((counts - law * chains) ** 2 / (law * chains))[kept].sum()
    assert deviation < chi2.isf(1e-5, kept.sum())
    assert counts[~kept].sum() < 5 + 3 * chains * law[~kept].sum()


@pytest.mark.parametrize("name", COLD)
def test_the_mean_energy_is_that_of_enumeration(name):
    """From one configuration, at a temperature where the whole space is reached."""
    network, temperature = NETWORKS[name], 2.0
    energies = network.energy(configurations(8))
    exact = float(boltzmann(network, temperature) @ energies)
    run = run_chains(network, np.ones((64, 8)), temperature, rng(1), references=network.patterns, sweeps=200)
    means = run.energy[100:].mean(axis=0)
    assert means.mean() == pytest.approx(exact, abs=5 * means.std() / 8)
    assert run.discrepancy() < 4.5


def test_overlaps_are_those_of_enumeration():
    """<m_mu m_nu> and the overlap of two chains, with an energy that no symmetry makes even."""
    network = dense(8, 4, 3)
    law, every = boltzmann(network, 1.5), configurations(8)
    run = run_chains(network, np.ones((64, 8)), 1.5, rng(2), references=network.patterns, sweeps=200)
    exact = law @ every @ network.patterns.T / 8
    spread = run.overlap[100:].mean(axis=0).std(axis=0) / 8
    assert np.all(np.abs(run.overlaps() - exact) < 5 * spread)
    # independent chains: E q = (1/N) sum_i <s_i>^2
    assert run.same[100:].mean() == pytest.approx(float(((law @ every) ** 2).mean()), abs=0.02)


# ------------------------------------------------------------------------------------ zero temperature


@pytest.mark.parametrize("name", NETWORKS)
def test_dynamics_at_zero_temperature_ends_in_a_local_minimum(name):
    network = NETWORKS[name]
    start = np.where(rng(3).random((20, 8)) < 0.5, 1.0, -1.0)
    end = settle(network, start)
    assert end.settled
    assert np.all(end.energy <= network.energy(start) + 1e-12)
    for i in range(8):
        flipped = end.spins.copy()
        flipped[:, i] *= -1
        assert np.all(network.energy(flipped) >= end.energy - 1e-9)


def test_zero_temperature_is_that_of_the_couplings():
    """The same end as with the matrix of couplings, spin for spin."""
    network = hopfield(60, 9)
    start = np.where(rng(4).random((5, 60)) < 0.5, 1.0, -1.0)
    by_couplings = quench(hopfield_spins(network.patterns[None]), start.T[None])
    np.testing.assert_array_equal(settle(network, start).spins, by_couplings.spins[0].T)


def test_a_spin_without_a_field_stays():
    """Where all patterns vanish, and where two cancel."""
    network = QuadraticNetwork(np.array([[1.0, 0, 1, 1], [1.0, 0, -1, -1]]), np.ones(2))
    start = np.array([[1.0, -1, 1, -1]])
    assert settle(network, start).spins[0, 1] == -1


# ------------------------------------------------------------------------------------ what is stored


def test_the_mean_of_examples_has_the_moments_of_examples():
    """Mean xi, variance rho; a single example more is as probable as if each were drawn."""
    xi = np.ones(200_000)
    x = mean_examples(xi, 0.3, rng())
    assert x.mean() == pytest.approx(1, abs=5 * math.sqrt(0.3 / 200_000))
    assert x.var() == pytest.approx(0.3, rel=0.02)
    few, entropy = 4, 0.5
    quality = 1 / math.sqrt(1 + few * entropy)
    assert (1 - quality**2) / (few * quality**2) == pytest.approx(entropy)
    drawn = np.where(rng(1).random((200_000, few)) < (1 + quality) / 2, 1, -1).mean(axis=1) / quality
    values, frequencies = np.unique(drawn.round(9), return_counts=True)
    summed = mean_examples(xi, entropy, rng(2), examples=few)
    for value, frequency in zip(values, frequencies, strict=True):
        assert np.mean(np.isclose(summed, value)) == pytest.approx(frequency / 200_000, abs=0.006)
    np.testing.assert_array_equal(mean_examples(np.array([1.0, -1, 0]), 0, rng()), [1, -1, 0])


def test_patterns_follow_their_law():
    x = draw_patterns(3, 40_000, (-1, 0, 1), (0.35, 0.3, 0.35), rng())
    assert np.mean(x == 0) == pytest.approx(0.3, abs=0.01)
    assert x.mean() == pytest.approx(0, abs=0.01)
    assert draw_patterns(0, 5, (-1, 1), (0.5, 0.5), rng()).shape == (0, 5)


def test_first_spins():
    fields = np.array([0.8, -0.8, 0.0])
    warm = first_spins(fields, 0.5, 40_000, rng())
    np.testing.assert_allclose(warm.mean(axis=0), np.tanh(fields / 0.5), atol=0.03)
    cold = first_spins(fields, 0.0, 4000, rng())
    np.testing.assert_allclose(cold.mean(axis=0), [1, -1, 0], atol=0.1)
    assert heat_bath_spins(np.array([1e4, -1e4]), 1e-3, rng()).tolist() == [1, -1]


def test_a_seed_repeats_a_run():
    first, second = (
        run_chains(
            NETWORKS["dense of order 3"], np.ones((2, 8)), 0.7, rng(6), references=np.eye(8), sweeps=64
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.overlap, second.overlap)
    np.testing.assert_array_equal(first.energy, second.energy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuadraticNetwork(np.ones(3), np.ones(3)), "have shape"),
        (lambda: QuadraticNetwork(np.ones((2, 3)), np.zeros(2)), "positive weight"),
        (lambda: DenseNetwork(np.ones((2, 3)), 4, 1.0), "from 2 to N = 3"),
        (lambda: DenseNetwork(np.ones(3), 2, 1.0), "have shape"),
        (lambda: draw_patterns(1, 0, (1,), (1,), rng()), "at least 0 and spins 1"),
        (lambda: draw_patterns(1, 3, (1, -1), (0.6, 0.6), rng()), "sum to 1"),
        (lambda: mean_examples(np.ones(2), -1, rng()), "rho is at least 0"),
        (lambda: settle(hopfield(4, 1), np.ones((1, 3))), "shape"),
        (lambda: settle(hopfield(4, 1), np.ones((0, 4))), "at least one chain"),
        (lambda: settle(hopfield(4, 1), np.ones((1, 4)), sweeps=0), "at least 1"),
        (lambda: _run(temperature=0), "T > 0"),
        (lambda: _run(sweeps=10), "at least 64"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def _run(temperature: float = 1.0, sweeps: int = 64):
    return run_chains(
        hopfield(4, 1), np.ones((1, 4)), temperature, rng(), references=np.ones((1, 4)), sweeps=sweeps
    )
