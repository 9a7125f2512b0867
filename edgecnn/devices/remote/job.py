"""One command on a board: its files go there, it runs in a folder of its own, and what it made comes back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edgecnn import artifact, files
from edgecnn.devices.remote.connection import Connection, Output
from edgecnn.devices.remote.transfer import send
from edgecnn.errors import ArtifactError, OutputError
from edgecnn.measure import store

_FOLDER = "jobs/command"
#: Where the command's results are kept there, until they are in the store here.
_RESULTS = ".results.sqlite"


@dataclass
class Places:
    """Which file here is which there, for one command.

    A file keeps its name as it was typed where that leads nowhere but down; one from elsewhere lies beside
    those, by its own name where that is free.
    """

    #: Name there: file here.
    sources: dict[str, Path] = field(default_factory=dict)
    #: Folder there: folder here, for what the command makes.
    folders: dict[str, Path] = field(default_factory=lambda: {".": Path()})
    #: Name there: as it was typed.
    typed: dict[str, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """Return what `path` is called there, the same at every call; nothing travels for that."""
        folder = path.parent
        if path.is_absolute() or ".." in path.parts:
            known = [there for there, here in self.folders.items() if here == folder]
            there = known[0] if known else f"folder{len(self.folders)}"
        else:
            there = str(folder)
        self.folders[there] = folder
        name = str(PurePosixPath(there) / path.name)
        self.typed[name] = str(path)
        return name

    def send(self, path: Path) -> str:
        """Return what `path` is called there, and let it travel, with what is in it or belongs to it."""
        name = self.name(path)
        if path.is_dir():
            for item in sorted(path.rglob("*")):
                if item.is_file():
                    self.sources[str(PurePosixPath(name) / item.relative_to(path).as_posix())] = item
        else:
            for item in (path, *companions(path)):
                self.sources[str(PurePosixPath(name).with_name(item.name))] = item
        return name

    def here(self, name: str) -> Path:
        """Return where a file that was made there belongs here."""
        path = PurePosixPath(name)
        for folder in path.parents:
            if str(folder) in self.folders:
                return self.folders[str(folder)] / path.relative_to(folder)
        raise AssertionError(f"{name} is in no folder")  # "." is a parent of every relative path


def companions(path: Path) -> list[Path]:
    """Return the files beside a model that opening it, or building it anew, needs, if they exist."""
    found = [artifact.sidecar(path), path.with_suffix(".bin")] if path.suffix in artifact.COMPILED else []
    try:
        manifest = artifact.read_manifest(path)
    except ArtifactError:  # the board's own error is what the user sees
        manifest = None
    if manifest is not None and manifest.engine is not None and manifest.engine.parent:
        found.append(path.with_name(manifest.engine.parent))
    return [item for item in dict.fromkeys(found) if item.is_file()]


def run(
    connection: Connection,
    python: str,
    words: Sequence[str],
    places: Places,
    output: Output,
    env: Mapping[str, str],
    progress: Callable[[str], None] = lambda step: None,
) -> int:
    """Run `edgecnn WORDS` on a locked board, by its environment's `python`; return the exit code.

    What it makes is written here, whole or not at all, and its results go into the store here.
    """
    home = PurePosixPath(connection.facts["home"])
    send(connection, _FOLDER, places.sources, progress, places.folders)
    progress(f"running on {connection.device.name}")
    code = connection.run([python, "-m", "edgecnn", *words], _FOLDER, output, {**_environment(home), **env})
    made = connection.ask("list", folder=_FOLDER)["files"]
    for name, size, sha256 in made:
        if name.startswith(_RESULTS) and name != _RESULTS:
            continue  # SQLite's own
        content = connection.fetch(f"{_FOLDER}/{name}", size, sha256)
        if name == _RESULTS:
            _keep(content, places, home / _FOLDER)
        else:
            _write(places.here(name), content)
    connection.ask("remove", paths=[_FOLDER])
    return code


def _environment(home: PurePosixPath) -> dict[str, str]:
    """Return the variables that keep a program, and the libraries that it uses, within the folder."""
    cache = home / "cache"
    return {
        "EDGECNN_RESULTS": str(home / _FOLDER / _RESULTS),
        "XDG_CACHE_HOME": str(cache),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "TMPDIR": str(home / "jobs"),
        "PYTHONUNBUFFERED": "1",
    }


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
        return places.typed.get(name, name)

    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "results.sqlite"
        other.write_bytes(content)
        store.merge(other, path_here)
