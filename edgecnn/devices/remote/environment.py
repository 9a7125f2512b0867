"""edgecnn on a board: this very version in an environment of its own, which sees the board's TensorRT."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import PurePosixPath

from edgecnn.devices.remote import wheel, wheels
from edgecnn.devices.remote.connection import Connection
from edgecnn.devices.remote.transfer import send
from edgecnn.errors import BoardError

#: The oldest Python that edgecnn runs on.
_PYTHON = [3, 10]
#: Where the environment is made, in the folder of jobs, which nothing outlives that did not end well.
_MAKING = "jobs/environment"


def prepare(
    connection: Connection,
    extras: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda step: None,
) -> str:
    """Return the path of a Python on the board that has this edgecnn with `extras`; the board must be locked.

    ONNX Runtime comes with it unless the board has its own (JetPack's, with CUDA). An environment is known by
    what is in it, and made beside the older ones, which go once it is whole. Raises BoardError.
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
    own = wheel.build()
    extras = tuple(sorted({*extras, *(() if facts["onnxruntime"] else ("ort",))}))
    known = json.dumps([hashlib.sha256(own).hexdigest(), extras, facts["executable"], facts["python"]])
    name = f"environment-{hashlib.sha256(known.encode()).hexdigest()[:16]}"
    python = str(PurePosixPath(facts["home"]) / name / "bin" / "python")
    if name not in facts["environments"]:
        _make(connection, name, own, extras, progress)
    return python


def _make(
    connection: Connection, name: str, own: bytes, extras: tuple[str, ...], progress: Callable[[str], None]
) -> None:
    facts = connection.facts
    home = PurePosixPath(facts["home"])
    found = {f"wheels/{path.name}": path.read_bytes() for path in wheels.gather(facts, extras, own, progress)}
    found[f"wheels/{wheel.name()}"] = own
    send(connection, _MAKING, found, progress)
    progress(f"making an environment on {connection.device.name}")
    made = home / name
    connection.ask("remove", paths=[name])  # what was begun and not finished
    pip = next(path for path in found if PurePosixPath(path).name.startswith("pip-"))
    what = f"edgecnn[{','.join(extras)}]" if extras else "edgecnn"
    try:
        # Debian and Ubuntu leave ensurepip out of their Python: pip comes as a wheel, which runs as it is.
        _run(
            connection,
            [facts["executable"], "-m", "venv", "--without-pip", "--system-site-packages", str(made)],
        )
        install = [str(made / "bin" / "python"), str(home / _MAKING / pip / "pip"), "install", "--no-index"]
        install += ["--no-input", "--disable-pip-version-check", "--find-links", "wheels", what]
        progress(f"installing on {connection.device.name}")
        _run(connection, install)
        send(connection, name, {"complete": what.encode()})
    except BaseException:
        connection.ask("remove", paths=[name])
        raise
    sent = [f"files/{hashlib.sha256(content).hexdigest()}" for content in found.values()]
    old = [item for item in facts["environments"] if item != name]
    connection.ask("remove", paths=[*old, _MAKING, *sent])
    facts["environments"] = [name]


def _run(connection: Connection, argv: list[str]) -> None:
    """Run a step in the folder where the environment is made; raises BoardError with its last words."""
    said: list[bytes] = []
    code = connection.run(argv, _MAKING, lambda of, body: said.append(body))
    if code:
        lines = b"".join(said).decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit code {code}"]
        last = errors[-1].removeprefix("ERROR:").strip()
        raise BoardError(
            f"{connection.device.name}: its environment cannot be made: {last}",
            hint="edgecnn devices check says what the board has",
        )
