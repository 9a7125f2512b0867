"""`edgecnn quantize --from`: an int8 file of ours in the form of another target, without images."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import onnx

from edgecnn import files
from edgecnn.artifact import Step, check_onnx_output, read_manifest
from edgecnn.errors import ArtifactError
from edgecnn.progress import Progress, silent
from edgecnn.quantize import accuracy_floor
from edgecnn.quantize.escalate import picked
from edgecnn.quantize.float16 import float16_layers
from edgecnn.quantize.graph import prepare
from edgecnn.quantize.graph.index import macs_by_node
from edgecnn.quantize.placement.remove_qdq import strip, to_scheme
from edgecnn.quantize.write_file import Written, write_model
from edgecnn.targets import target


def requantize_file(source: Path, output: Path, target_name: str, progress: Progress = silent) -> Written:
    """Write an int8 file of ours for another target, from the ranges that it carries; needs no images."""
    start = time.perf_counter()
    check_onnx_output(output)
    goal = target(target_name)
    progress("requantize")
    known = read_manifest(source)
    if known is None or not known.quantization:
        raise ArtifactError(
            f"{source} is no int8 file of edgecnn: it carries no ranges",
            hint="give the file that edgecnn quantize or edgecnn export --int8 wrote",
        )
    before = float16_layers.without_float16(prepare.load(source))
    model, placement = to_scheme(before, known.quantization, goal.scheme)
    macs = macs_by_node(strip(before).model)
    share = sum(macs.get(node.name, 0) for node in placement.compute) / max(1, sum(macs.values()))
    # Fewer than the scheme has, where they come from a file with fewer.
    bits = 7 if all(weight.largest <= 63 for weight in strip(model).weights.values()) else 8
    if goal.backend == "tensorrt":
        model = float16_layers.with_float16(model, picked(placement.float_nodes))
    # What was tried and measured belongs to the other file.
    others = ("attempts", "budget", accuracy_floor.KEY)
    kept = {key: value for key, value in known.quantization.items() if key not in others}
    here = {
        "scheme": goal.scheme.name,
        "weight_bits": bits,
        "float_nodes": placement.float_nodes,
        "int8_mac_share": share,
    }
    quantization = {**kept, **here}
    onnx.checker.check_model(model, full_check=True)
    step = Step("requantize", {"from": known.target, "target": target_name}, parent=files.sha256(source))
    manifest = replace(known, target=target_name, quantization=quantization, lineage=(*known.lineage, step))
    notes = ["nothing was measured: no images were given; edgecnn eval or profile can tell how good it is"]
    if bits < known.quantization.get("weight_bits", 8):
        notes.append(
            f"its weights were rounded once more, to {bits} bits, and nothing repaired that: made from the"
            f" float file with --target {target_name}, they keep more"
        )
    return write_model(output, model, manifest, None, start, notes, None, None)
