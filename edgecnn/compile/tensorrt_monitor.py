"""What TensorRT tells while it builds: how far it is."""

from __future__ import annotations

from typing import Any

from edgecnn.progress import Progress
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
