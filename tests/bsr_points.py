"""Points of bilinear sequence regression that several tests solve."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from replica import solve
from replica.models import BilinearSequenceRegression, build

BSR = BilinearSequenceRegression()
SIGN = build("bsr", {"channel": "sign"})
ABS = build("bsr", {"channel": "abs"})

# (alpha, beta, rho, delta) -> mmse, computed independently of this library
KNOWN = {
    ("0.3", "1", "0.2", "0.1"): "0.51399239074024007128",
    ("0.37", "1.7", "0.43", "0.23"): "0.6271666481799545106775406",
    ("0.37", "0.4", "0.3", "0.23"): "0.67145133752025898528",
    ("0.37", "2.5", "0.75", "0.23"): "0.67145133752025898528",
    ("0.8", "3", "1.5", "0.05"): "0.259592394594928740229435183531",
}
FIRST = {"alpha": 0.3, "beta": 1, "rho": 0.2, "delta": 0.1}


def at(point):
    return dict(zip(("alpha", "beta", "rho", "delta"), point, strict=True))


def random_points(seed, count):
    """Points of three decimals, beta on both sides of 1, rho on both sides of min(1, beta)."""
    rng = np.random.default_rng(seed)
    low, high = np.log([0.05, 0.2, 0.05, 0.005]), np.log([2.0, 5.0, 3.0, 1.0])
    return [tuple(f"{x:.3f}" for x in np.exp(rng.uniform(low, high))) for _ in range(count)]


@lru_cache(maxsize=64)
def precise(point, digits=30):
    return solve(BSR, digits=digits, **at(point))
