"""The wheels that a board needs, gathered here: the board needs neither the internet nor a compiler."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.devices.remote import own_wheel
from edgecnn.errors import BoardError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.optional_packages import require
from edgecnn.progress import Progress, silent

#: Files whose presence says that a folder of wheels is whole.
_COMPLETE = "complete"


def gather(
    facts: Mapping[str, Any],
    extras: tuple[str, ...],
    own: bytes,
    progress: Progress = silent,
) -> list[Path]:
    """Return the wheels of everything that edgecnn with `extras` needs on a board, and pip's own.

    They are kept in `$XDG_CACHE_HOME/edgecnn/wheels`, by what the board is and what is required. `facts` are
    a connection's, `own` is edgecnn's wheel. Raises BoardError where pip finds none for that board.
    """
    platforms(facts["machine"], tuple(facts["libc"]))  # a board for which there are none is refused now
    if lacking := set(extras) - set(_metadata(own).get_all("Provides-Extra") or []):
        raise BoardError(
            f"edgecnn as it is installed here has no extra {', '.join(sorted(lacking))}",
            hint="its source is newer: pip install it again",
        )
    version = ".".join(map(str, facts["python"][:2]))
    asked = [facts["machine"], facts["libc"], version, sorted(extras), _required(own)]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    folder = files.cache_folder() / "wheels" / f"{facts['machine']}-python{version}-{key}"
    if not (folder / _COMPLETE).exists():
        files.make_folder(folder, "set XDG_CACHE_HOME to a folder that can be written")
        _download(facts, version, extras, own, folder, progress)
        (folder / _COMPLETE).touch()
    return sorted(folder.glob("*.whl"))


def platforms(machine: str, libc: tuple[str, str]) -> list[str]:
    """Return the platforms whose wheels run on a machine with that C library, newest first.

    Source: PEP 600 (manylinux_2_N), PEP 513, 571 and 599 (its older names).
    """
    found = re.fullmatch(r"2\.(\d{1,2})(\D.*)?", libc[1])
    if not re.fullmatch(r"\w+", machine):
        raise BoardError(f"there are no wheels for a processor {machine!r}", hint="use aarch64 or x86_64")
    if libc[0] != "glibc" or not found:
        raise BoardError(
            f"the board's C library is {' '.join(libc).strip() or 'unknown'}; there are wheels for glibc",
            hint="use Ubuntu, Debian or JetPack",
        )
    names = [f"manylinux_2_{minor}_{machine}" for minor in range(int(found[1]), 4, -1)]
    return [*names, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]


def _download(
    facts: Mapping[str, Any],
    version: str,
    extras: tuple[str, ...],
    own: bytes,
    folder: Path,
    progress: Progress,
) -> None:
    require("pip", "an environment for a board")
    tag = "cp" + version.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), "--only-binary=:all:", "--python-version", version]
    command += ["--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
    for platform in platforms(facts["machine"], tuple(facts["libc"])):
        command += ["--platform", platform]
    progress(f"gathering wheels for {facts['machine']}, Python {version}")
    with TemporaryFolder() as temporary:
        path = Path(temporary) / own_wheel.name()
        path.write_bytes(own)
        _pip([*command, "pip", f"{path}[{','.join(extras)}]" if extras else str(path)], facts)
    (folder / own_wheel.name()).unlink()
    # pip decides what is needed where it runs, and a board's Python may be older.
    while missing := _missing(folder, own, extras, facts):
        progress(f"gathering wheels for {facts['machine']}: {', '.join(missing)}")
        _pip([*command, *missing], facts)


def _pip(command: list[str], facts: Mapping[str, Any]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        said = (lines or ["it says nothing"])[-1].removeprefix("ERROR:").strip()
        version = ".".join(map(str, facts["python"]))
        raise BoardError(
            f"pip finds no wheels for {facts['machine']} with Python {version}: {said}",
            hint="pip needs a way to the package index: see pip config, or another --python of the board",
        )


def _missing(folder: Path, own: bytes, extras: tuple[str, ...], facts: Mapping[str, Any]) -> list[str]:
    """Return what the wheels in `folder` require on the board, and is not among them."""
    packaging = require("packaging.requirements", "an environment for a board")
    names = require("packaging.utils", "an environment for a board")
    version = facts["python"]
    board = {
        "python_version": f"{version[0]}.{version[1]}",
        "python_full_version": ".".join(map(str, version)),
        "platform_machine": facts["machine"],
    }
    there = {names.canonicalize_name(path.name.split("-")[0]) for path in folder.glob("*.whl")}
    stated = [(text, ("", *extras)) for text in _required(own)]
    for path in folder.glob("*.whl"):
        stated += [(text, ("",)) for text in _required(path.read_bytes())]
    found = set()
    for text, asked in stated:
        item = packaging.Requirement(text)
        applies = item.marker is None or any(
            item.marker.evaluate({**board, "extra": extra}) for extra in asked
        )
        if applies and names.canonicalize_name(item.name) not in {*there, "edgecnn"}:
            found.add(f"{item.name}{item.specifier}")
    return sorted(found)


def _required(content: bytes) -> list[str]:
    """Return what a wheel states as its requirements."""
    return _metadata(content).get_all("Requires-Dist") or []


def _metadata(content: bytes) -> Message:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        stated = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(stated))
