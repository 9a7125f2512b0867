"""`edgecnn compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, request_options
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.terminal import note
from edgecnn.compile.compile_request import CompileRequest

if TYPE_CHECKING:
    from edgecnn.compile.build_engine import Compiled
    from edgecnn.compile.fastest_engine import Tried


def _outputs(
    model: Path, output: Path | None, backend: str, timing_cache: Path | None, **_: Any
) -> list[Path]:
    from edgecnn.compile.build_engine import engine_files

    return [*engine_files(output or model, backend), *([timing_cache] if timing_cache else [])]


@click.command("compile", cls=BoardCommand, outputs=_outputs)
@click.argument("model", metavar="SOURCE", type=BoardPath(sent=True, path_type=Path))
@request_options.options(CompileRequest)
@click.option("--layers", is_flag=True, help="List the layers of the engine.")
@common.common
def command(model: Path, layers: bool, as_json: bool, **values: Any) -> None:
    """Turn SOURCE, an ONNX file, into an engine, and check it against the file on real images.

    \b
    edgecnn compile m.onnx                                        # the fastest that runs here
    edgecnn compile m.onnx --backend openvino --threads 1
    edgecnn compile m.onnx --backend tensorrt-rtx --sm 86,89      # for GPUs that are elsewhere
    """
    from edgecnn.compile.fastest_engine import Tried
    from edgecnn.verbs.compile import compile_model

    request = request_options.request(CompileRequest, values, model=model)
    with common.progress(None) as show:
        made = compile_model(request, show)
    if as_json:
        common.print_json(made.to_json())
        return
    if isinstance(made, Tried):
        _print_trials(made)
    _print(made.kept if isinstance(made, Tried) else made, layers)


def _print_trials(tried: Tried) -> None:
    rows, notes = [], []
    for trial in tried.trials:
        row = trial.to_json()
        notes += row["notes"]
        parity, latency = row["parity"], row["latency_ms"]
        rows.append(
            [
                trial.backend.title,
                common.size(row["bytes"]) if row["bytes"] else "-",
                common.decibels(parity["sqnr_db"]) if parity else "-",
                common.percent(parity["top1_agreement"] if parity else None),
                f"{latency['p50']:.2f}" if latency else "-",
                f"{latency['p99']:.2f}" if latency else "-",
                f"{row['throughput_ips']:.0f}" if latency else "-",
                row["reason"] or ("kept" if trial.backend is tried.kept.backend else ""),
            ]
        )
    common.print_table(
        ["engine", "size", "parity", "agreement", "p50 ms", "p99 ms", "images/s", ""], rows, text=(0, 7)
    )
    for remark in dict.fromkeys(notes):
        note(remark)


def _print(compiled: Compiled, layers: bool) -> None:
    record = compiled.manifest.engine
    facts = [
        ("wrote", f"{compiled.path}  ({common.size(compiled.bytes)}, sha256 {compiled.sha256[:12]})"),
        ("engine", f"{compiled.backend.title}, {compiled.manifest.precision}"),
    ]
    if record is not None and record.needs:
        needs = (f"{what} {' or '.join(values)}" for what, values in record.needs.items())
        facts.append(("runs on", ", ".join(needs)))
    if compiled.parity:
        facts += common.parity_facts(compiled.parity.to_json(), "the ONNX file")
    if compiled.against_float:
        both = (compiled.against_float.engine, compiled.against_float.file)
        engine, file = (common.decibels(parity.to_json()["sqnr_db"]) for parity in both)
        facts.append(("float", f"{engine} against {compiled.against_float.path.name}, the ONNX file {file}"))
    facts.append(("built in", f"{compiled.seconds:.1f} s"))
    common.print_facts(facts)
    if layers:
        found = compiled.layers or []
        keys = list(dict.fromkeys(key for layer in found for key in layer))
        common.print_table(keys, [[str(layer.get(key, "")) for key in keys] for layer in found], text=(0,))
    for remark in compiled.notes:
        note(remark)
    common.print_next("profile", compiled.path)
