"""What TensorRT tells while it builds: how far it is, and which layers came of it."""

from __future__ import annotations

import re
from typing import Any

from edgecnn.compile.builders import Progress
from edgecnn.runtime.tensorrt_library import Messages


def monitor(trt: Any, progress: Progress, messages: Messages) -> Any:
    """Return a progress monitor that reports phases as "Timing tactics: 12 of 80", and heeds Ctrl-C.

    The library calls it from several threads, and swallows what is raised in it: an exception is kept in
    `messages.interrupted` and ends the build instead.
    """
    base: Any = trt.IProgressMonitor

    class Monitor(base):
        def __init__(self) -> None:
            base.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if messages.interrupted is None:
                try:
                    progress(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, step + 1)}")
                except BaseException as error:  # Ctrl-C, or a closed pipe
                    messages.interrupted = error
            return messages.interrupted is None

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()


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
