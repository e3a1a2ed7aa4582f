"""Whether bodies are even in a variable: half of their average is then enough.

The question is put to the lowered program, at a few points no symmetry has chosen: analytic functions that
agree there to twelve digits are the same.  A symbolic answer costs seconds on the bodies of nested averages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.backends.float64 import Float64

_BACKEND = Float64()
_LEVEL = 4
_PLACES = (0.2871, 0.6433, 1.3719)
_PARAMETERS = np.random.default_rng(20).uniform(0.15, 0.75, size=(2, 32))
_ACCURACY = 1e-12


def is_even(program: Any, arguments: int) -> bool:
    """Whether the bodies of a program do not change with the sign of their last argument, the variable.

    ``arguments`` is how many come before it.  False says nothing: a quadrature inside may differ by its
    error.
    """
    for parameters in _PARAMETERS:
        for place in _PLACES:
            try:
                with _BACKEND.context(), np.errstate(all="ignore"):
                    left, right = (
                        program.run(_BACKEND, _LEVEL, [*parameters[:arguments], x]).values
                        for x in (place, -place)
                    )
            except (ArithmeticError, ValueError):
                return False
            for a, b in zip(left, right, strict=True):
                if not abs(float(a) - float(b)) <= _ACCURACY * max(abs(float(a)), 1e-3):
                    return False
    return True
