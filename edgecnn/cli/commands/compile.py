"""`edgecnn compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.backends import BACKENDS
from edgecnn.cli import common
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.terminal import say

if TYPE_CHECKING:
    from edgecnn.compile.auto import Tried
    from edgecnn.compile.build_engine import Compiled


def _outputs(
    source: Path, output: Path | None, backend: str, timing_cache: Path | None, **_: Any
) -> list[Path]:
    from edgecnn.compile.build_engine import engine_files

    return [*engine_files(output or source, backend), *([timing_cache] if timing_cache else [])]


@click.command("compile", cls=BoardCommand, outputs=_outputs)
@click.argument("source", type=BoardPath(sent=True, path_type=Path))
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    help=f"Backend: {', '.join(BACKENDS.names())}; auto measures what runs here, keeps the fastest.",
)
@click.option(
    "-o", "--output", type=BoardPath(fetched=True, path_type=Path), help="Engine to write  [beside SOURCE]."
)
@click.option("--target", help="Board or GPU to build for: a name of `edgecnn targets`  [this machine].")
@click.option("--sm", help="Compute capabilities to build for: 89, or 75,86,89  [this machine's GPU].")
@click.option("--batch", help="Images per inference: 8, or MIN:OPT:MAX  [1, or the file's].")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@click.option("--device", default="cpu", show_default=True, help="Device of ort: cpu, cuda.")
@click.option(
    "--hint",
    type=click.Choice(["latency", "throughput"]),
    default="latency",
    show_default=True,
    help="Aim that OpenVINO tunes for.",
)
@click.option("--bf16", is_flag=True, help="Let the CPU compute in bfloat16.")
@click.option("--workspace", "workspace_mib", type=click.IntRange(1), help="Most MiB that a layer may use.")
@click.option(
    "--timing-cache",
    type=BoardPath(sent=True, fetched=True, path_type=Path),
    help="File of timings, read and kept up.",
)
@click.option("--version-compatible", is_flag=True, help="An engine for later versions of TensorRT too.")
@click.option("--hardware-compatible", is_flag=True, help="An engine for other GPUs of the kind too.")
@click.option("--sparsity", is_flag=True, help="Use 2:4 sparse weights where they are.")
@click.option(
    "--dla",
    type=click.IntRange(0, 1),
    help="Deep-learning accelerator, of float16 files; rest on the GPU.",
)
@click.option(
    "--check",
    type=BoardPath(sent=True, folder=True, path_type=Path),
    help="Images to check on  [built-in photographs].",
)
@click.option(
    "--reference",
    type=BoardPath(sent=True, path_type=Path),
    help="Float file of an int8 SOURCE, which decides  [the one beside SOURCE, if it must].",
)
@click.option("--layers", is_flag=True, help="List the layers of the engine.")
@common.common
def command(
    source: Path,
    sm: str | None,
    batch: str | None,
    layers: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Turn SOURCE, an ONNX file, into an engine, and check it against the file on real images.

    \b
    edgecnn compile m.onnx                                        # the fastest that runs here
    edgecnn compile m.onnx --backend openvino --threads 1
    edgecnn compile m.onnx --backend tensorrt-rtx --sm 86,89      # for GPUs that are elsewhere
    """
    from edgecnn.compile.build_engine import compile_file
    from edgecnn.compile.compile_request import AUTO, BatchRange, CompileRequest, parse_sm

    request = CompileRequest(
        source,
        sm=() if sm is None else parse_sm(sm),
        batch=None if batch is None else BatchRange.parse(batch),
        **values,
    )
    if request.backend == AUTO:
        from edgecnn.compile.auto import compile_fastest

        with common.progress(None) as show:
            tried = compile_fastest(request, show)
        if as_json:
            common.print_json(tried.to_json())
            return
        _print_trials(tried)
        compiled = tried.kept
    else:
        with common.progress(None) as show:
            compiled = compile_file(request, show)
        if as_json:
            common.print_json(compiled.to_json())
            return
    _print(compiled, layers)


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
    for note in dict.fromkeys(notes):
        say(f"note: {note}", fg="yellow")


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
    for note in compiled.notes:
        say(f"note: {note}", fg="yellow")
    common.print_next("profile", compiled.path)
