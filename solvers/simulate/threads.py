"""How many threads BLAS may use, for a stretch of code.

The simulations repeat small factorisations and products that wait for memory. A second thread hardly helps
them, and where other programs share the cores OpenBLAS threads wait for each other: a 100 x 100 SVD was
measured at 1.4 ms with one thread and 550 ms with two.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController

from solvers.errors import InputError


def blas_threads(threads: int) -> AbstractContextManager[object]:
    """A context in which BLAS uses at most this many threads.

    Raises:
        InputError: fewer than one.
    """
    if threads < 1:
        raise InputError(f"threads is at least 1, got {threads}")
    return _pools().limit(limits=threads, user_api="blas")


@cache
def _pools() -> ThreadpoolController:
    """The BLAS libraries loaded; finding them takes milliseconds, once."""
    import scipy.linalg  # noqa: F401 so that its own BLAS is among them

    return ThreadpoolController()
