"""`edgecnn devices`."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli import common
from edgecnn.cli.on_board import connected
from edgecnn.cli.terminal import say


@click.group("devices")
def command() -> None:
    """The boards that `--on NAME` means.

    \b
    edgecnn devices add orin1 ssh://nvidia@192.168.1.20 --target jetson-orin-nano
    edgecnn profile m.onnx --on orin1
    """


@command.command("list")
@common.common
def list_command(as_json: bool) -> None:
    """List the boards, and the file they stand in."""
    from edgecnn.devices import inventory

    found = inventory.devices().values()
    if as_json:
        common.print_json({"path": str(inventory.place()), "devices": [item.to_json() for item in found]})
        return
    if found:
        common.print_table(
            ["name", "address", "target", "power mode"],
            [[item.name, item.address, item.target or "-", item.power_mode or "-"] for item in found],
            text=(0, 1, 2, 3),
        )
        say(f"in {inventory.place()}")
    else:
        say("none yet; next: edgecnn devices add NAME ssh://USER@HOST --target jetson-orin-nano")


@command.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--target", help="Board, a name of `edgecnn targets`; decides the engine library.")
@click.option("--python", default="python3", show_default=True, help="Python there, 3.10 or later.")
@click.option("--power-mode", help="Power mode that `--pin-clocks` sets, by nvpmodel's name: MAXN_SUPER.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Time that one command may take there.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(0, min_open=True),
    default=4000.0,
    show_default=True,
    help="Room that files of earlier commands may take there.",
)
@click.option("--no-check", is_flag=True, help="Do not connect now.")
@common.common
def add_command(no_check: bool, as_json: bool, **values: Any) -> None:
    """Add the board at ADDRESS as NAME.

    ADDRESS is ssh://USER@HOST:PORT, or an alias of ~/.ssh/config.
    """
    from edgecnn.devices import inventory

    device = inventory.Device(**values)
    found = {} if no_check else _check(device)
    path = inventory.add(device)
    if as_json:
        common.print_json({**device.to_json(), "check": found or None})
        return
    common.print_facts(_told(found))
    say(f"added to {path}; next: edgecnn profile m.onnx --on {device.name}")


@command.command("check")
@click.argument("name")
@common.common
def check_command(name: str, as_json: bool) -> None:
    """Connect to NAME, and say what is there; changes nothing."""
    from edgecnn.devices import inventory

    found = _check(inventory.find(name))
    if as_json:
        common.print_json(found)
    else:
        common.print_facts(_told(found))


@command.command("remove")
@click.argument("name")
@click.option("--keep-files", is_flag=True, help="Leave the board as it is, and only forget it here.")
@common.common
def remove_command(name: str, keep_files: bool, as_json: bool) -> None:
    """Delete what edgecnn put on NAME, and forget it.

    All of that lies in one folder there.
    """
    from edgecnn.devices import inventory
    from edgecnn.errors import BoardError

    device = inventory.find(name)
    folder = None
    if not keep_files:
        try:
            with connected(device) as connection:
                connection.lock()
                folder = connection.facts["home"]
                connection.ask("remove", paths=[""])
        except BoardError as error:
            forget = "--keep-files only forgets it here"
            raise BoardError(str(error), hint=f"{error.hint}; {forget}" if error.hint else forget) from error
    listed = name in inventory.devices()
    if listed:
        inventory.remove(name)
    if as_json:
        common.print_json({"name": name, "removed": folder, "listed": listed})
        return
    if folder:
        say(f"deleted {folder} on {name}")
    if listed:
        say(f"took {name} out of {inventory.place()}")


def _check(device: Any) -> dict[str, Any]:
    with connected(device) as connection:
        return {"name": device.name, "address": device.address, **connection.facts}


def _told(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a board is, for people."""
    from edgecnn.backends import BACKENDS

    if not found:
        return []
    own = [row.library for row in BACKENDS.registered() if found[row.library]]
    ready = (
        "made"
        if any(found["environments"].values())
        else "not made yet; the first command with --on does that"
    )
    return [
        ("board", f"{found['host']}, {found['machine']}, {' '.join(found['libc'])}"),
        ("python", f"{'.'.join(map(str, found['python']))} ({found['executable']})"),
        ("its own", ", ".join(own) or "no engine library"),
        ("environment", ready),
        ("folder", f"{found['home']}, {found['free'] / 1e9:.1f} GB free"),
        ("in use", f"by {found['in_use']}" if found["in_use"] else "no"),
    ]
