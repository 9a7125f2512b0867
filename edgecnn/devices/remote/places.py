"""Which file here is which on a board, for one command."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edgecnn import artifact, backends
from edgecnn.errors import ArtifactError, BoardError, InvalidValueError

#: Characters of a folder's name there.
_LONGEST = 200


@dataclass
class Places:
    """Files by their names there, which lead nowhere but down from the folder of the command.

    A relative name stays as it is. What lies elsewhere gets a folder there for its folder here, with a `_` in
    its name for each slash and dot: `../m.onnx` is `__/m.onnx`. Such a name is as long as the one here, so a
    table that the board printed is still straight when `as_typed` has put the names back.
    """

    #: Name there: file here.
    sources: dict[str, Path] = field(default_factory=dict)
    #: Folder there: folder here.
    folders: dict[str, Path] = field(default_factory=lambda: {".": Path()})
    #: Name there: as it was typed.
    typed: dict[str, str] = field(default_factory=dict)
    #: Name there: file that is written here. Nothing else comes back.
    outputs: dict[str, Path] = field(default_factory=dict)

    def name(self, typed: str) -> str:
        """Return what a path is called there, the same at every call; nothing travels for that."""
        path = Path(typed)
        if path.name in ("", ".."):  # a folder without a name of its own
            name = self._elsewhere(path)
        elif path.is_absolute() or ".." in path.parts:
            # What the command writes into a folder that was named lies in that one there, too.
            named = (there for there, folder in self.typed.items() if Path(folder) == path.parent)
            name = str(PurePosixPath(next(named, None) or self._elsewhere(path.parent)) / path.name)
        else:
            self.folders[str(path.parent)] = path.parent
            name = str(path)
        self.typed[name] = typed
        return name

    def send(self, typed: str, *, whole: bool = False) -> str:
        """Return what a path is called there, and let it travel, with the files beside it that it needs.

        Of a folder what is in it travels if it is asked for `whole`, else its name alone.
        """
        name, path = self.name(typed), Path(typed)
        if path.is_dir() and not whole:
            self.folders[name] = path
        elif path.is_dir():
            for folder, _, files in os.walk(path, followlinks=True):
                there = PurePosixPath(name) / Path(folder).relative_to(path).as_posix()
                self.folders[str(there)] = Path(folder)
                here = {str(there / file): Path(folder) / file for file in files}
                # To read a pipe or a device would take for ever.
                self.sources |= {name_there: item for name_there, item in here.items() if item.is_file()}
        elif path.is_file():
            for item in (path, *companions(path)):
                self.sources[str(PurePosixPath(name).with_name(item.name))] = item
        return name

    def expect(self, path: Path, *, kept_up: bool = False) -> None:
        """Let a file that the command writes come back, to `path`. What travels is known by now.

        Raises InvalidValueError for a link, and for a file that the command reads, unless it is one that is
        `kept_up` by it.
        """
        if path.is_symlink():
            raise InvalidValueError(
                f"{path} is a link, and what a board makes goes through none", hint="name the file itself"
            )
        if not kept_up and path.exists() and any(path.samefile(item) for item in self._existing()):
            raise InvalidValueError(f"{path} is what the command reads", hint="choose another name with -o")
        self.outputs[self.name(str(path))] = path

    def sent_as(self, path: str, folder: PurePosixPath) -> str:
        """Return the name here, as it was typed, of what has that path there, below the command's `folder`.

        Raises BoardError for what was not named by the user.
        """
        try:
            return self.typed[str(PurePosixPath(path).relative_to(folder))]
        except (KeyError, ValueError) as error:
            raise BoardError(f"the board has a result of {path!r:.100}, which nobody asked for") from error

    def as_typed(self, text: str) -> str:
        """Return text of the board's with the folders of here."""
        for there, here in self.folders.items():
            if there.startswith("_") and "/" not in there:
                name = rf"(?<![\w/.-]){re.escape(there)}"
                text = str(here / "x")[:-1].join(re.split(f"{name}/", text))
                text = str(here).join(re.split(rf"{name}(?![\w/.-])", text))
        return text

    def _existing(self) -> list[Path]:
        return [path for path in self.sources.values() if path.exists()]

    def _elsewhere(self, folder: Path) -> str:
        name = "_" + re.sub(r"[/.]", "_", str(folder))[1:][-_LONGEST:]
        while self.folders.get(name, folder) != folder:
            name += "_"
        self.folders[name] = folder
        return name


def companions(path: Path) -> list[Path]:
    """Return the files beside a model that opening it, or building it anew, needs, if they exist."""
    # PyTorch and ONNX Runtime name the weights of a large ONNX file like this.
    found = [path.with_name(f"{path.name}.data"), path.with_name(f"{path.name}_data")]
    if artifact.is_compiled(path):
        found += [artifact.sidecar(path), *backends.beside(path)]
    try:
        manifest = artifact.read_manifest(path)
    except ArtifactError:  # the board's own error is what the user sees
        manifest = None
    if manifest is not None and manifest.engine is not None and manifest.engine.parent:
        found.append(path.with_name(Path(manifest.engine.parent).name))
    return [item for item in dict.fromkeys(found) if item.is_file()]
