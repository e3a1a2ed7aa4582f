"""The models, by name; a model's module is imported only when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replica.parameters import unknown
from solvers.errors import InputError

if TYPE_CHECKING:
    from replica.models.bsr import BilinearSequenceRegression as BilinearSequenceRegression
    from replica.models.dense_hebbian_network import dense_hebbian as dense_hebbian
    from replica.models.empirical_risk import EmpiricalRisk as EmpiricalRisk
    from replica.models.ferromagnets import ferromagnet as ferromagnet
    from replica.models.gaussian_field import GaussianField as GaussianField
    from replica.models.gaussian_field import p_spin as p_spin
    from replica.models.gaussian_field import sherrington_kirkpatrick as sherrington_kirkpatrick
    from replica.models.gaussian_spins_model import gaussian_spins as gaussian_spins
    from replica.models.hopfield_network import hopfield as hopfield
    from replica.models.multitasking_hebbian_network import multitasking_hebbian as multitasking_hebbian
    from replica.models.perceptron import Perceptron as Perceptron
    from replica.models.quadratic_network import QuadraticNetwork as QuadraticNetwork
    from replica.models.spiked_matrix import SpikedMatrix as SpikedMatrix
    from replica.models.teacher_student import TeacherStudent as TeacherStudent

MODELS: dict[str, str] = {
    "bsr": "bilinear sequence regression (arXiv 2410.18858)",
    "dense": "dense Hebbian networks that learn from examples (arXiv 2212.00606)",
    "ferromagnet": "ferromagnets in random fields, with Gaussian energies of any covariance beside",
    "field": "spins with Gaussian energies of any covariance, such as covariance=q^2/2+q^3/4",
    "gaussian_spins": "real spins of a Gaussian law with quadratic energies, random and ferromagnetic",
    "glm": "a vector seen through random projections and a channel, Bayes-optimal",
    "hopfield": "the Hopfield network: retrieval, mixture and glass states",
    "multitasking": "Hebbian networks with diluted patterns (arXiv 2308.04106)",
    "perceptron": "weights that satisfy random constraints with a margin: volume and capacity",
    "pspin": "the p-spin model, Ising or spherical",
    "quadratic": "a network of extensive width with quadratic activations (arXiv 2408.03733)",
    "risk": "convex empirical risk minimisation with a teacher",
    "sk": "the Sherrington-Kirkpatrick model",
    "spiked": "a rank-one matrix in Gaussian noise, Bayes-optimal",
}
"""Name -> one line."""

_PRIORS = ("gaussian", "rademacher", "gauss-bernoulli", "bernoulli", "sparse-rademacher", "laplace")
_MIXTURES = _PRIORS[:-1]
_CHANNELS = (
    "gaussian",
    "sign",
    "abs",
    "probit",
    "logistic",
    "margin",
    "interval",
    "quantiser",
    "relu",
    "leaky",
    "laplace",
    "poisson",
)

_WITH_KAPPA = ("margin", "interval")
"""Channels with a parameter of that name, which is the width of a quadratic network."""

_SPINS = ("ising", "spherical")
_ANSATZE = ("rs", "1rsb", "2rsb", "3rsb", "4rsb", "5rsb", "fullrsb")

ANY: tuple[str, ...] = ()
"""Values of an option that are read by its ingredient."""

OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "bsr": {"channel": _CHANNELS},
    "field": {"covariance": ANY, "spins": _SPINS, "ansatz": _ANSATZE},
    "dense": {"P": tuple(map(str, (4, 3, *range(5, 11))))},
    "ferromagnet": {"covariance": ANY},
    "gaussian_spins": {"covariance": ANY},
    "hopfield": {"patterns": ("1", "3", "5", "2", "4")},
    "multitasking": {"K": ("2", "1", "3", "4", "5")},
    "glm": {"prior": _PRIORS, "channel": _CHANNELS},
    "perceptron": {
        "weights": _SPINS,
        "constraint": ("margin", "interval", "probit"),
        "ansatz": ("rs", "1rsb", "2rsb", "3rsb"),
    },
    "pspin": {"p": tuple(map(str, range(3, 11))), "spins": _SPINS, "ansatz": _ANSATZE},
    "quadratic": {"channel": tuple(c for c in _CHANNELS if c not in _WITH_KAPPA)},
    "risk": {
        "teacher": ("sign", "gaussian", "probit", "logistic", "margin"),
        "loss": ("logistic", "square", "hinge", "squared hinge", "huber", "absolute"),
        "penalty": ("l2", "l1", "elastic net"),
        "teacher_prior": _MIXTURES,
    },
    "sk": {"ansatz": _ANSATZE},
    "spiked": {"prior": _PRIORS, "second_prior": _PRIORS},
}
"""Name -> option -> the values it takes; the first is the default, but for ``spiked`` (rademacher, none)."""

_CLASSES = {
    "BilinearSequenceRegression": "bsr",
    "TeacherStudent": "teacher_student",
    "EmpiricalRisk": "empirical_risk",
    "QuadraticNetwork": "quadratic_network",
    "SpikedMatrix": "spiked_matrix",
    "GaussianField": "gaussian_field",
    "Perceptron": "perceptron",
    "ferromagnet": "ferromagnets",
    "gaussian_spins": "gaussian_spins_model",
    "hopfield": "hopfield_network",
    "dense_hebbian": "dense_hebbian_network",
    "multitasking_hebbian": "multitasking_hebbian_network",
    "sherrington_kirkpatrick": "gaussian_field",
    "p_spin": "gaussian_field",
}
_NAMES = {
    "bsr": "BilinearSequenceRegression",
    "glm": "TeacherStudent",
    "quadratic": "QuadraticNetwork",
    "risk": "EmpiricalRisk",
    "spiked": "SpikedMatrix",
    "field": "GaussianField",
    "sk": "sherrington_kirkpatrick",
    "perceptron": "Perceptron",
    "ferromagnet": "ferromagnet",
    "gaussian_spins": "gaussian_spins",
    "hopfield": "hopfield",
    "dense": "dense_hebbian",
    "multitasking": "multitasking_hebbian",
    "pspin": "p_spin",
}


def build(name: str, options: dict[str, str]) -> Any:
    """The model of that name.

    Raises
    ------
    InputError
        Unknown model, option or value of an option.
    """
    if name not in MODELS:
        raise InputError(unknown("model", name, list(MODELS)))
    for option, value in options.items():
        if option not in OPTIONS[name]:
            raise InputError(unknown("option", option, list(OPTIONS[name])))
        if OPTIONS[name][option] is not ANY and value not in OPTIONS[name][option]:
            raise InputError(unknown(option, value, OPTIONS[name][option]))
    if name == "field" and "covariance" not in options:
        raise InputError("field needs its covariance, such as covariance=q^2/2+q^3/4")
    return __getattr__(_NAMES[name])(**{option: _ingredient(option, v) for option, v in options.items()})


def _ingredient(option: str, value: str) -> Any:
    if option in ("spins", "weights"):
        return value
    if option in ("p", "P", "K", "patterns"):
        return int(value)
    if option == "ansatz":
        from replica.ansatz import by_name

        return by_name(value)
    if option == "covariance":
        from replica.models.gaussian_field import parse_covariance

        return parse_covariance(value)
    from replica.ingredients.channels import CHANNELS
    from replica.ingredients.losses import LOSSES
    from replica.ingredients.penalties import PENALTIES
    from replica.ingredients.priors import PRIORS

    homes: dict[str, dict[str, Any]] = {
        "channel": CHANNELS,
        "constraint": CHANNELS,
        "teacher": CHANNELS,
        "loss": LOSSES,
        "penalty": PENALTIES,
        "prior": PRIORS,
        "second_prior": PRIORS,
        "teacher_prior": PRIORS,
    }
    return homes[option][value]()


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        from importlib import import_module

        return getattr(import_module(f"replica.models.{_CLASSES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
