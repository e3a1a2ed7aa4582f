"""SymPy plumbing, no physics: binders, stable functions, rules, printing."""

from replica.expr.average import GaussianAverage, OutputSum
from replica.expr.binder import Binder, canonical
from replica.expr.closed_forms import gaussian_closed_form
from replica.expr.kinks import split_at_kinks
from replica.expr.printing import aligned, document, latex
from replica.expr.replica_limit import replica_limit
from replica.expr.rules import (
    heat_equation,
    hubbard_stratonovich,
    output_integral_to_average,
    price,
    stein,
)
from replica.expr.stable import (
    STABLE,
    inverse_mills,
    log2cosh,
    log_ndtr,
    ndtr,
    normal_density,
    npdf,
    xlogx,
)

__all__ = [
    "STABLE",
    "Binder",
    "GaussianAverage",
    "OutputSum",
    "aligned",
    "canonical",
    "document",
    "gaussian_closed_form",
    "heat_equation",
    "hubbard_stratonovich",
    "inverse_mills",
    "latex",
    "log2cosh",
    "log_ndtr",
    "ndtr",
    "normal_density",
    "npdf",
    "output_integral_to_average",
    "price",
    "replica_limit",
    "split_at_kinks",
    "stein",
    "xlogx",
]
