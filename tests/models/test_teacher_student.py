"""Teacher and student: each published equation term is one test; numbers; derivatives along parameters; exact
enumeration of small systems.

Equations: L. Zdeborova and F. Krzakala, Adv. Phys. 65 (2016) 453; J. Barbier et al., PNAS 116 (2019) 5451. Witnesses
are written by hand in scipy and share nothing with the library. Numbers were computed independently from those
equations (quadrature in 50 digits).
"""

from __future__ import annotations

import itertools
from math import acos, pi, sqrt

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import integrate, special, stats

from replica.api import solve
from replica.expr.numeric import mp_function
from replica.ingredients.channels import AbsoluteValue, GaussianNoise, ReLU, Sign
from replica.ingredients.priors import Discrete, GaussBernoulli, Gaussian, Rademacher
from replica.lowering.program import lower
from replica.models.quadratic_network import QuadraticNetwork
from replica.models.spiked_matrix import SpikedMatrix
from replica.models.teacher_student import TeacherStudent
from replica.symbols import alpha, delta, q, q_hat
from solvers.backends.float64 import Float64
from solvers.errors import InputError

UNINFORMED = {"start": "uninformed"}
GRID = (0.1, 0.35, 0.8)


def gaussian(function, ends=40):
    """E_z function(z), z ~ N(0, 1)."""
    return integrate.quad(
        lambda z: function(z) * stats.norm.pdf(z), -ends, ends, points=[-3, 0, 3], epsabs=1e-13, limit=400
    )[0]


def update(model, unknown, **at):
    """The library's update, evaluated directly by mpmath."""
    symbols = {"alpha": alpha, "q": q, "q_hat": q_hat}
    expr = model.saddle_point().update(unknown)
    expr = expr.subs({symbols[name]: sp.Rational(str(value)) for name, value in at.items()})
    return float(mp_function(expr, ())())


# -- terms of the equations --


@pytest.mark.parametrize("overlap", GRID)
def test_sign_channel_conjugate(overlap):
    """q_hat = alpha (2/(1 - q)) E phi(t z)^2/Phi(t z), t = sqrt(q/(1 - q))."""
    t = sqrt(overlap / (1 - overlap))

    def term(z):  # phi^2/Phi = phi exp(log phi - log Phi)
        return np.exp(2 * stats.norm.logpdf(t * z) - special.log_ndtr(t * z))

    expected = 0.7 * 2 / (1 - overlap) * gaussian(term)
    model = TeacherStudent(Gaussian(), Sign())
    assert update(model, q_hat, alpha=0.7, q=overlap) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("overlap", GRID)
def test_noiseless_phase_retrieval_conjugate(overlap):
    """G = 1/v - (1/v^2) E[h^2 sech^2(omega h/v)], v = 1 - q, omega ~ N(0, q) and h ~ N(omega, v); equal to E g_out^2
    with g_out = (y tanh(omega y/v) - omega)/v, since the mean of h given y = |h| is y tanh(omega y/v).
    """
    v = 1 - overlap
    z = np.arange(-9, 9.01, 0.03)
    weight = stats.norm.pdf(z)[:, None] * stats.norm.pdf(z)[None, :] * 0.03**2
    omega = sqrt(overlap) * z[:, None]
    field = omega + sqrt(v) * z[None, :]
    tanh = np.tanh(omega * field / v)
    expected = 1 / v - (weight * field**2 * (1 - tanh**2)).sum() / v**2
    squared = (weight * ((field * tanh - omega) / v) ** 2).sum()
    assert squared == pytest.approx(expected, rel=1e-10)
    expression = TeacherStudent(Gaussian(), AbsoluteValue(noisy=False)).saddle_point().update(q_hat)
    backend = Float64()
    with backend.context():
        (found,) = lower([expression], [alpha, q]).run(backend, 7, [1.0, overlap]).values
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("overlap", GRID)
def test_relu_conjugate(overlap):
    """G = (1/(1 - q)) E[Phi(u) - u phi(u) + phi(u)^2/Phi(-u)], u = t z."""
    t = sqrt(overlap / (1 - overlap))

    def term(z):
        u = t * z
        ratio = np.exp(2 * stats.norm.logpdf(u) - special.log_ndtr(-u))
        return special.ndtr(u) - u * stats.norm.pdf(u) + ratio

    model = TeacherStudent(Gaussian(), ReLU(noisy=False))
    assert update(model, q_hat, alpha=1, q=overlap) == pytest.approx(
        gaussian(term) / (1 - overlap), rel=1e-10
    )


@pytest.mark.parametrize("strength", [0.2, 1.3, 6.0])
def test_binary_signal_overlap(strength):
    """q = E tanh^2(q_hat + sqrt(q_hat) z)."""
    expected = gaussian(lambda z: np.tanh(strength + sqrt(strength) * z) ** 2)
    assert update(TeacherStudent(Rademacher(), Sign()), q, q_hat=strength) == pytest.approx(
        expected, rel=1e-10
    )


def test_gaussian_signal_free_entropy():
    """psi = q_hat/2 - log(1 + q_hat)/2."""
    phi = TeacherStudent(Gaussian(), Sign()).free_entropy().expression
    psi = sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(q_hat) and not t.has(q)))
    assert sp.simplify(psi - q_hat / 2 + sp.log(1 + q_hat) / 2) == 0
    assert sp.expand(phi - psi).coeff(q_hat) == -q / 2


def test_gaussian_noise_conjugate():
    """q_hat = alpha/(Delta + 1 - q)."""
    found = TeacherStudent(Gaussian(), GaussianNoise()).saddle_point().update(q_hat)
    assert sp.simplify(found - alpha / (delta + 1 - q)) == 0


@pytest.mark.parametrize("prior", [Gaussian(), Rademacher()], ids=lambda p: p.name)
def test_overlap_is_twice_the_slope_of_the_signal_entropy(prior):
    """d psi/d q_hat = q/2, by differences at 30 digits."""
    model = TeacherStudent(prior, Sign())
    phi = model.free_entropy().expression
    psi = mp_function(sp.Add(*(t for t in sp.Add.make_args(phi) if t.has(q_hat) and not t.has(q))), (q_hat,))
    overlap = mp_function(model.saddle_point().update(q), (q_hat,))
    with mpmath.workdps(30):
        at, step = mpmath.mpf(13) / 10, mpmath.mpf(10) ** -5
        f = [psi(at + k * step) for k in (-2, -1, 1, 2)]
        slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)
        assert abs(slope - overlap(at) / 2) < mpmath.mpf(10) ** -18


# -- numbers --

NUMBERS = [
    (Gaussian(), Sign(), {"alpha": 2}, {"q": 0.728298173970712}, -1.0310381559104194),
    (Rademacher(), Sign(), {"alpha": 1}, {"q": 0.5607147370947461}, -0.5870389127850777),
    pytest.param(
        Gaussian(),
        AbsoluteValue(noisy=False),
        {"alpha": "0.8"},
        {"q": 0.21622749029566},
        None,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Gaussian(),
        AbsoluteValue(noisy=False),
        {"alpha": 1},
        {"q": 0.47626358549746184},
        -0.714446023708557,
        marks=pytest.mark.slow,
    ),
    (Gaussian(), ReLU(noisy=False), {"alpha": 1}, {"q": 0.6927938964731635}, None),
    (
        GaussBernoulli(),
        GaussianNoise(),
        {"rho": "0.2", "alpha": "0.5", "delta": "0.01"},
        {"mmse": 0.024572506826457147},
        -0.16374745600438517,
    ),
    (
        GaussBernoulli(),
        GaussianNoise(),
        {"rho": "0.1", "alpha": "0.2", "delta": "0.0001"},
        {"mmse": 0.03070199204148069},
        -0.022695860091069414,
    ),
    pytest.param(
        GaussBernoulli(),
        AbsoluteValue(noisy=False),
        {"alpha": "0.6", "rho": "0.4"},
        {"mmse": 0.37784580697596},
        None,
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("prior", "channel", "point", "values", "phi"), NUMBERS)
def test_published_point(prior, channel, point, values, phi):
    solution = solve(TeacherStudent(prior, channel), **UNINFORMED, **point)
    for name, value in values.items():
        assert solution[name] == pytest.approx(value, abs=1e-10)
    if phi is not None:
        assert solution.free_entropy == pytest.approx(phi, abs=1e-10)


def test_generalisation_error_of_the_perceptron():
    """arccos(sqrt q)/pi, the chance that teacher and Bayes-optimal student disagree on a new sign."""
    solution = solve(TeacherStudent(Gaussian(), Sign()), alpha=2, **UNINFORMED)
    assert acos(sqrt(solution["q"])) / pi == pytest.approx(0.17453418557984768, abs=1e-10)


# -- derivatives along control parameters --


def slope_of(function, at, step):
    f = [function(at + k * step) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)


@pytest.mark.parametrize(("prior", "extra"), [(Rademacher(), {}), (GaussBernoulli(), {"rho": "0.3"})])
def test_i_mmse_in_the_noise(prior, extra):
    """dPhi/ds at s = 1/Delta, per coordinate: Phi = -alpha/2 log(2 pi Delta) - alpha/2 - I, and dI/ds =
    (alpha/2) mmse of the outputs, E(h - <h>)^2 = (E x^2 - q)/(1 + s (E x^2 - q)).
    D. Guo, S. Shamai and S. Verdu, IEEE Trans. Inf. Theory 51 (2005) 1261.
    """
    model, rate = TeacherStudent(prior, GaussianNoise()), 0.5

    def phi(s):
        return solve(model, alpha="0.5", delta=1 / s, **extra, **UNINFORMED).free_entropy

    v = solve(model, alpha="0.5", delta=0.5, **extra, **UNINFORMED)["mmse"]
    s = 2.0
    output_error = v / (1 + s * v)
    expected = rate / (2 * s) - rate / 2 * output_error
    assert slope_of(phi, s, 0.02) == pytest.approx(expected, abs=1e-7)


def test_free_entropy_grows_with_the_entropy_of_an_output():
    """DPhi/dalpha is the average log-evidence of one more output: for signs E 2 Phi log Phi, between -log 2 and 0."""
    model = TeacherStudent(Gaussian(), Sign())
    at = solve(model, alpha="1.5", **UNINFORMED)["q"]
    t = sqrt(at / (1 - at))
    expected = gaussian(lambda z: 2 * special.ndtr(t * z) * special.log_ndtr(t * z))
    slope = slope_of(lambda a: solve(model, alpha=a, **UNINFORMED).free_entropy, 1.5, 0.02)
    assert slope == pytest.approx(expected, abs=1e-7)
    assert -np.log(2) < slope < 0


# -- exact enumeration of small systems --


def enumerated(size, outputs, log_likelihood, rng, instances):
    """Average log-evidence per coordinate of binary signals: a sum over all 2^size of them."""
    signals = np.array(list(itertools.product((-1.0, 1.0), repeat=size)))
    values = []
    for _ in range(instances):
        design = rng.standard_normal((outputs, size)) / sqrt(size)
        truth = rng.choice((-1.0, 1.0), size=size)
        values.append(
            special.logsumexp(log_likelihood(design @ truth, signals @ design.T, rng)) - size * np.log(2)
        )
    return np.mean(values) / size, np.std(values) / sqrt(instances) / size


def sign_likelihood(fields, others, _):
    with np.errstate(divide="ignore"):
        return np.log(np.all(np.sign(others) == np.sign(fields), axis=1))


def noise_likelihood(fields, others, rng):
    y = fields + sqrt(0.3) * rng.standard_normal(fields.shape)
    return stats.norm.logpdf(y, others, sqrt(0.3)).sum(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channel", "likelihood", "parameters"),
    [(Sign(), sign_likelihood, {}), (GaussianNoise(), noise_likelihood, {"delta": "0.3"})],
    ids=["sign", "gaussian"],
)
def test_exact_enumeration_drifts_to_the_free_entropy(channel, likelihood, parameters):
    """The posterior of a binary signal by hand: its log-evidence per coordinate at N = 4, 8, 12, in 1/N."""
    phi = solve(TeacherStudent(Rademacher(), channel), alpha=1, **parameters).free_entropy
    rng = np.random.default_rng(8)
    sizes, results = (4, 8, 12), []
    for size in sizes:
        results.append(enumerated(size, size, likelihood, rng, 6000 if size < 12 else 1500))
    gaps = [abs(mean - phi) for mean, _ in results]
    errors = [error for _, error in results]
    assert gaps[2] < gaps[0] + 2 * (errors[0] + errors[2])
    # the gap falls as 1/N: what is left at N -> infinity by extrapolation from N and 2N
    (m4, e4), (m8, e8), _ = results
    limit, error = 2 * m8 - m4, sqrt(4 * e8**2 + e4**2)
    assert abs(limit - phi) < 5 * error + 0.01
    assert gaps[2] < 0.03


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TeacherStudent(prior=3), "the prior must be one such as Gaussian.., got 3"),
        (lambda: TeacherStudent(Gaussian), "got the class Gaussian: write Gaussian"),
        (lambda: TeacherStudent(Sign(), Gaussian()), "the prior must be one"),
        (
            lambda: TeacherStudent(channel="sign"),
            "the channel must be one such as GaussianNoise.., got 'sign'",
        ),
        (lambda: SpikedMatrix("rademacher"), "the prior must be one such as Rademacher.., got 'rademacher'"),
        (lambda: SpikedMatrix(Gaussian(), Sign()), "the second prior must be one"),
        (lambda: QuadraticNetwork(Sign), "got the class Sign: write Sign"),
        (lambda: solve("glm", alpha=1), "the model must be one such as TeacherStudent.., got 'glm'"),
        (lambda: solve(TeacherStudent, alpha=1), "got the class TeacherStudent: write TeacherStudent"),
    ],
)
def test_what_is_no_ingredient_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_discrete_signal_known_almost_exactly_has_given_all_of_its_entropy():
    """I(x; y) = H = (3/2) log 2 at a noise of 1e-8, where q_hat is 7e8 and the terms of Phi as large."""
    signal = Discrete((-1, 0, 2), ("1/4", "1/2", "1/4"))
    solution = solve(TeacherStudent(signal, GaussianNoise()), alpha=7, delta="1e-8")
    assert solution["mutual_information"] == pytest.approx(1.5 * np.log(2), abs=1e-12)
