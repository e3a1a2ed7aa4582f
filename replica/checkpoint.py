"""The finished points of a sweep on disk, so that a sweep that was killed goes on where it was.

A text file of JSON lines. The first says what was solved (the model and its statement, start and the version
of the library); every other line is one group of points that was solved together, with exact parameters as
text and numbers that read back to the same double; a later line of the same point holds more observables. A
group is one line, so a line cut by a kill loses a whole group and no group is ever half there: the points
computed again are computed exactly as before. Only JSON is read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from replica.parameters import parse_number
from solvers.errors import InputError
from solvers.solution import Outcome

Key = tuple[tuple[str, Fraction], ...]


class Row(NamedTuple):
    """What a sweep keeps of a point; the numbers are doubles and may be infinite or nan."""

    values: Mapping[str, float | None]
    """Unknowns and observables, none where the solve failed; None for an observable that is not defined at
    the point, nan for one that did not converge.
    """
    free_entropy: float
    residual: float
    error: float
    outcome: Outcome

    def lacks(self, names: Iterable[str]) -> bool:
        """Whether there is a solution, and an observable of it still to be computed."""
        return self.outcome.converged and not self.values.keys() >= set(names)

    def numbers(self) -> dict[str, float]:
        """The values that are defined, and the free entropy."""
        known = {name: x for name, x in self.values.items() if x is not None}
        return known | {"free_entropy": self.free_entropy}


_NUMBERS = ("free_entropy", "residual", "error")
SHOWN = 80
"""Characters of a statement in a complaint."""


def key_of(params: Mapping[str, Fraction]) -> Key:
    """The exact parameters of a point, whatever their order."""
    return tuple(sorted(params.items()))


class Checkpoint:
    """A file of finished points of one model, read when opened, appended to by ``add``.

    Attributes
    ----------
    rows:
        What the file holds.

    Raises
    ------
    InputError
        The file is not a checkpoint, is damaged before its last line, or holds another model, start or
        version of the library; it cannot be read or written.
    """

    def __init__(self, path: str | Path, model: Any, start: str) -> None:
        """Read the file, or begin one."""
        self.path = Path(path)
        self._header = {
            "file": "checkpoint of replica sweep",
            "model": model.name,
            "statement": repr(model),
            "start": start,
            "version": version("replica-calculator"),
        }
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            self.rows, good = self._read(content)
            with self.path.open("ab") as stream:
                stream.truncate(good)  # a line cut by a kill
                if not good:
                    stream.write(_line(self._header))
        except OSError as error:
            raise InputError(f"cannot use the checkpoint {str(path)!r}: {error.strerror or error}") from None

    def add(self, points: Sequence[Mapping[str, Fraction]], rows: Sequence[Row]) -> None:
        """Append one group; it is with the operating system when this returns, and survives a kill."""
        group = [
            {"params": {name: str(x) for name, x in point.items()}, **_plain(row)}
            for point, row in zip(points, rows, strict=True)
        ]
        with self.path.open("ab") as stream:
            stream.write(_line({"points": group}))

    def _read(self, content: bytes) -> tuple[dict[Key, Row], int]:
        """The rows, and the number of bytes up to the end of the last whole line."""
        header = _line(self._header)
        if header.startswith(content):  # new, or killed while it was begun
            return {}, len(header) if content == header else 0
        lines = content.splitlines(keepends=True)
        self._check_header(lines[0])
        rows: dict[Key, Row] = {}
        good = len(lines[0])
        for number, line in enumerate(lines[1:], 2):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut")
                group = [_read_point(point) for point in json.loads(line)["points"]]
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                if number == len(lines):
                    break
                raise InputError(f"line {number} of the checkpoint {str(self.path)!r} is damaged") from None
            rows.update(group)
            good += len(line)
        return rows, good

    def _check_header(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            if found["file"] != self._header["file"]:
                raise ValueError("another kind of file")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{str(self.path)!r} is not the checkpoint of a sweep") from None
        for name, value in self._header.items():
            if found.get(name) != value:
                other = " ".join(str(found.get(name)).split())[:SHOWN]
                raise InputError(
                    f"the checkpoint {str(self.path)!r} is of {name} {other}, not {value[:SHOWN]}; "
                    "give another file"
                )


def _line(data: Any) -> bytes:
    return (json.dumps(data, allow_nan=False) + "\n").encode("utf-8")


def _plain(row: Row) -> dict[str, Any]:
    """JSON has no infinities: numbers that are not finite become text."""
    return {
        "values": {name: _number(x) for name, x in row.values.items()},
        **{name: _number(getattr(row, name)) for name in _NUMBERS},
        "outcome": row.outcome.name,
    }


def _number(x: float | None) -> float | str | None:
    return x if x is None or math.isfinite(x) else repr(x)


def _read_point(data: Any) -> tuple[Key, Row]:
    params = {str(name): parse_number(text, name) for name, text in data["params"].items()}
    values = {str(name): None if x is None else float(x) for name, x in data["values"].items()}
    numbers = {name: float(data[name]) for name in _NUMBERS}
    return key_of(params), Row(values, **numbers, outcome=Outcome[data["outcome"]])
