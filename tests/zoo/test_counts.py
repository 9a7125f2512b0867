"""Published sizes, to the unit; and the figures that `edgecnn models` shows."""

import csv
from pathlib import Path

import pytest
from deep_networks import named

from edgecnn import zoo
from edgecnn.zoo.counts import compute, known

GOLDEN = list(csv.DictReader((Path(__file__).parent / "golden.csv").open()))


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_the_shipped_counts_equal_the_published_ones(row):
    counts = known()[row["name"]]
    assert zoo.architecture(row["name"]).resolution == int(row["resolution"])
    assert counts["params"] == int(row["params"])
    if row["macs"]:
        assert counts["macs"] == int(row["macs"])


@pytest.mark.parametrize("name", [named(row.name) for row in zoo.ARCHITECTURES])
def test_a_network_has_the_shipped_counts(name):
    """If it fails for a new network: python -m edgecnn.zoo.counts."""
    assert compute(name) == known()[name]
