"""Parameters and multiply-accumulates of every network, counted beforehand, so that listing needs no torch.

python -m edgecnn.zoo.counts          # count again, after adding a network
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

from edgecnn.zoo.catalog import ARCHITECTURES, architecture

_FILE = "counts.json"


def known() -> dict[str, dict[str, int]]:
    """Return {name: {"params": ..., "macs": ...}} at alpha 1 and the network's own resolution."""
    values: dict[str, dict[str, int]] = json.loads((resources.files("edgecnn.zoo") / _FILE).read_text())
    return values


def compute(name: str) -> dict[str, int]:
    """Count one network on torch's meta device."""
    import torch

    from edgecnn.zoo.cost import count
    from edgecnn.zoo.create import build

    row = architecture(name)
    with torch.device("meta"):
        cost = count(build(row), row.in_channels, row.size)
    return {"params": cost.params, "macs": cost.macs}


if __name__ == "__main__":
    counts = {name: compute(name) for name in ARCHITECTURES.names()}
    (Path(__file__).parent / _FILE).write_text(json.dumps(counts, indent=1) + "\n")
