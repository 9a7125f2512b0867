"""The user's devices: a TOML file of names, addresses and what else is to be known of each.

[orin1]
address = "ssh://nvidia@192.168.1.20"
target = "jetson-orin-nano"
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.errors import InvalidValueError, OutputError, UnknownNameError
from edgecnn.optional_packages import require
from edgecnn.registry import suggest
from edgecnn.targets import target as target_row

#: Stands for this machine where boards are listed.
LOCAL = "local"
#: What is neither a name of the inventory nor an address is an alias of ~/.ssh/config.
_ALIAS = re.compile(r"[A-Za-z0-9_][\w.@:-]*")
_ADDRESS = re.compile(r"ssh://([\w.+-]+@)?([\w.-]+|\[[0-9a-fA-F:]+\])(:\d+)?/?")


@dataclass(frozen=True)
class Device:
    """A board.

    - `address`: ssh://USER@HOST:PORT, or a name that ssh itself knows.
    - `target`: its row of `edgecnn.targets`; `power_mode`: what `--pin-clocks` sets, by nvpmodel's name.
    - `python`: the program to run there, which makes the environment.
    - `max_seconds` that one program may run, `max_mb` that files of earlier runs may take.
    """

    name: str
    address: str
    target: str | None = None
    python: str = "python3"
    power_mode: str | None = None
    max_seconds: float = 3600.0
    max_mb: float = 4000.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][\w.+@:/\[\]-]*", self.name) or self.name == LOCAL:
            raise InvalidValueError(f"{self.name!r} is no name for a device", hint="orin1")
        if self.address.startswith("ssh://"):
            if not _ADDRESS.fullmatch(self.address):
                raise InvalidValueError(f"{self.address!r} is no address", hint="ssh://USER@HOST:PORT")
        elif not _ALIAS.fullmatch(self.address):
            raise InvalidValueError(f"{self.address!r} is no address", hint="ssh://USER@HOST:PORT")
        if self.target is not None:
            target_row(self.target)
        if not (self.max_seconds > 0 and self.max_mb > 0):
            raise InvalidValueError(f"the limits of {self.name} must be above 0", hint="max_seconds = 3600")

    def to_json(self) -> dict[str, Any]:
        """Return what is not left at its default."""
        fields = dataclasses.fields(self)
        return {item.name: value for item in fields if (value := getattr(self, item.name)) != item.default}


def place() -> Path:
    """Return where the inventory is: `EDGECNN_DEVICES`, else the user's configuration folder (XDG)."""
    chosen = os.environ.get("EDGECNN_DEVICES")
    if chosen:
        return Path(chosen)
    return files.home("XDG_CONFIG_HOME", ".config") / "edgecnn" / "devices.toml"


def devices() -> dict[str, Device]:
    """Return the devices by name, in the order of the file; raises InvalidValueError for a wrong one."""
    return {name: _device(name, dict(row)) for name, row in _read().items()}


def find(text: str) -> Device:
    """Return the device that the user means: a name of the inventory, an address, or an alias of ssh's.

    Raises UnknownNameError for an empty text, InvalidValueError for what cannot be an address.
    """
    known = devices()
    if text in known:
        return known[text]
    if not text:
        raise UnknownNameError("no device is named", hint=suggest("", [*known, LOCAL]))
    return Device(text, text)


def add(device: Device) -> Path:
    """Write a device into the inventory, in place of one of its name; comments stay. Return the file."""
    tomlkit = require("tomlkit", "the list of devices")
    document = _read() or tomlkit.document()
    row = device.to_json()
    del row["name"]
    document[device.name] = row
    return _write(document)


def remove(name: str) -> Path:
    """Take a device out of the inventory; raises UnknownNameError."""
    document = _read()
    if name not in document:
        raise UnknownNameError(
            f"there is no device {name!r} in {place()}", hint=suggest(name, list(document))
        )
    del document[name]
    return _write(document)


def _device(name: str, row: dict[str, Any]) -> Device:
    kinds = {"max_seconds": (int, float), "max_mb": (int, float)}
    known = [item.name for item in dataclasses.fields(Device) if item.name != "name"]
    for key, value in row.items():
        if key not in known:
            raise InvalidValueError(f"{place()}: {name} has an unknown key {key!r}", hint=suggest(key, known))
        if not isinstance(value, kinds.get(key, str)) or isinstance(value, bool):
            raise InvalidValueError(f"{place()}: {name}: {key} cannot be {value!r}", hint="docs/jetson.md")
    if "address" not in row:
        raise InvalidValueError(f"{place()}: {name} has no address", hint='address = "ssh://USER@HOST"')
    return Device(name, **row)


def _read() -> Any:
    try:
        path = place()
    except OutputError:  # a user without a home has no list
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{path} cannot be read: {error}", hint="edgecnn devices add") from error
    if not text:
        return {}
    tomlkit = require("tomlkit", "the list of devices")
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as error:
        raise InvalidValueError(
            f"{path} is no TOML: {error}", hint="docs/jetson.md has an example"
        ) from error
    for name, row in document.items():
        if not isinstance(row, dict):
            raise InvalidValueError(
                f"{path}: {name} is no device", hint=f"[{name}], and its address below it"
            )
    return document


def _write(document: Any) -> Path:
    path = place()
    files.make_folder(path.parent, "set EDGECNN_DEVICES to a file")
    files.write_atomic(path, document.as_string().encode())
    return path
