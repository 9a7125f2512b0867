"""`edgecnn quantize --from`: an int8 file of ours in the form of another target, without images."""

from __future__ import annotations

import time
from dataclasses import replace

from edgecnn.artifact import Manifest, Step, check_onnx_output
from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.progress import Progress, silent
from edgecnn.quantize import accuracy_floor
from edgecnn.quantize.escalate import picked
from edgecnn.quantize.float16 import float16_layers
from edgecnn.quantize.graph.free_sizes import at_size
from edgecnn.quantize.graph.load_model import Loaded, load
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.placement.remove_qdq import strip, to_scheme
from edgecnn.quantize.quantize_request import RequantizeRequest
from edgecnn.quantize.write_file import QuantizedFile, write_model
from edgecnn.targets import target

#: What the manifest says that was tried and measured, of the other file.
_OF_THE_OTHER = ("attempts", "budget", accuracy_floor.KEY)


def requantize_file(request: RequantizeRequest, progress: Progress = silent) -> QuantizedFile:
    """Write an int8 file of ours for another target, from the ranges that it carries; needs no images.

    Raises ArtifactError for a file that carries none, and OutputError.
    """
    start = time.perf_counter()
    check_onnx_output(request.output)
    progress("requantize")
    given = load(request.source)
    if given.manifest is None or not given.manifest.quantization:
        raise ArtifactError(
            f"{request.source} is no int8 file of edgecnn: it carries no ranges",
            hint="give the file that edgecnn quantize or edgecnn export --int8 wrote",
        )
    goal = target(request.target)
    before = float16_layers.without_float16(given.model)
    model, placement = to_scheme(before, given.manifest.quantization, goal.scheme)
    resolution = given.manifest.resolution
    macs = macs_by_node(at_size(strip(before).model, Size.of(resolution) if resolution else None))
    # Fewer than the scheme has, where they come from a file with fewer.
    bits = 7 if all(weight.largest <= 63 for weight in strip(model).weights.values()) else 8
    if goal.mixes_float16:
        model = float16_layers.with_float16(model, picked(placement.float_nodes))
    here = {
        "scheme": goal.scheme.name,
        "weight_bits": bits,
        "float_nodes": placement.float_nodes,
        "int8_mac_share": sum(macs.get(node.name, 0) for node in placement.compute)
        / max(1, sum(macs.values())),
    }
    written = write_model(request.output, model, _manifest(given, given.manifest, request.target, here))
    notes = _notes(bits, given.manifest.quantization.get("weight_bits", 8), request.target)
    return QuantizedFile(**vars(written), parity=None, seconds=time.perf_counter() - start, notes=notes)


def _manifest(given: Loaded, known: Manifest, target_name: str, here: dict[str, object]) -> Manifest:
    kept = {key: value for key, value in (known.quantization or {}).items() if key not in _OF_THE_OTHER}
    step = Step("requantize", {"from": known.target, "target": target_name}, parent=given.sha256)
    return replace(known, target=target_name, quantization={**kept, **here}, lineage=(*known.lineage, step))


def _notes(bits: int, before: int, target_name: str) -> list[str]:
    notes = ["nothing was measured: no images were given; edgecnn eval or profile can tell how good it is"]
    if bits < before:
        notes.append(
            f"its weights were rounded once more, to {bits} bits, and nothing repaired that: made from the"
            f" float file with `target` {target_name}, they keep more"
        )
    return notes
