"""One command on a board: its files go there, it runs in a folder of its own, and what it made comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from edgecnn import files
from edgecnn.devices.remote.connection import Connection, Output
from edgecnn.devices.remote.environment import variables
from edgecnn.devices.remote.places import Places
from edgecnn.devices.remote.transfer import send as send_files
from edgecnn.errors import OutputError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure import store

_FOLDER = "jobs/command"
#: Where the command's results are kept there, until they are in the store here.
_RESULTS = ".results.sqlite"


def send(connection: Connection, places: Places, progress: Callable[[str], None] = lambda step: None) -> None:
    """Make the command's folder on a locked board, with its files. Raises BoardError."""
    send_files(connection, _FOLDER, places.sources, progress, places.folders)


def run(
    connection: Connection, python: str, words: Sequence[str], output: Output, env: Mapping[str, str]
) -> int:
    """Run `edgecnn WORDS` in the folder, by its environment's `python`; return the exit code."""
    home = PurePosixPath(connection.facts["home"])
    env = {**variables(connection.facts), "EDGECNN_RESULTS": str(home / _FOLDER / _RESULTS), **env}
    return connection.run([python, "-m", "edgecnn", *words], _FOLDER, output, env)


def collect(connection: Connection, places: Places) -> None:
    """Write here what the command made there, each file whole or not at all, and delete the folder.

    Its results go into the store here, last. Raises OutputError, BoardError or StoreError.
    """
    results = None
    for name, size, sha256 in connection.ask("list", folder=_FOLDER)["files"]:
        if name.startswith(_RESULTS) and name != _RESULTS:
            continue  # SQLite's own
        content = connection.fetch(f"{_FOLDER}/{name}", size, sha256)
        if name == _RESULTS:
            results = content
        else:
            _write(places.here(name), content)
    connection.ask("remove", paths=[_FOLDER])
    if results is not None:
        _keep(results, places, PurePosixPath(connection.facts["home"]) / _FOLDER)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {path.parent}: {error.strerror}", hint="choose another place"
        ) from error
    files.write_atomic(path, content)


def _keep(content: bytes, places: Places, there: PurePosixPath) -> None:
    def path_here(path: str) -> str:
        name = str(PurePosixPath(path).relative_to(there))
        return places.typed.get(name) or str(places.here(name))

    with TemporaryFolder() as folder:
        other = Path(folder) / "results.sqlite"
        other.write_bytes(content)
        store.merge(other, path_here)
