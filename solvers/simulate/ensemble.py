"""Many seeds of one simulation, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import numpy as np

from solvers.errors import InputError
from solvers.simulate.amp import AmpOutcome, AmpRun

Result = TypeVar("Result")


class Estimate(NamedTuple):
    """A mean over seeds with its standard error."""

    mean: float
    error: float


def run_seeds(
    task: Callable[[np.random.Generator], Result],
    seeds: int,
    *,
    root: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Run a task once per seed, each with its own generator, a child of one root seed.

    Seed k is the same whatever the number of seeds, so a longer run extends a shorter one.

    Args:
        task: takes a generator and draws everything from it.
        seeds: how many, at least 1.
        root: the root seed.
        progress: called with (done, seeds) before the first and after each.

    Returns:
        the results in order. An interruption (KeyboardInterrupt, or an `AmpRun` that was interrupted) ends
        the loop and keeps what is complete: the list is then shorter than `seeds`.

    Raises:
        InputError: fewer than one seed, or a negative root.
    """
    if seeds < 1:
        raise InputError(f"the number of seeds is at least 1, got {seeds}")
    if root < 0:
        raise InputError(f"a root seed is a non-negative integer, got {root}")
    results: list[Result] = []
    try:
        for child in np.random.SeedSequence(root).spawn(seeds):
            if progress is not None:
                progress(len(results), seeds)
            result = task(np.random.Generator(np.random.SFC64(child)))
            if isinstance(result, AmpRun) and result.outcome is AmpOutcome.INTERRUPTED:
                break
            results.append(result)
        else:
            if progress is not None:
                progress(len(results), seeds)
    except KeyboardInterrupt:
        pass
    return results


def mean_and_error(values: Iterable[float]) -> Estimate:
    """Mean and standard error (sample deviation over the square root of the number) of independent values.

    Raises:
        InputError: fewer than two values, which have no error bar, or a value that is not finite.

    >>> mean_and_error([1.0, 2.0, 3.0])
    Estimate(mean=2.0, error=0.577...)
    """
    array = np.array(list(values), dtype=np.float64)
    if array.size < 2:
        raise InputError(f"an error bar needs at least two seeds, got {array.size}")
    if not np.all(np.isfinite(array)):
        raise InputError("a value over seeds is not finite: a run that failed has no place in a mean")
    return Estimate(float(array.mean()), float(array.std(ddof=1) / np.sqrt(array.size)))
