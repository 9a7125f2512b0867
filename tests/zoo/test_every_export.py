"""Every network through the whole export, at two widths, in float32 and int8; hours of processor time.

With EDGECNN_ZOO_ROWS set to a folder, each case leaves its figures there; `make zoo` turns them into
docs/zoo.md.
"""

import json
import os
from pathlib import Path

import onnx
import pytest
import torch
from deep_networks import CLASSIFIERS
from tensorrt_build import build

from edgecnn.export import ExportRequest, export
from edgecnn.zoo.counts import known
from edgecnn.zoo.spec import NetworkSpec

NAMES = [row.name for row in CLASSIFIERS]


def smallest_of_each_family() -> set[str]:
    macs = {name: figures["macs"] for name, figures in known().items()}
    families: dict[str, str] = {}
    for row in CLASSIFIERS:
        families[row.family] = min(row.name, families.get(row.family, row.name), key=lambda name: macs[name])
    return set(families.values())


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_exports_agree_with_pytorch(name, alpha, tmp_path):
    torch.set_num_threads(1)
    row = {"name": name, "alpha": alpha}
    for precision in ("float32", "int8"):
        path = tmp_path / f"{precision}.onnx"
        done = export(
            ExportRequest(NetworkSpec(name, alpha=alpha), path, precision=precision, calib_images=16)
        )
        onnx.checker.check_model(onnx.load(path), full_check=True)
        assert done.parity.images == 32
        row[precision] = {"bytes": done.bytes, **done.parity.to_json()}
    assert row["float32"]["sqnr_db"] > 60 and row["float32"]["top1_agreement"] == 1
    assert row["int8"]["sqnr_db"] > 0
    quantization = done.manifest.quantization
    row["int8"]["mac_share"] = quantization["int8_mac_share"]
    row["int8"]["float"] = sorted({rule.rsplit(" ", 1)[-1] for rule in quantization["float_nodes"].values()})
    row.update(params=done.manifest.params, macs=done.manifest.macs)
    if name in smallest_of_each_family() and alpha == 1:
        row["tensorrt_bytes"] = build(path)
    if folder := os.environ.get("EDGECNN_ZOO_ROWS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}-{alpha}.json").write_text(json.dumps(row))
