"""Monte Carlo of spins against exact enumeration, plain loops and closed limits."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from solvers.errors import InputError
from solvers.simulate.enumeration import all_energies, enumerate_spins
from solvers.simulate.spin_statistics import curve, jackknife, overlap_distribution
from solvers.simulate.spin_sweeps import Rule, make_sweep, thresholds
from solvers.simulate.spin_systems import (
    SpinSystem,
    elementary_symmetric,
    gaussian_spins,
    hopfield_spins,
    overlap_covariance,
    random_patterns,
    sk_spins,
)
from solvers.simulate.spins import geometric_temperatures, merge_runs, simulate_samples, simulate_spins


def generator(seed=0):
    return np.random.Generator(np.random.SFC64(seed))


def random_signs(rng, *shape):
    return 2.0 * rng.integers(0, 2, shape) - 1.0


def energy_by_hand(system, sample, s):
    """The Hamiltonian, read from its definition."""
    total = -system.field * sum(s)
    for order, J in system.couplings.items():
        for subset in combinations(range(system.size), order):
            total -= J[(sample, *subset)] * math.prod(s[i] for i in subset)
    return total


# ---- the systems


def test_energy_is_the_sum_over_subsets():
    rng = generator()
    system = gaussian_spins(6, {1: 0.2, 2: 0.5, 3: 0.3, 4: 0.1}, rng, samples=2, field=0.7)
    spins = random_signs(rng, 2, 6, 3)
    for d, c in product(range(2), range(3)):
        assert system.energy(spins)[d, c] == pytest.approx(
            energy_by_hand(system, d, spins[d, :, c]), abs=1e-12
        )


def test_overlap_covariance_of_gaussian_energies():
    """E[H_a H_b]/N over many draws is xi_N, which tends to xi(q) = sum c_p q^p."""
    rng = generator(1)
    N, weights, samples = 6, {1: 0.2, 2: 0.5, 3: 0.4, 4: 0.3}, 1500
    system = gaussian_spins(N, weights, rng, samples=samples)
    a, b = np.ones(N), np.where(np.arange(N) < 2, -1.0, 1.0)
    H = system.energy(np.broadcast_to(np.stack([a, b], axis=1), (samples, N, 2)))
    products = H[:, 0] * H[:, 1] / N
    expected = overlap_covariance(weights, N, np.array(1 / 3))
    assert abs(products.mean() - expected) < 4 * products.std() / samples**0.5
    q = np.array([-0.3, 0.5, 1.0])
    expected = sum(c * q**p for p, c in weights.items())
    assert overlap_covariance(weights, 10**6, q) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_elementary_symmetric_by_subsets(order):
    s = np.array([1, -1, 1, 1, -1, 1, 1.0])
    mean = np.mean([math.prod(s[list(subset)]) for subset in combinations(range(7), order)])
    assert elementary_symmetric(order, 7, s.mean()) == pytest.approx(mean, abs=1e-14)


def test_first_samples_do_not_depend_on_their_number():
    few = gaussian_spins(6, {2: 0.5, 3: 0.5}, generator(), samples=1)
    many = gaussian_spins(6, {2: 0.5, 3: 0.5}, generator(), samples=3)
    assert np.array_equal(few.couplings[3][0], many.couplings[3][0])
    assert not np.array_equal(many.couplings[2][0], many.couplings[2][1])


# ---- one sweep


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    ("weights", "size"), [({2: 0.5}, 150), ({1: 0.5, 2: 0.5}, 20), ({2: 0.2, 3: 0.5, 4: 0.4}, 9)]
)
def test_sweep_is_the_plain_loop_over_sites(rule, weights, size):
    """Blocks of sites (five of them at N = 150) change nothing: same thresholds, same spins."""
    rng = generator(2)
    system = gaussian_spins(size, weights, rng, samples=2, field=0.3)
    spins = random_signs(rng, 2, size, 4)
    noise = thresholds(spins, np.full((2, 4), 0.8), rule, rng)
    mine = spins.copy()
    seen = make_sweep(system, 4, np.float64)(mine, noise)
    for d, c in product(range(2), range(4)):
        s = spins[d, :, c].copy()
        for i in range(size):
            up, down = s.copy(), s.copy()
            up[i], down[i] = 1, -1
            pair = np.stack([up, down], axis=1)[None]
            one = SpinSystem({p: J[d : d + 1] for p, J in system.couplings.items()}, system.field)
            high, low = one.energy(pair)[0]
            field = (low - high) / 2
            assert seen[d, i, c] == pytest.approx(field, abs=1e-7)
            s[i] = 1 if field + noise[d, i, c] > 0 else -1
        assert np.array_equal(s, mine[d, :, c])


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("weights", [{2: 0.5}, {3: 0.8}])
def test_sweeps_keep_the_boltzmann_law(rule, weights):
    """Chains drawn from the exact law are still distributed by it three sweeps later (chi-square)."""
    rng = generator(3)
    T, chains = 0.7, 60_000
    system = gaussian_spins(4, weights, rng, field=0.2)
    H = all_energies(system, 0)
    law = np.exp(-H / T)
    law /= law.sum()
    codes = rng.choice(16, chains, p=law)
    spins = (1.0 - 2.0 * (codes >> np.arange(4)[:, None] & 1))[None].astype(np.float32)
    sweep = make_sweep(system, chains)
    for _ in range(3):
        sweep(spins, thresholds(spins, np.full((1, chains), T), rule, rng))
    codes_after = ((spins[0] < 0) << np.arange(4)[:, None]).sum(axis=0)
    assert np.mean(codes_after != codes) > 0.05
    counts = np.bincount(codes_after, minlength=16)
    assert stats.chisquare(counts, chains * law).pvalue > 1e-3


# ---- runs against exact enumeration


@pytest.mark.parametrize(
    ("weights", "size", "rule"),
    [({2: 0.5}, 12, Rule.GLAUBER), ({2: 0.5}, 10, Rule.METROPOLIS), ({2: 0.2, 3: 0.4}, 8, Rule.GLAUBER)],
)
def test_tempering_against_enumeration(weights, size, rule):
    """Energies, magnetisations, overlaps: differences sample by sample, so disorder leaves no noise."""
    T = np.array([0.4, 0.7, 1.3])
    rng = generator(4)
    system = gaussian_spins(size, weights, rng, samples=40, field=0.2)
    exact = enumerate_spins(system, T)
    run = simulate_spins(system, T, rng, sweeps=500, rule=rule)
    z = []
    for record, value in (
        (run.energy, exact.energy),
        (run.magnetisation, exact.magnetisation),
        (run.overlap, exact.overlap_moment(1)),
        (run.overlap**2, exact.overlap_moment(2)),
        (run.overlap**4, exact.overlap_moment(4)),
    ):
        difference = record[250:].mean(axis=(0, 2)) - value
        z.append(difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / 40**0.5))
        assert np.all(np.abs(difference.mean(axis=0)) < 0.05)
    assert np.abs(z).max() < 4
    assert np.mean(np.square(z)) < 3
    assert run.equilibration().passed
    assert np.all((run.swap_rate > 0.2) & (run.swap_rate < 1))
    assert np.all(np.diff(run.flip_rate) > 0)


def test_overlap_distribution_against_enumeration():
    T = np.array([0.5, 1.0])
    rng = generator(5)
    system = sk_spins(10, rng, samples=16)
    exact = enumerate_spins(system, T)
    run = simulate_spins(system, T, rng, sweeps=1000)
    for k in range(2):
        found = run.distribution(k)
        assert found.q == pytest.approx(exact.overlap_values, abs=1e-12)
        assert found.density.sum() * found.width == pytest.approx(1.0)
        # 16 samples of 500 measurements, of which one in eight counts: 1000 of them
        difference = found.density * found.width - exact.overlap[:, k].mean(axis=0)
        assert np.abs(difference).max() < 4 * (0.25 / 1000) ** 0.5
    coarse = run.distribution(0, bins=5)
    assert coarse.density.sum() * coarse.width == pytest.approx(1.0)
    assert len(coarse.q) == 5


def test_energy_follows_the_flips():
    """Between refreshes the energies are sums of changes; the record agrees with the configurations."""
    rng = generator(6)
    system = sk_spins(80, rng, samples=2, field=0.1)
    start = random_signs(rng, 2, 80)
    run = simulate_spins(
        system, np.array([1e-4]), rng, sweeps=50, replicas=1, tempering=False, start=start, reference=start
    )
    # so cold that it ends in a local minimum: one quench by hand from the same start
    for d in range(2):
        s, J = start[d].copy(), system.couplings[2][d]
        for _, i in product(range(50), range(80)):
            s[i] = 1 if J[i] @ s + 0.1 > 0 else -1
        assert run.energy[-1, d, 0, 0] == pytest.approx(energy_by_hand(system, d, s) / 80, abs=1e-5)
        assert run.magnetisation[-1, d, 0, 0] == pytest.approx(s @ start[d] / 80)


def test_katzgraber_young_balance_tells_a_frozen_run():
    rng = generator(7)
    system = sk_spins(64, rng, samples=12, field=0.1)
    good = simulate_spins(system, geometric_temperatures(0.4, 1.6, 8), rng, sweeps=600)
    check = good.equilibration()
    assert check.balance.shape == (8,)
    assert check.passed, str(check)
    assert "no sign" in str(check)
    frozen = simulate_spins(system, np.array([0.05]), rng, sweeps=64, tempering=False)
    check = frozen.equilibration()
    assert not check.passed
    assert np.abs(check.balance).max() > 4.5
    assert "not equilibrated" in str(check)


def test_free_spins_have_a_known_answer():
    """J = 0 in a field: m = tanh(beta h), energy -h m, overlaps binomial with mean m^2."""
    system = SpinSystem({2: np.zeros((8, 50, 50))}, field=0.4)
    run = simulate_spins(system, np.array([0.5, 1.0]), generator(8), sweeps=200)
    m = np.tanh(0.4 / np.array([0.5, 1.0]))
    for found, value in (
        (run.magnetisations(), m),
        (run.energies(), -0.4 * m),
        (run.overlap_moments(1), m**2),
        (run.overlap_moments(2), m**4 + (1 - m**4) / 50),
    ):
        assert np.all(np.abs(found.mean - value) < 4.5 * found.error)
        assert np.all(found.error < 0.01)
    g, error = run.binder(0)
    ups, mean = np.arange(51), m[0] ** 2
    q, law = (2 * ups - 50) / 50, stats.binom.pmf(ups, 50, (1 + mean) / 2)
    assert abs(g - (3 - law @ q**4 / (law @ q**2) ** 2) / 2) < 4 * error
    assert 0 < error < 0.02


# ---- what surrounds a run


def test_a_seed_reproduces_a_run_and_samples_run_side_by_side():
    def draw(rng):
        return sk_spins(20, rng)

    T = np.array([0.6, 1.2])
    alone = simulate_samples(draw, T, samples=3, root=1, sweeps=40)
    with ThreadPoolExecutor(2) as executor:
        together = simulate_samples(draw, T, samples=3, root=1, executor=executor, sweeps=40)
    assert np.array_equal(alone.energy, together.energy)
    assert alone.energy.shape == (40, 3, 2, 2)
    assert alone.overlap.shape == (40, 3, 1, 2)
    assert np.array_equal(
        simulate_samples(draw, T, samples=1, root=1, sweeps=40).overlap, alone.overlap[:, :1]
    )
    with pytest.raises(InputError, match="differ"):
        merge_runs([alone, simulate_samples(draw, T, samples=1, sweeps=20)])
    with pytest.raises(InputError, match="no run"):
        merge_runs([])


def test_progress_and_interruption_keep_what_was_measured():
    seen = []
    system = sk_spins(10, generator())
    simulate_spins(
        system, np.array([1.0]), generator(), sweeps=300, every=10, progress=lambda *x: seen.append(x)
    )
    assert seen[0] == (0, 300)
    assert seen[-1] == (300, 300)
    assert len(seen) == 101

    def stop(done, total):
        if done == 30:
            raise KeyboardInterrupt

    T = np.array([1.0, 2.0])
    whole = simulate_spins(system, T, generator(9), sweeps=60)
    part = simulate_spins(system, T, generator(9), sweeps=60, progress=stop)
    assert part.interrupted
    assert part.sweeps == 30
    assert np.array_equal(part.energy, whole.energy[:30])
    with pytest.raises(KeyboardInterrupt):
        simulate_spins(system, T, generator(9), sweeps=60, every=60, progress=stop)


def test_several_pairs_of_replicas():
    run = simulate_spins(sk_spins(16, generator()), np.array([1.5]), generator(1), sweeps=64, replicas=4)
    assert run.overlap.shape == (64, 1, 6, 1)
    assert np.all(np.abs(run.overlap) <= 1)
    assert np.allclose(run.overlap * 16 % 2, 0)
    single = simulate_spins(sk_spins(16, generator()), np.array([1.5]), generator(1), sweeps=64, replicas=1)
    with pytest.raises(InputError, match="two replicas"):
        single.overlap_moments()
    assert single.equilibration().overlap.shape == (0,)


def test_error_bars_are_calibrated():
    rng = generator(10)
    z = [(found := curve(rng.standard_normal((400, 10, 2, 1)))).mean[0] / found.error[0] for _ in range(300)]
    assert np.std(z) == pytest.approx(1.13, abs=0.15)  # Student's t with 9 degrees of freedom
    z = [(found := curve(rng.standard_normal((400, 1, 2, 1)))).mean[0] / found.error[0] for _ in range(300)]
    assert np.std(z) == pytest.approx(1.07, abs=0.15)
    data = rng.exponential(size=(2000, 1))
    value, error = jackknife(data, lambda mean: mean**2)
    assert value == pytest.approx(data.mean() ** 2)
    assert error == pytest.approx(2 * data.mean() * data.std() / 2000**0.5, rel=0.02)


def test_finite_temperature_hopfield_stays_at_its_pattern():
    """One pattern is a Curie-Weiss magnet: m = tanh(beta m), here 0.8586 at T = 0.667."""
    rng = generator(11)
    patterns = random_patterns(8, 1, 400, rng)
    T = 2 / 3
    run = simulate_spins(
        hopfield_spins(patterns),
        np.array([T]),
        rng,
        sweeps=100,
        start=patterns[:, 0],
        reference=patterns[:, 0],
    )
    m = 0.9
    for _ in range(200):
        m = np.tanh(m / T)
    found = run.magnetisations()
    assert abs(found.mean[0] - m) < 4 * found.error[0] + 1 / 400


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian_spins(3, {5: 1.0}, generator()),
        lambda: gaussian_spins(3, {2: -1.0}, generator()),
        lambda: gaussian_spins(2, {3: 0.5}, generator()),
        lambda: gaussian_spins(3, {}, generator()),
        lambda: SpinSystem({}),
        lambda: SpinSystem({2: np.zeros((1, 3, 4))}),
        lambda: SpinSystem({2: np.full((1, 3, 3), np.nan)}),
        lambda: SpinSystem({1: np.zeros((1, 3)), 2: np.zeros((1, 4, 4))}),
        lambda: SpinSystem({2: np.zeros((1, 3, 3))}, field=math.inf),
        lambda: hopfield_spins(np.zeros((1, 2, 3))),
        lambda: random_patterns(1, 0, 3, generator()),
        lambda: geometric_temperatures(1.0, 0.5, 3),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([0.0, 1.0]), generator(), sweeps=1),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([1.0, 0.5]), generator(), sweeps=1),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([1.0]), generator(), sweeps=0),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([1.0]), generator(), sweeps=2, every=3),
        lambda: simulate_spins(
            sk_spins(3, generator()), np.array([1.0]), generator(), sweeps=2, start=np.ones((1, 4))
        ),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([1.0]), generator(), sweeps=10**9),
        lambda: simulate_spins(sk_spins(3, generator()), np.array([1.0]), generator(), sweeps=9).energies(),
        lambda: overlap_distribution(np.zeros((4, 1, 1)), 10, bins=12),
        lambda: simulate_samples(lambda rng: sk_spins(3, rng), np.array([1.0]), samples=0, sweeps=1),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
