"""simulate: the algorithms of the models on drawn instances, beside their state evolution.

``sizes`` has the sizes of instances, ``results`` what is returned; ``gamp``, ``low_rank`` and ``risk`` make a
point of one kind of model ready, and ``dispatch`` runs it on many seeds.
"""

from replica.simulation.dispatch import simulate
from replica.simulation.results import Experiment, Progress, Simulation, point_root
from replica.simulation.sizes import (
    NetworkSizes,
    RectangleSizes,
    RiskSizes,
    Sizes,
    SpikeSizes,
    VectorSizes,
)
from replica.simulation.state_evolution import state_evolution

__all__ = [
    "Experiment",
    "NetworkSizes",
    "Progress",
    "RectangleSizes",
    "RiskSizes",
    "Simulation",
    "Sizes",
    "SpikeSizes",
    "VectorSizes",
    "point_root",
    "simulate",
    "state_evolution",
]
