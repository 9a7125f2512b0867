"""The `edgecnn` command. A command's module is imported when it is called, so `--help` is quick."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from edgecnn import __version__, files
from edgecnn.cli.common import EXIT_INTERRUPTED
from edgecnn.cli.terminal import NobodyReads, as_options, open_missing, printing, say
from edgecnn.errors import EdgecnnError
from edgecnn.registry import suggest

#: Command: what it does. Its module here has the same name, and in it a click command `command`.
COMMANDS = {
    "models": "List the networks.",
    "targets": "List the boards, GPUs and kinds of processor that --target takes.",
    "info": "Show what a network costs, or what a model file is and how it was made.",
    "train": "Train a network on labelled images, or fine-tune one.",
    "prune": "Take out channels until a network is as small, or as fast, as asked.",
    "distill": "Train a small network with the help of a large one.",
    "run": "Run a recipe: a whole pipeline as a file, resumed where it was cut off.",
    "export": "Write a network as a checked ONNX file: float32, float16 or int8.",
    "describe": "Write into any ONNX file how its images are prepared; its graph stays as it is.",
    "quantize": "Turn any float ONNX network into int8 or float16, within a budget of accuracy.",
    "compile": "Turn an ONNX file into the fastest engine for this machine, or for a board or GPU.",
    "predict": "Name what is in images.",
    "profile": "Measure latency and throughput.",
    "compare": "Say how many times as fast one model is as another, with an interval; a gate for CI.",
    "eval": "Measure accuracy on labelled images.",
    "verify": "Run again what made a file, and say whether the same bytes come.",
    "report": "Write stored results as one page: accuracy against latency, size and energy.",
    "devices": "List, add, check and remove the boards that --on NAME runs a command on.",
    "doctor": "Show what this machine has, what works, and how to get what is missing.",
}


class _LazyGroup(click.Group):
    """A group whose commands are rows of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgecnn.cli.commands.{name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no such command {args[0]!r}; {suggest(args[0], list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _printing_help():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _printing_help():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@contextlib.contextmanager
def _printing_help() -> Iterator[None]:
    """Do as `printing` where click itself prints, which it does for help and the version."""
    try:
        yield
    except OSError as error:
        last, _ = [*traceback.walk_tb(error.__traceback__)][-1]
        with printing() if last.f_globals["__name__"] == click.utils.__name__ else contextlib.nullcontext():
            raise


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgecnn")
def group() -> None:
    """Take a convolutional network from its PyTorch definition to a fast, verified int8 engine.

    Start with:  edgecnn export mobilenet --alpha 0.5 --int8
    """


def main() -> NoReturn:
    """Run the program.

    Exit codes: 0 done, 1 an error, 2 wrong usage, 3 a budget or gate not met, 130 interrupted.
    """
    debug = "--debug" in sys.argv
    open_missing()
    try:
        _leave(_run())
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "edgecnn"
        _report(error.format_message().rstrip("."), f"{path} --help")
        _leave(2)
    except (KeyboardInterrupt, click.Abort) as error:
        # click makes an Abort of a KeyboardInterrupt, which may say how to go on.
        how = str(error.__cause__ or error) if error.args or error.__cause__ else ""
        _report("interrupted; no file is half written", how or None)
        _leave(EXIT_INTERRUPTED)
    except NobodyReads:
        _leave(0)
    except EdgecnnError as error:
        if debug:
            raise
        _report(str(error), error.hint)
        _leave(error.exit_code)
    except OSError as error:  # a full disk, a name that is too long, a file that may not be read
        if debug:
            raise
        what, hint = files.reason(error)
        _report(f"{error.filename}: {what}" if error.filename else what, hint)
        _leave(1)
    except Exception as error:
        if debug:
            raise
        detail = " ".join(str(error).split())[:300]
        _report(
            f"unexpected {type(error).__name__}: {detail}", "run again with --debug and report what it shows"
        )
        _leave(1)


def _run() -> int:
    """Run the command, and return its exit code."""
    try:
        code = group.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        code = 0
        with printing():
            click.echo(error.format_message())
    with printing():
        sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _report(message: str, hint: str | None) -> None:
    say("error: " + as_options(" ".join(message.split())), err=True)
    if hint:
        say("hint: " + as_options(" ".join(hint.split())), err=True)


def _leave(code: int) -> NoReturn:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One of several: PyTorch's threads, which speak to the others, end an interpreter that shuts down by
        # an abort now and then, and torchrun calls a run that is done a failed one.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
