"""`edgecnn profile --on orin1,orin2,local`: machines side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import click

from edgecnn.cli import common
from edgecnn.cli.on_board import BoardCommand, answer, run_there, typed_words
from edgecnn.cli.terminal import as_options, say
from edgecnn.errors import BoardError, EdgecnnError


class ProfileCommand(BoardCommand):
    """`profile` on several machines, one after the other: their JSON makes one table."""

    several = True

    def invoke_on(self, hosts: list[str], ctx: click.Context) -> int:
        """Measure on each; a machine that fails does not keep the others from being measured."""
        if len(hosts) == 1:
            return super().invoke_on(hosts, ctx)
        if ctx.params.get("plot") or ctx.params.get("scenario"):
            raise click.UsageError("--plot and --scenario take one machine at a time", ctx)
        results: list[dict[str, Any]] = []
        sweeps: list[dict[str, Any]] = []
        failed: list[dict[str, str | None]] = []
        for host in hosts:
            try:
                found = _here(ctx) if host == "local" else _there(host, ctx)
            except EdgecnnError as error:
                failed.append({"on": host, "error": str(error), "hint": error.hint})
            else:
                results += [{"on": host, **item} for item in found.get("results", [found])]
                sweeps += [{"on": host, **item} for item in found.get("sweeps", ())]
        if ctx.params.get("as_json"):
            common.print_json({"results": results, "sweeps": sweeps, "failed": failed})
        elif results:
            _show(results, sweeps)
        for item in failed:
            say(f"error: {as_options(str(item['error']))}", err=True)
            if item["hint"]:
                say(f"hint: {as_options(item['hint'])}", err=True)
        return 1 if failed else 0


def _show(results: list[dict[str, Any]], sweeps: list[dict[str, Any]]) -> None:
    from edgecnn.cli.profile_table import show

    try:
        show(results, sweeps)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BoardError(
            f"one of the answers is not what profile prints: {type(error).__name__}: {error}",
            hint="--json shows them as they are",
        ) from error


def _there(host: str, ctx: click.Context) -> dict[str, Any]:
    from edgecnn.devices.inventory import find

    device = find(host)
    code, printed, places = run_there(device, ctx, "--json")
    if code:
        raise EdgecnnError(f"{host}: the measurement failed there", hint="its own words are above")
    found = answer(device, printed, places)
    several = found.get("results", [found]), found.get("sweeps", [])
    if not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in several):
        raise BoardError(f"{host}: its answer is not what profile prints", hint="edgecnn doctor --on it")
    return found


def _here(ctx: click.Context) -> dict[str, Any]:
    words = [sys.executable, "-m", "edgecnn", *typed_words(ctx, "--json")]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise EdgecnnError("local: the measurement failed here", hint="its own words are above")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
