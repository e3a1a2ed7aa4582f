"""What models are made of: priors, channels, and the free probability of matrix signals."""

from __future__ import annotations

from typing import Any

_HOMES = {
    "channels": (
        "AbsoluteValue",
        "Channel",
        "GaussianNoise",
        "LaplaceNoise",
        "LeakyReLU",
        "Logistic",
        "MarginStep",
        "PoissonNoise",
        "Probit",
        "Quantiser",
        "ReLU",
        "Sign",
        "SymmetricInterval",
    ),
    "factors": ("GaussianFactors",),
    "losses": (
        "AbsoluteLoss",
        "HingeLoss",
        "HuberLoss",
        "LogisticLoss",
        "Loss",
        "SquareLoss",
        "SquaredHingeLoss",
    ),
    "penalties": ("ElasticNet", "L1", "L2", "Penalty"),
    "priors": (
        "Bernoulli",
        "Discrete",
        "GaussBernoulli",
        "Gaussian",
        "GaussianMixture",
        "Laplace",
        "Prior",
        "Rademacher",
        "SparseRademacher",
    ),
}

__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name: str) -> Any:
    """An ingredient by name; its module, and SymPy with it, is imported then."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
