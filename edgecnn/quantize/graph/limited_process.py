"""Call a function of a model in a process of its own, with an end to its time and memory.

What other libraries do to a foreign graph has none: a loop is computed beforehand, however often it turns,
and a constant is repeated until it fills the memory.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import onnx

from edgecnn import errors
from edgecnn.errors import ArtifactError, EdgecnnError

#: Seconds and bytes of address space that a call may take.
SECONDS = 180.0
MEMORY = 8 << 30
_HINT = "simplify the network, or export it without loops and large constants that are computed"
#: What libraries say where there is no memory left.
_NO_MEMORY = ("bad_alloc", "MemoryError", "allocate", "length_error")


def call(
    function: Callable[..., onnx.ModelProto], model: onnx.ModelProto, *values: Any, what: str
) -> onnx.ModelProto:
    """Return `function(model, *values)`; the function stands in a module, the values can be written as JSON.

    Raises ArtifactError, in which `what` names the work, if that takes too long, needs too much memory or
    crashes, and the function's own EdgecnnError.
    """
    # Not from the current folder, which "-c" looks into first.
    code = f"import sys; sys.path[:] = filter(None, sys.path); from {__name__} import serve; serve()"
    paths = os.pathsep.join(path for path in sys.path if path)
    task = {"module": function.__module__, "name": function.__name__, "values": values, "memory": MEMORY}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(task).encode() + b"\n" + model.SerializeToString(),
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{what} takes more than {SECONDS:g} seconds", hint=_HINT) from None
    head, _, content = done.stdout.partition(b"\n")
    if done.returncode or not head:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
        _demand_memory(said[0], what)
        raise ArtifactError(f"a library crashes at {what} ({done.returncode}): {said[0]}", hint=_HINT)
    answer = json.loads(head)
    if answer["error"]:
        _demand_memory(answer["message"], what)
        raise getattr(errors, answer["error"], EdgecnnError)(answer["message"], answer["hint"])
    return onnx.ModelProto.FromString(content)


def _demand_memory(said: str, what: str) -> None:
    if any(word in said for word in _NO_MEMORY):
        raise ArtifactError(f"{what} needs more than {MEMORY / 2**30:g} GB of memory", hint=_HINT)


def serve() -> None:
    """Answer one `call`: read it from standard input, write its result to standard output."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
        task = json.loads(sys.stdin.buffer.readline())
        sys.modules["torch"] = None  # type: ignore[assignment]  # onnxsim would import it, for nothing
        with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has such limits
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (task["memory"], task["memory"]))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        function = getattr(importlib.import_module(task["module"]), task["name"])
        said: dict[str, Any] = {"error": None}
        content = b""
        try:
            model = onnx.ModelProto.FromString(sys.stdin.buffer.read())
            content = function(model, *task["values"]).SerializeToString()
        except EdgecnnError as error:
            said = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
        answer.write(json.dumps(said).encode() + b"\n" + content)
