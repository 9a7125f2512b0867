"""One command on a board: its files go there, it runs in a folder of its own, and what it made comes back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from edgecnn import files
from edgecnn.devices.remote.connection import Connection, Output
from edgecnn.devices.remote.environment import variables
from edgecnn.devices.remote.places import Places
from edgecnn.devices.remote.transfer import send as send_files
from edgecnn.errors import BoardError, OutputError, StoreError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure import store
from edgecnn.progress import Progress, silent

_FOLDER = "jobs/command"
#: Where the command's results are kept there, until they are in the store here.
_RESULTS = ".results.sqlite"
#: Bytes of all that a command made.
_MOST = 2 << 30


def send(connection: Connection, places: Places, progress: Progress = silent) -> None:
    """Make the command's folder on a locked board, with its files. Raises BoardError."""
    send_files(connection, _FOLDER, places.sources, progress, places.folders)


def run(
    connection: Connection, python: str, words: Sequence[str], output: Output, env: Mapping[str, str]
) -> int:
    """Run `edgecnn WORDS` in the folder, by its environment's `python`; return the exit code."""
    home = PurePosixPath(connection.facts["home"])
    env = {**variables(connection.facts), "EDGECNN_RESULTS": str(home / _FOLDER / _RESULTS), **env}
    return connection.run([python, "-m", "edgecnn", *words], _FOLDER, output, env)


def collect(connection: Connection, places: Places, kind: str) -> list[Path]:
    """Write here what was asked for and made there, and delete the folder there; return what was written.

    All files are written, or none. Nothing else than `places.outputs` comes here. The results of a command of
    that `kind` go into the store here, last. Raises OutputError, BoardError or StoreError.
    """
    with TemporaryFolder() as folder:
        fetched = _fetch(connection, {*places.outputs, _RESULTS}, Path(folder))
        connection.ask("remove", paths=[_FOLDER])
        results = _results(fetched.pop(_RESULTS, None), connection, places, kind)
        written = {places.outputs[name]: path for name, path in fetched.items()}
        _write(written)
        if results:
            store.add(results)
    return list(written)


def _results(path: Path | None, connection: Connection, places: Places, kind: str) -> list[store.Result]:
    """Return the results that a board's file holds, each of a file that was named, by its path here."""
    there = PurePosixPath(connection.facts["home"]) / _FOLDER
    try:
        found = store.received(path, kind) if path else []
    except StoreError as error:
        raise BoardError(
            f"{connection.device.name}: its results are none: {error}", hint=error.hint
        ) from error
    return [
        dataclasses.replace(item, path=os.path.abspath(places.sent_as(item.path, there))) for item in found
    ]


def _fetch(connection: Connection, names: set[str], folder: Path) -> dict[str, Path]:
    """Return where the files of `names` that are there lie in a folder here, by name."""
    found: dict[str, Path] = {}
    for name, (size, sha256) in connection.made(_FOLDER, names, _MOST).items():
        # The board's names are only compared with ours.
        found[name] = folder / str(len(found))
        try:
            with open(found[name], "wb") as target:
                connection.fetch(f"{_FOLDER}/{name}", size, sha256, target)
        except OSError as error:
            raise OutputError(
                f"cannot keep what {connection.device.name} sends in {folder.parent}: {error.strerror}",
                hint="set TMPDIR to a folder with more space",
            ) from error
    return found


def _write(made: Mapping[Path, Path]) -> None:
    for path in made:
        if path.is_symlink():
            raise OutputError(f"{path} is a link now, and nothing of a board's goes through one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make {path.parent}: {error.strerror}", hint="choose another place"
            ) from error
    files.write_together(made)
