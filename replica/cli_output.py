"""What the command line writes: fields as text or JSON, derivations as documents, sweeps as NetCDF."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replica import described
from solvers.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

PLOT_SUFFIXES = (".png", ".pdf", ".svg")
DOCUMENT_SUFFIXES = (".tex", ".md")
DATASET_SUFFIXES = (".nc",)
CHECKPOINT_SUFFIXES = (".jsonl",)


def writable(path: Path, suffixes: tuple[str, ...], *, overwrite: bool = True) -> Path:
    """Return the path when a file can be written there, checked before anything is computed."""
    if path.suffix not in suffixes:
        raise InputError(f"the name of the file must end in {' or '.join(suffixes)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {str(path.parent)!r} to write {path.name!r} in")
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"cannot write in the folder {str(path.parent)!r}")
    if path.exists() and not overwrite:
        raise InputError(f"{str(path)!r} exists; --force overwrites it")
    return path


OBSERVABLES = {
    **{name: known.description for name, known in described.OBSERVABLES.items()},
    "free_entropy": "log of the evidence per coordinate, in nats",
}
"""What the observables are, in a line each."""


def fields_as_text(fields: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> str:
    """Return nested fields as aligned lines, one a field; the names are those of ``to_dict``, and a label
    follows the value.

    >>> print(fields_as_text({"q": 0.5, "stats": {"steps": 3}}, {"q": "overlap"}))
    q            0.5  (overlap)
    stats.steps  3
    """
    lines = dict(_flatten(plain(fields)))
    width = max(map(len, lines), default=0)
    said = {name: f"  ({label})" for name, label in (labels or {}).items()}
    return "\n".join(f"{name:<{width}}  {value}{said.get(name, '')}" for name, value in lines.items())


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", " ".join(map(str, value))
        else:
            yield f"{prefix}{name}", "-" if value is None else str(value)


def fields_as_json(fields: Mapping[str, Any]) -> str:
    """Return fields as strict JSON: a number that is not finite becomes null."""
    return json.dumps(plain(fields), indent=2, allow_nan=False, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Return a value made of JSON's types only; numbers that are neither int nor float become their text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, with a last line end."""
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as NetCDF 3, through SciPy; an interrupted write leaves no half file behind."""
    encoded = encoded_for_netcdf(dataset)
    handle, temporary = tempfile.mkstemp(suffix=".nc", prefix=".replica-", dir=path.parent)
    os.close(handle)
    try:
        encoded.to_netcdf(temporary, engine="scipy")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def encoded_for_netcdf(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset in the types that NetCDF 3 has: doubles, 32-bit integers and text.

    Fractions and multiprecision numbers become doubles, enums their value's text, bools 0 and 1.
    """
    encoded = dataset.copy()
    for name, variable in dataset.variables.items():
        data = (variable.dims, _encoded_array(variable.to_numpy()), _encoded_attributes(variable.attrs))
        if name in dataset.coords:
            encoded = encoded.assign_coords({name: data})
        else:
            encoded[name] = data
    encoded.attrs = _encoded_attributes(dataset.attrs)
    return encoded


def _encoded_array(array: np.ndarray) -> np.ndarray:
    import numpy as np

    if array.dtype.kind == "b":
        return array.astype("int8")
    if array.dtype.kind in "iu":
        fits = array.size == 0 or abs(array.astype(float)).max() < 2**31
        return array.astype("int32" if fits else "float64")
    if array.dtype.kind != "O":
        return array
    items = [plain(x) if isinstance(x, Enum) else x for x in array.ravel()]
    if any(isinstance(x, str | None) for x in items):
        encoded = np.array(["" if x is None else str(x) for x in items], dtype=str)
    else:
        encoded = np.array([float(x) for x in items])
    return encoded.reshape(array.shape)


def _encoded_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    values = {str(name): plain(value) for name, value in attributes.items()}
    return {
        name: value
        if isinstance(value, int | float | str) and not isinstance(value, bool)
        else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
