"""Call a function in a process of its own, with an end to its time and memory.

What other libraries do to a foreign graph has none: a loop is computed beforehand, however often it turns, and
a constant is repeated until it fills the memory.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

from edgecnn.errors import ArtifactError, EdgecnnError

#: Seconds and bytes of address space that a call may take.
SECONDS = 180.0
MEMORY = 8 << 30
_HINT = "simplify the network, or export it without loops and large constants that are computed"
_NO_MEMORY = ("bad_alloc", "MemoryError", "allocate", "length_error")
Result = TypeVar("Result")


def call(function: Callable[..., Result], *arguments: Any, what: str) -> Result:
    """Return `function(*arguments)`; function, arguments and result must be picklable.

    Raises ArtifactError, in which `what` names the work, if that takes too long, needs too much memory or
    crashes, and the function's own EdgecnnError.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    # Not from the current folder, which "-c" looks into first.
    code = f"import sys; sys.path[:] = filter(None, sys.path); import {__name__} as limited; limited.serve()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps((MEMORY, function, arguments)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{what} took more than {SECONDS:g} seconds", hint=_HINT) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        if any(word in line for line in said for word in _NO_MEMORY):
            raise _too_large(what)
        crash = f"a library crashed in {what}"
        raise ArtifactError(f"{crash}: {said[0]}" if said else f"{crash} ({done.returncode})", hint=_HINT)
    result = pickle.loads(done.stdout)
    if isinstance(result, EdgecnnError):
        if any(word in str(result) for word in _NO_MEMORY):
            raise _too_large(what) from result
        raise result
    return cast(Result, result)


def _too_large(what: str) -> ArtifactError:
    return ArtifactError(f"{what} needs more than {MEMORY / 2**30:g} GB of memory", hint=_HINT)


def serve() -> None:
    """Answer one `call`: read it from standard input, write its result to standard output."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print
        memory, function, arguments = pickle.load(sys.stdin.buffer)
        with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has such limits
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            result = function(*arguments)
        except EdgecnnError as error:
            error.__cause__ = None
            result = error
        answer.write(pickle.dumps(result))
