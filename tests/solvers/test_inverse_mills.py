"""npdf/ndtr keeps its digits at very negative arguments on every backend."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from solvers.backends.arb import Arb
from solvers.backends.float64 import Float64
from solvers.backends.mp import MP


@pytest.mark.parametrize("x", ["1/3", "-3", "-17/2", "-45", "-60", "-1000", "-123456789", "12", "-1e12"])
@pytest.mark.parametrize("make", [Float64, lambda: MP(40), lambda: Arb(40), lambda: Arb(100)])
def test_inverse_mills(make, x):
    backend = make()
    with backend.context():
        value = np.asarray(backend.inverse_mills(backend.array(backend.number(x)))).reshape(-1)[0]
    with mpmath.workdps(2 * backend.digits + 120):
        at = mpmath.mpf(eval_fraction(x))
        if at > -1e4:
            exact = mpmath.npdf(at) / (mpmath.erfc(-at / mpmath.sqrt(2)) / 2)
        else:  # -x (1 + 1/x^2 - 2/x^4 + 10/x^6 - 74/x^8 + 706/x^10 - ...), A&S 26.2.12
            u = 1 / at**2
            exact = -at / (1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u * (1 - 9 * u * (1 - 11 * u))))))
        text = value.mid().str(backend.digits + 10, radius=False) if backend.name == "arb" else value
        goal = mpmath.mpf(10) ** (2 - backend.digits)
        if at <= -1e4:  # the series ends
            goal = max(goal, 1e5 * u**7)
        assert abs(mpmath.mpf(text) / exact - 1) < goal


@pytest.mark.parametrize("x", ["-3", "-45", "-60", "-400000", "-123456789", "1/3"])
@pytest.mark.parametrize("make", [Float64, lambda: MP(30), lambda: Arb(30)])
def test_log_ndtr_far_in_the_tail(make, x):
    """Its logarithm keeps its digits where a relative error of x counts x^2 times in ndtr."""
    backend = make()
    with backend.context():
        at = backend.number(x) * (backend.rational(1, 3) * 3)  # a ball with a radius
        value = np.asarray(backend.log_ndtr(backend.array(at))).reshape(-1)[0]
        found = backend.to_fraction(value)
    with mpmath.workdps(60):
        z = mpmath.mpf(eval_fraction(x))
        exact = mpmath.log(mpmath.erfc(-z / mpmath.sqrt(2)) / 2)
        assert abs(mpmath.mpf(found.numerator) / found.denominator / exact - 1) < 10.0 ** (2 - backend.digits)


def eval_fraction(text):
    from fractions import Fraction

    value = Fraction(text)
    return mpmath.mpf(value.numerator) / value.denominator
