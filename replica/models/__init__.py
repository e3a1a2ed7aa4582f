"""The models, by name; a model's module is imported only when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replica.parameters import unknown
from solvers.errors import InputError

if TYPE_CHECKING:
    from replica.models.bsr import BilinearSequenceRegression as BilinearSequenceRegression

MODELS: dict[str, str] = {
    "bsr": "bilinear sequence regression (arXiv 2410.18858)",
}
"""Name -> one line."""

OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "bsr": {"channel": ("gaussian", "sign", "abs")},
}
"""Name -> option -> the values it takes."""


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
        if value not in OPTIONS[name][option]:
            raise InputError(unknown(option, value, OPTIONS[name][option]))
    from replica.ingredients.channels import CHANNELS
    from replica.models.bsr import BilinearSequenceRegression

    return BilinearSequenceRegression(channel=CHANNELS[options.get("channel", "gaussian")]())


def __getattr__(name: str) -> Any:
    if name == "BilinearSequenceRegression":
        from replica.models.bsr import BilinearSequenceRegression

        return BilinearSequenceRegression
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
