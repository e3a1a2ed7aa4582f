"""What models are made of: priors, channels, losses, penalties and the free probability of matrix signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replica.ingredients.channels import AbsoluteValue as AbsoluteValue
    from replica.ingredients.channels import Channel as Channel
    from replica.ingredients.channels import GaussianNoise as GaussianNoise
    from replica.ingredients.channels import LaplaceNoise as LaplaceNoise
    from replica.ingredients.channels import LeakyReLU as LeakyReLU
    from replica.ingredients.channels import Logistic as Logistic
    from replica.ingredients.channels import MarginStep as MarginStep
    from replica.ingredients.channels import PoissonNoise as PoissonNoise
    from replica.ingredients.channels import Probit as Probit
    from replica.ingredients.channels import Quantiser as Quantiser
    from replica.ingredients.channels import ReLU as ReLU
    from replica.ingredients.channels import Sign as Sign
    from replica.ingredients.channels import SymmetricInterval as SymmetricInterval
    from replica.ingredients.factors import GaussianFactors as GaussianFactors
    from replica.ingredients.losses import AbsoluteLoss as AbsoluteLoss
    from replica.ingredients.losses import HingeLoss as HingeLoss
    from replica.ingredients.losses import HuberLoss as HuberLoss
    from replica.ingredients.losses import LogisticLoss as LogisticLoss
    from replica.ingredients.losses import Loss as Loss
    from replica.ingredients.losses import SquaredHingeLoss as SquaredHingeLoss
    from replica.ingredients.losses import SquareLoss as SquareLoss
    from replica.ingredients.own import DensityPrior as DensityPrior
    from replica.ingredients.own import ExpressionChannel as ExpressionChannel
    from replica.ingredients.penalties import L1 as L1
    from replica.ingredients.penalties import L2 as L2
    from replica.ingredients.penalties import ElasticNet as ElasticNet
    from replica.ingredients.penalties import Penalty as Penalty
    from replica.ingredients.priors import Bernoulli as Bernoulli
    from replica.ingredients.priors import Discrete as Discrete
    from replica.ingredients.priors import GaussBernoulli as GaussBernoulli
    from replica.ingredients.priors import Gaussian as Gaussian
    from replica.ingredients.priors import GaussianMixture as GaussianMixture
    from replica.ingredients.priors import Laplace as Laplace
    from replica.ingredients.priors import Prior as Prior
    from replica.ingredients.priors import Rademacher as Rademacher
    from replica.ingredients.priors import SparseRademacher as SparseRademacher
    from replica.ingredients.symmetric_factors import SymmetricFactors as SymmetricFactors

_WHERE = {
    "AbsoluteLoss": "losses",
    "AbsoluteValue": "channels",
    "Bernoulli": "priors",
    "Channel": "channels",
    "DensityPrior": "own",
    "Discrete": "priors",
    "ElasticNet": "penalties",
    "ExpressionChannel": "own",
    "GaussBernoulli": "priors",
    "Gaussian": "priors",
    "GaussianFactors": "factors",
    "GaussianMixture": "priors",
    "GaussianNoise": "channels",
    "HingeLoss": "losses",
    "HuberLoss": "losses",
    "L1": "penalties",
    "L2": "penalties",
    "Laplace": "priors",
    "LaplaceNoise": "channels",
    "LeakyReLU": "channels",
    "Logistic": "channels",
    "LogisticLoss": "losses",
    "Loss": "losses",
    "MarginStep": "channels",
    "Penalty": "penalties",
    "PoissonNoise": "channels",
    "Prior": "priors",
    "Probit": "channels",
    "Quantiser": "channels",
    "Rademacher": "priors",
    "ReLU": "channels",
    "Sign": "channels",
    "SparseRademacher": "priors",
    "SquareLoss": "losses",
    "SquaredHingeLoss": "losses",
    "SymmetricFactors": "symmetric_factors",
    "SymmetricInterval": "channels",
}

__all__ = [
    "L1",
    "L2",
    "AbsoluteLoss",
    "AbsoluteValue",
    "Bernoulli",
    "Channel",
    "DensityPrior",
    "Discrete",
    "ElasticNet",
    "ExpressionChannel",
    "GaussBernoulli",
    "Gaussian",
    "GaussianFactors",
    "GaussianMixture",
    "GaussianNoise",
    "HingeLoss",
    "HuberLoss",
    "Laplace",
    "LaplaceNoise",
    "LeakyReLU",
    "Logistic",
    "LogisticLoss",
    "Loss",
    "MarginStep",
    "Penalty",
    "PoissonNoise",
    "Prior",
    "Probit",
    "Quantiser",
    "Rademacher",
    "ReLU",
    "Sign",
    "SparseRademacher",
    "SquareLoss",
    "SquaredHingeLoss",
    "SymmetricFactors",
    "SymmetricInterval",
]


def __getattr__(name: str) -> Any:
    """An ingredient by name; its module, and SymPy with it, is imported then."""
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
