"""edgecnn on a board: this very version in an environment of its own, which sees the board's TensorRT."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from edgecnn.backends import ONNXRUNTIME
from edgecnn.devices.remote import own_wheel, wheels
from edgecnn.devices.remote.connection import Connection
from edgecnn.devices.remote.transfer import send
from edgecnn.errors import BoardError
from edgecnn.progress import Progress, silent

#: The oldest Python that edgecnn runs on.
_PYTHON = [3, 10]
#: Where the environment is made, in the folder of jobs, which nothing outlives that did not end well.
_MAKING = "jobs/environment"


def prepare(
    connection: Connection,
    extras: tuple[str, ...] = (),
    progress: Progress = silent,
) -> str:
    """Return the path of a Python on the board that has this edgecnn with `extras`; the board must be locked.

    ONNX Runtime comes with it unless the board has its own (JetPack's, with CUDA). An environment is known by
    what is in it, and made beside the older ones, which go once it is whole. One that has more extras is as
    good, and a new one has what it had: commands that differ in them share one. Raises BoardError.
    """
    facts = connection.facts
    if facts["python"] < _PYTHON:
        found = ".".join(map(str, facts["python"]))
        raise BoardError(
            f"{connection.device.name} has Python {found}; edgecnn needs 3.10 or later (JetPack 6)",
            hint="edgecnn devices add --python PATH",
        )
    if not facts["venv"]:
        raise BoardError(
            f"{connection.device.name}: {facts['executable']} has no venv",
            hint="apt install python3-venv there",
        )
    own = own_wheel.build()
    stem = _stem(own, facts)
    wanted = {*extras, *(() if facts[ONNXRUNTIME.library] else (str(ONNXRUNTIME.extra),))}
    whole = [name for name, finished in facts["environments"].items() if finished]
    had = {name: set(name.split("+")[1:]) for name in whole if name.startswith(stem)}
    name = next((name for name, has in had.items() if wanted <= has), None)
    if name is None:
        everything = sorted(wanted.union(*had.values()))
        name = "+".join([stem, *everything])
        _make(connection, name, own, tuple(everything), progress)
    return str(PurePosixPath(facts["home"]) / name / "bin" / "python")


def _stem(own: bytes, facts: Mapping[str, Any]) -> str:
    """Return how the name begins of environments with `own`, edgecnn's wheel, for a board's Python."""
    known = json.dumps([hashlib.sha256(own).hexdigest(), facts["executable"], facts["python"]])
    return f"environment-{hashlib.sha256(known.encode()).hexdigest()[:16]}"


def variables(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what keeps a program there, and the libraries that it uses, within the folder of everything."""
    home = PurePosixPath(facts["home"])
    cache = home / "cache"
    return {
        # Some libraries know of no other place; Python still finds the packages of the user's.
        "HOME": str(home / "home"),
        "PYTHONUSERBASE": facts["user_base"],
        "XDG_CACHE_HOME": str(cache),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "TMPDIR": str(home / "jobs"),
        "PYTHONUNBUFFERED": "1",
    }


def _make(connection: Connection, name: str, own: bytes, extras: tuple[str, ...], progress: Progress) -> None:
    facts = connection.facts
    home = PurePosixPath(facts["home"])
    found = {f"wheels/{path.name}": path.read_bytes() for path in wheels.gather(facts, extras, own, progress)}
    found[f"wheels/{own_wheel.name()}"] = own
    send(connection, _MAKING, found, progress)
    progress(f"making an environment on {connection.device.name}")
    made = home / name
    pip = next(path for path in found if PurePosixPath(path).name.startswith("pip-"))
    what = f"edgecnn[{','.join(extras)}]" if extras else "edgecnn"
    old = list(facts["environments"])
    connection.ask("remove", paths=[item for item in old if not facts["environments"][item]])
    try:
        # Debian and Ubuntu leave ensurepip out of their Python: pip comes as a wheel, which runs as it is.
        _run(
            connection,
            [facts["executable"], "-m", "venv", "--without-pip", "--system-site-packages", str(made)],
        )
        install = [str(made / "bin" / "python"), str(home / _MAKING / pip / "pip"), "install", "--no-index"]
        # Isolated: a pip.conf of the board's user may say otherwise. Without a cache: nothing is downloaded.
        install += ["--isolated", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
        install += ["--find-links", "wheels"]
        progress(f"installing on {connection.device.name}")
        # First and alone: of the board's own edgecnn, if it has the same version, pip would make do.
        _run(connection, [*install, "--no-deps", "--ignore-installed", f"wheels/{own_wheel.name()}"])
        _run(connection, [*install, what])
        send(connection, name, {"complete": what.encode()})
    except BaseException:
        with contextlib.suppress(BoardError):
            connection.ask("remove", paths=[name])
        raise
    sent = [f"files/{hashlib.sha256(content).hexdigest()}" for content in found.values()]
    connection.ask("remove", paths=[*old, _MAKING, *sent])
    facts["environments"] = {name: True}


def _run(connection: Connection, argv: list[str]) -> None:
    """Run a step in the folder where the environment is made; raises BoardError with its last words."""
    said = bytearray()
    code = connection.run(argv, _MAKING, lambda of, body: said.extend(body), variables(connection.facts))
    if code:
        lines = said.decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit code {code}"]
        last = errors[-1].removeprefix("ERROR:").strip()
        raise BoardError(
            f"{connection.device.name}: its environment cannot be made: {last:.300}",
            hint="edgecnn devices check says what the board has",
        )
