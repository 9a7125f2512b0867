"""`--on HOST`: a command that runs on a board with this machine's files, and answers as if it ran here."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgecnn import files
from edgecnn.cli import common
from edgecnn.cli.store_results import noting
from edgecnn.cli.terminal import say
from edgecnn.errors import InvalidValueError
from edgecnn.progress import Progress
from edgecnn.verbs.engines import REBUILD

if TYPE_CHECKING:
    from edgecnn.devices.inventory import Device
    from edgecnn.devices.remote.connection import Connection
    from edgecnn.devices.remote.places import Places

#: Options for which the board needs more than the runtime, and the extra that brings it.
_EXTRAS = {"plot": "plot", "scenario": "loadgen"}


class BoardPath(click.Path):
    """A path that travels: `sent` to the board if it is there, `fetched` from it when the command has ended.

    `folder`: it may be one, and travels with what is in it. `file`: or a file; of one that is not there the
    command itself tells.
    """

    def __init__(
        self,
        *,
        sent: bool = False,
        folder: bool = False,
        file: bool = False,
        fetched: bool = False,
        path_type: Any = None,
    ) -> None:
        super().__init__(path_type=path_type)
        self.sent, self.folder, self.file, self.fetched = sent, folder, file, fetched


class BoardCommand(click.Command):
    """A command that runs here, or with `--on` on a board.

    With `several`, the option takes more than one; the command then gets their names as `on`. `outputs`
    returns, given the command's values, every file that it may write: no other comes back from a board.
    """

    several = False

    def __init__(
        self, *args: Any, outputs: Callable[..., Sequence[Path]] = lambda **values: (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.outputs = outputs
        words = "; several, with commas: orin1,orin2,local" if self.several else ""
        option = click.Option(
            ["--on"],
            metavar="HOST",
            help=f"Board to run on: ssh://USER@HOST, a name of ~/.ssh/config or of `edgecnn devices`{words}.",
        )
        self.params.append(option)

    def invoke(self, ctx: click.Context) -> Any:
        """Run here, or there."""
        hosts = ctx.params.pop("on")
        if hosts is None or hosts == "local":
            return super().invoke(ctx)
        return self.invoke_on([name.strip() for name in hosts.split(",")], ctx)

    def invoke_on(self, hosts: list[str], ctx: click.Context) -> int:
        """Run on a board, and return the exit code."""
        from edgecnn.devices.inventory import find

        if len(hosts) > 1:
            raise click.UsageError(f"{self.name} runs on one board at a time", ctx)
        device = find(hosts[0])
        code, printed, places = run_there(device, ctx)
        if printed and ctx.params.get("as_json"):
            common.print_json(answer(device, printed, places))
        elif printed:
            for line in printed.removesuffix("\n").split("\n"):
                say(places.as_typed(line))
        return code


def run_there(device: Device, ctx: click.Context, *more: str) -> tuple[int, str, Places]:
    """Run a context's command with its values, and the words `more`, on a board.

    Return the exit code, what it printed, and its files. What it prints on standard error comes here at once.
    """
    from edgecnn.devices.remote import environment, job
    from edgecnn.devices.remote.places import Places

    places = Places()
    words = _words(ctx, lambda value, kind: _place(value, kind, places), [*more, *_settings(ctx, device)])
    _expect(ctx, places)
    extras = {extra for name, extra in _EXTRAS.items() if ctx.params.get(name)}
    with connected(device) as connection:
        connection.lock()
        with common.progress(None) as show:
            python = environment.prepare(connection, tuple(extras), show)
            job.send(connection, places, show)
            told = _Told(places, show)
            try:
                code = job.run(connection, python, words, told, {REBUILD: "1", **_terminal()})
            except KeyboardInterrupt:  # the program there has said so
                raise click.exceptions.Exit(common.EXIT_INTERRUPTED) from None
            finally:
                told.end()
        with noting():
            written = job.collect(connection, places, ctx.command.name or "")
            if written:
                say(f"wrote here: {', '.join(map(str, written))}", err=True)
    return code, told.printed.decode(errors="replace"), places


class _Told:
    """What a program on a board prints: `printed`, its answer, is kept until the files it names are here.

    What it says on standard error is shown at once; its progress goes to this machine's own.
    """

    def __init__(self, places: Places, show: Progress) -> None:
        self.printed = bytearray()
        self._places, self._show = places, show
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def __call__(self, of: str, body: bytes) -> None:
        if of == "stdout":
            self.printed.extend(body)
            return
        *lines, self._line = (self._line + self._decoder.decode(body)).split("\n")
        for line in lines:
            self._say(line)

    def end(self) -> None:
        """Show the line that was not ended."""
        if self._line:
            self._say(self._line)
            self._line = ""

    def _say(self, line: str) -> None:
        line = self._places.as_typed(line)
        if line.endswith(common.STEP):
            self._show(line.removesuffix(common.STEP))
        else:
            say(line, err=True)


@contextlib.contextmanager
def connected(device: Device) -> Iterator[Connection]:
    """Connect to a board. Nothing is drawn meanwhile: ssh may ask for a password, or about a host key."""
    from edgecnn.devices.remote.connection import Connection

    say(f"connecting to {device.name} ...", err=True)
    with Connection(device) as connection:
        yield connection


def answer(device: Device, printed: str, places: Places) -> dict[str, Any]:
    """Return the JSON object that a board printed, with the names of here; raises BoardError."""
    from edgecnn.errors import BoardError

    try:
        found = json.loads(printed)
        json.dumps(found, allow_nan=False)
        if not isinstance(found, dict):
            raise ValueError("no object")
        shown: dict[str, Any] = as_typed(found, places)
        return shown
    except (ValueError, RecursionError) as error:
        raise BoardError(
            f"{device.name}: what the command printed there is no JSON object",
            hint="edgecnn doctor --on the board",
        ) from error


def as_typed(value: Any, places: Places) -> Any:
    """Return JSON in which the board's names of files are what the user typed."""
    if isinstance(value, dict):
        return {key: as_typed(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [as_typed(item, places) for item in value]
    return places.typed.get(value) or places.as_typed(value) if isinstance(value, str) else value


def typed_words(ctx: click.Context, *more: str) -> list[str]:
    """Return the command line that stands for a context, without `--on`, and the words `more`."""
    return _words(ctx, lambda value, kind: value, [*more])


def _words(ctx: click.Context, place: Callable[[str, BoardPath], str], options: list[str]) -> list[str]:
    """Return a context's command line, with the names that `place` gives files; defaults are left out."""
    arguments: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name not in ctx.params or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        given = ctx.params[name]
        values = given if isinstance(given, tuple) else (given,)
        if isinstance(parameter.type, BoardPath):
            values = tuple(place(str(value), parameter.type) for value in values)
        if isinstance(parameter, click.Argument):
            arguments += map(str, values)
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            options.append(parameter.opts[-1])
        else:
            options += [parameter.opts[-1], ",".join(map(str, values))]  # as lists are typed: 1,2,4
    if "--debug" in sys.argv:
        options.append("--debug")
    return [ctx.command.name or "", *options, "--", *arguments]


def _settings(ctx: click.Context, device: Device) -> list[str]:
    """Return the options that follow from the inventory: the power mode, and the board's engine library."""
    options = []
    if ctx.params.get("pin_clocks") and device.power_mode and not ctx.params.get("power_mode"):
        options += ["--power-mode", device.power_mode]
    open_choice = "backend" in ctx.params and ctx.params["backend"] is None
    if open_choice and device.target is not None and not ctx.params.get("scenario"):
        from edgecnn.targets import target

        backend = target(device.target).backend
        options += ["--backend", backend] if backend != "any" else []
    return options


def _place(value: str, kind: BoardPath, places: Places) -> str:
    path = Path(value)
    if kind.folder and not kind.file and not path.exists():
        raise InvalidValueError(
            f"there is no {value} here, and a board has no data sets of its own",
            hint="give a folder of images",
        )
    if kind.fetched and not path.is_dir():
        files.check_writable(path)
    if kind.sent and path.exists():
        return places.send(value, whole=kind.folder)
    return places.name(value)


def _expect(ctx: click.Context, places: Places) -> None:
    """Say which files may come back."""
    kept_up = {
        ctx.params.get(item.name or "")
        for item in ctx.command.params
        if isinstance(item.type, BoardPath) and item.type.sent and item.type.fetched
    }
    if isinstance(ctx.command, BoardCommand):
        for path in ctx.command.outputs(**ctx.params):
            places.expect(path, kept_up=path in kept_up)


def _terminal() -> dict[str, str]:
    """Return the variables by which a board's tables fit this terminal, and each step is told."""
    every = {common.EVERY_STEP: "1"} if sys.stderr.isatty() else {}
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        return every
    columns = os.get_terminal_size(sys.stderr.fileno()).columns
    return {**every, "TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": str(columns)}
