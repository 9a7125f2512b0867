"""Published sizes, to the unit."""

import csv
from pathlib import Path

import pytest
import torch

from edgecnn import zoo
from edgecnn.zoo.cost import count

GOLDEN = list(csv.DictReader((Path(__file__).parent / "golden.csv").open()))


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_parameters_and_macs_equal_the_reference(row):
    architecture = zoo.architecture(row["name"])
    with torch.device("meta"):
        network = zoo.build(architecture)
    assert architecture.resolution == int(row["resolution"])
    cost = count(network, architecture.in_channels, architecture.resolution)
    assert cost.params == int(row["params"])
    if row["macs"]:
        assert cost.macs == int(row["macs"])
