"""What the numbers of a solution are, in a line each, with their units: for tables and the command line.

Nothing here has a dimension; units say logarithms (nats) and per what a quantity is counted.
"""

from __future__ import annotations

from typing import NamedTuple


class Described(NamedTuple):
    """A sentence without a full stop, and units: "1" where there are none."""

    description: str
    units: str = "1"


OBSERVABLES = {
    "generalisation_error": Described("error of the best prediction of a new output"),
    "gibbs_error": Described("error of a prediction drawn from the posterior"),
    "field_mmse": Described("square error of the fields at the training samples"),
    "training_error": Described("square error of the fit at the training samples"),
    "training_loss": Described(
        "loss per training sample, without a penalty; else -log P(y|h), in nats", "1 or nats, per sample"
    ),
    "log_loss": Described("-log of the probability given to a new output, in nats", "nats per sample"),
    "mutual_information": Described(
        "between signal and outputs, in the units of the free entropy, in nats", "nats per coordinate"
    ),
    "matrix_mmse": Described("square error of the matrix per entry"),
    "mse": Described("square error of the weights per coordinate"),
    "active_fraction": Described("share of the weights that are not zero"),
}
"""Of predictions and of information."""

_STATES = {
    "f": Described("free energy, -T times the free entropy", "energy per spin"),
    "energy": Described("mean energy", "energy per spin"),
    "entropy": Described("entropy of the configurations", "nats per spin"),
    "squared_overlap": Described("mean square of the overlap of two configurations"),
    "replicon": Described("replicon: positive where the solution is stable against breaking"),
    "stiffness": Described("inverse of the uniform response: positive where Z is finite"),
    "complexity": Described("log of the number of states that dominate", "nats per spin"),
    "f_state": Described("free energy of one of the states that dominate", "energy per spin"),
    "V": Described("(1 - q)/T of the innermost overlap"),
    "r": Described("noise of the other patterns: q_hat/(alpha beta^2)"),
}
_ENDINGS = {
    "free_entropy": Described("log of the evidence or partition function", "nats per degree of freedom"),
    "residual": Described("|update - value|/|value| of the unknown that is iterated"),
    "error": Described("estimated error of the unknowns: iteration, quadrature and rounding"),
    "outcome": Described("how the solve ended", ""),
}
_UNKNOWNS = {
    "pair": {
        "mmse": Described("minimal square error of the signal per coordinate"),
        "q": Described("overlap of two samples of the posterior"),
        "q_hat": Described("conjugate of the overlap"),
    },
    "risk": {
        "m": Described("overlap of the minimiser with the teacher"),
        "q": Described("mean square of the minimiser's weights"),
        "V": Described("beta (Q - q) at beta = infinity: response of the minimiser"),
        "energy": Described("minimal risk", "risk per coordinate"),
    },
    "levels": {
        "q": Described("overlap of two configurations"),
        "m": Described("size of the blocks of replicas"),
        "a": Described("size of the blocks over T"),
    },
}


def described(name: str, solver: str) -> Described:
    """Of one variable of a solution; ``solver`` is the model's.

    Numbered ones are as the first of their kind.

    >>> described("replicon1", "levels").description
    'replicon: positive where the solution is stable against breaking'
    """
    known = {**OBSERVABLES, **_STATES, **_ENDINGS, **_UNKNOWNS.get(solver, {})}
    found = known.get(name) or known.get(name.rstrip("0123456789"))
    return found or Described("order parameter or conjugate at the saddle point")
