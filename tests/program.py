"""Run the program as a user does, and read what it printed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

from fork_server import Command, ForkServer

from edgecnn.cli import main

#: The export that tests take which do not ask for another: it is made once.
SMALL = ("mobilenet", "--alpha", "0.25", "--resolution", "64")
#: A network with real weights, likewise.
TRAINED = ("efficientnet_lite0", "--weights", "imagenet")
#: Its int8 form.
TRAINED_INT8 = (
    *TRAINED, "--resolution", "128", "--effort", "fast", "--calib-images", "8", "--int8", "--target", "cpu",
)  # fmt: skip


def report(path: Path) -> dict:
    """What the export of a shared file printed."""
    return json.loads(Path(f"{path}.report").read_text())


def module(path: Path) -> ModuleType:
    """A script as a module, of which functions can be called."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def run_here(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program inside the tests' own process, which has imported torch already."""
    out, errors = io.StringIO(), io.StringIO()
    before, folder = sys.argv, Path.cwd()
    sys.argv = ["edgecnn", *arguments]
    os.chdir(cwd or folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as end:
        return subprocess.CompletedProcess(arguments, int(end.code or 0), out.getvalue(), errors.getvalue())
    finally:
        sys.argv = before
        os.chdir(folder)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does, in a process of its own: a fork of one that has imported PyTorch.

    `options` are those of `subprocess.run`. With others than `cwd`, `env` and `timeout`, or with a variable
    that something reads when it is imported, a new Python is started, as with `subprocess` itself.
    """
    options = {"timeout": 300, **options}
    environment = options.get("env") or dict(os.environ)
    unlike = _server.unlike(environment)
    if unlike and not options.get("env"):
        warnings.warn(f"a new Python is started for {', '.join(unlike)}", stacklevel=2)
    if not unlike and set(options) <= {"cwd", "env", "timeout"}:
        return _server.run(
            arguments, Path(options.get("cwd") or "").absolute(), environment, options["timeout"]
        )
    return subprocess.run(
        [sys.executable, "-m", "edgecnn", *arguments], capture_output=True, text=True, **options
    )


def start(*arguments: str, errors: int) -> Command:
    """Start the program, as `run` does; what it says of its progress goes to this open file."""
    with open(os.devnull, "w") as nothing:
        return _server.start(arguments, Path.cwd(), dict(os.environ), nothing.fileno(), errors)


_server = ForkServer()
