"""What the repair of a layer is expected to take, by its shape alone.

In seconds of one core of a processor with AVX-512, fitted to measured ones: on another they are longer or
shorter alike. Unlike a clock's they are the same in each run, and so is what is decided by them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.quantize.repair import moments, refit
from edgecnn.quantize.repair.walk import LayerShape

#: Multiply-accumulates in a second: of products, of equations that are solved, of a network that runs.
_PRODUCTS, _SOLVING, _RUNNING = 60e9, 40e9, 40e9
#: Values that numpy goes through in a second, and columns of weights that are rounded one by one.
_VALUES, _COLUMNS = 2.2e9, 20e3
#: How often weights are gone through to be rounded, and their errors multiplied with the inputs' moments.
_PASSES = 64 * 4
#: Seconds that any layer takes, however small it is: it is opened as a network of its own, in both forms.
_APIECE = 0.02
_UPDATES = 7


@dataclass(frozen=True)
class RepairCost:
    """Seconds of a layer's cheap repair, rounding to nearest and a corrected bias, and of its full one."""

    cheap: float
    full: float


def repair_cost(layer: LayerShape, positions: int) -> RepairCost:
    """Return what repairing a layer is expected to take; its output has so many positions over all images."""
    groups, outputs, inputs = layer.matrix
    rows = max(1, min(positions, moments.row_count(layer)))
    cut = rows * groups * (20 * inputs + 30 * outputs) / _VALUES
    cheap = _APIECE + cut + 2 * rows * groups * outputs * inputs / _PRODUCTS
    rounded = groups * outputs * inputs * _PASSES / _VALUES + inputs / _COLUMNS
    return RepairCost(cheap, cheap + rounded + _equations(layer, rows))


def _equations(layer: LayerShape, rows: int) -> float:
    """Return the seconds that the equations of a layer's new weights and of their rounding take."""
    groups, outputs, inputs = layer.matrix
    ridges = len(refit.ridges(inputs))
    if 2 * inputs <= rows:
        own = moments.has_own(layer)
        systems, apiece = (groups * outputs, 1) if own else (groups, outputs)
        fits = 2 * ridges + 1
        products = systems * (rows * inputs**2 + (4 * fits + _UPDATES) * apiece * inputs**2)
        solving = systems * (fits + 0.5) * inputs**3 * 2 / 3
        return products / _PRODUCTS + solving / _SOLVING
    solving = groups * (2 * ridges / 8 + 1) * rows**3 * 2 / 3
    products = groups * (rows**2 * inputs + 2 * rows * inputs * outputs)
    if 2 * rows <= inputs and not moments.has_own(layer):
        products += groups * (4 * rows + 2 * _UPDATES * outputs) * rows * inputs
        solving += groups * inputs / 256 * rows**3 * 2 / 3
    else:
        products += groups * (rows + _UPDATES * outputs) * inputs**2
        solving += groups * inputs**3 / 3
    return products / _PRODUCTS + solving / _SOLVING


def running_cost(macs: int, images: int) -> float:
    """Return the seconds that a part of a network is expected to run for so many images."""
    return macs * images / _RUNNING
