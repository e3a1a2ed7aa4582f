"""The table of a sweep: an ``xarray.Dataset`` in which every variable says what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from replica.checkpoint import Row
from replica.described import described

PAIR = ("mmse", "q", "q_hat")
ENDINGS = ("free_entropy", "residual", "error")


def dataset(
    model: Any,
    axes: Mapping[str, Sequence[Fraction]],
    dims: Sequence[str],
    rows: Sequence[Row | None],
    observables: Sequence[str],
    interrupted: bool,
) -> Any:
    """The rows as a labelled table; nan where there is no number, beside the outcome that says why.

    ``axes`` are the parameters given, ``dims`` those given as sequences, ``rows`` in the order of their
    product (None: not computed).  ``observables`` are variables even where no point has them; where a model
    reduces to one pair they are the only ones beside the pair.
    """
    import xarray as xr

    shape = [len(axes[name]) for name in dims]
    believed = [row if row is not None and row.outcome.converged else None for row in rows]
    if model.solver == "pair":
        names = dict.fromkeys([*PAIR, *observables])
    else:
        names = dict.fromkeys([*(name for row in believed if row for name in row.values), *observables])
    # values may be None where the model states no such observable
    columns: dict[str, Any] = {
        name: [math.nan if row is None or (x := row.values.get(name)) is None else x for row in believed]
        for name in names
    }
    columns |= {name: [getattr(row, name) if row else math.nan for row in believed] for name in ENDINGS}
    columns["outcome"] = [_sentence(row, list(names)) for row in rows]
    docs = {parameter.name: {"description": parameter.doc} for parameter in model.control_parameters}
    return xr.Dataset(
        {
            name: (dims, np.array(column).reshape(shape), described(name, model.solver)._asdict())
            for name, column in columns.items()
        },
        coords={
            name: ([name], [float(x) for x in axes[name]], docs[name])
            if name in dims
            else ((), float(axes[name][0]), docs[name])
            for name in axes
        },
        attrs={
            "model": model.name,
            "reference": model.reference,
            "interrupted": int(interrupted),
            "computed": sum(row is not None for row in rows),
        },
    )


def _sentence(row: Row | None, names: Sequence[str]) -> str:
    """How a point ended, and which of its variables have no number although it converged."""
    if row is None:
        return "not computed: interrupted"
    said = [row.outcome.value]
    if row.outcome.converged:
        values = {name: row.values.get(name) for name in names}
        undefined = [name for name, x in values.items() if x is None]
        lost = [name for name, x in values.items() if x is not None and math.isnan(x)]
        said += [f"not defined here: {', '.join(undefined)}"] if undefined else []
        said += [f"did not converge: {', '.join(lost)}"] if lost else []
    return "; ".join(said)
