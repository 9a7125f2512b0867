"""The layers of a TensorRT engine: what the library's inspector lists, and what the names of kernels say."""

from __future__ import annotations

import re
from typing import Any

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w*), (?P<rest>.*)$")
_DATATYPE = re.compile(r"Datatype: (\w+)|Format/Datatype: ([^ }]+)")


def layers(text: str) -> list[dict[str, Any]] | None:
    """Return name, kind, types, ONNX nodes and kernel of each layer that the engine inspector's text lists.

    The builder writes this text to its log, so that it is there for engines that no GPU here can open.
    None if it does not list any.
    """
    found = []
    for line in text.splitlines():
        layer = _LAYER.match(line)
        if layer is None:
            continue
        rest = layer["rest"]
        inputs, _, outputs = rest.partition("Outputs: ")
        reads, gives = inputs.partition("Constants: ")[0], outputs.partition("TacticName: ")[0]
        kernel = re.search(r"TacticName: ([^,]*)", rest)
        found.append(
            {
                "name": layer["name"],
                "kind": layer["kind"],
                "reads": _types(reads),
                "gives": _types(gives),
                "onnx": re.findall(r"\[ONNX Layer: ([^\]]*)\]", rest),
                "kernel": kernel[1] if kernel else "",
            }
        )
    return found or None


def _types(tensors: str) -> str:
    return ", ".join(dict.fromkeys(first or second for first, second in _DATATYPE.findall(tensors)))


#: What TensorRT 8 to 10 put between and around the names of what they fuse.
_JOINTS = re.compile(r" \+ | \|\| |, |PWN\(|\)|\{?ForeignNode\[|\]\}?")
_REFORMAT = "Reformatting CopyNode"


def nodes(name: str) -> tuple[str, ...]:
    """Return the ONNX nodes that a layer's name says it is made of; none for a change of layout.

    "conv + relu" has two, "PWN(sigmoid, mul)" as well. Of a part that was fused as a whole,
    "{ForeignNode[first...last]}", the name says both ends alone: "first...last".
    """
    if name.startswith(_REFORMAT):
        return ()
    return tuple(part for part in _JOINTS.split(name) if part)


def clock(trt: Any) -> Any:
    """Return a profiler for an execution context, whose `seconds` grow by what each layer takes."""
    base: Any = trt.IProfiler

    class Clock(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.seconds: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.seconds[layer_name] = self.seconds.get(layer_name, 0.0) + ms / 1e3

    return Clock()
