"""`edgecnn info`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.cli import common

if TYPE_CHECKING:
    from edgecnn.artifact import Manifest


@click.command("info")
@click.argument("subject")
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Width multiplier of a network.")
@click.option("--resolution", type=int, help="Side of a network's input in pixels  [its own].")
@common.common
def command(subject: str, alpha: float, resolution: int | None, as_json: bool) -> None:
    """Show what SUBJECT is: the name of a network, or a model file with its lineage."""
    if Path(subject).exists() or subject.endswith(".onnx"):
        _artifact(subject, as_json)
    else:
        _architecture(subject, alpha, resolution, as_json)


def _artifact(path: str, as_json: bool) -> None:
    from edgecnn import files
    from edgecnn.artifact import read_manifest

    manifest = read_manifest(path)
    if as_json:
        values = dataclasses.asdict(manifest) if manifest else {}
        common.print_json(
            {"path": path, "sha256": files.sha256(path), "bytes": Path(path).stat().st_size, **values}
        )
        return
    facts = [
        ("file", f"{path}  ({common.size(Path(path).stat().st_size)}, sha256 {files.sha256(path)[:12]})")
    ]
    if manifest is None:
        facts.append(("manifest", "none: this file was not made by edgecnn"))
    else:
        facts += _facts(manifest)
    common.print_facts(facts)


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    (image,), (logits,) = manifest.inputs, manifest.outputs
    steps = []
    for step in manifest.lineage:
        details = ", ".join(f"{key} {value}" for key, value in step.parameters.items() if value is not None)
        steps.append(f"{step.what}" + (f" ({details})" if details else ""))
    return [
        ("network", f"{manifest.architecture} x {manifest.alpha:g} at {manifest.resolution} pixels"),
        ("weights", str(manifest.weights)),
        ("cost", f"{common.amount(manifest.params)} parameters, {common.amount(manifest.macs)} MACs"),
        ("precision", f"{manifest.precision} for {manifest.target}"),
        ("input", f"{image.dtype} {image.layout} {' x '.join(map(str, image.shape))}"),
        ("output", f"{logits.dtype} {' x '.join(map(str, logits.shape))}"),
        *(("lineage" if index == 0 else "", f"{index + 1}. {text}") for index, text in enumerate(steps)),
        ("made by", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())),
    ]


def _architecture(name: str, alpha: float, resolution: int | None, as_json: bool) -> None:
    from edgecnn import zoo

    row = zoo.architecture(name)
    side = row.resolution if resolution is None else resolution
    network = zoo.create(row, alpha=alpha, resolution=side)
    from edgecnn.zoo.cost import count

    cost = count(network, row.in_channels, side)
    if as_json:
        common.print_json(
            {
                "architecture": row.name,
                "alpha": alpha,
                "resolution": side,
                "params": cost.params,
                "macs": cost.macs,
            }
        )
        return
    common.print_facts(
        [
            ("network", f"{row.name} x {alpha:g}"),
            ("paper", row.paper),
            ("input", f"{row.in_channels} x {side} x {side}"),
            ("cost", f"{cost.params:,} parameters, {cost.macs:,} MACs"),
            ("weights", row.imagenet or "no ImageNet weights known"),
        ]
    )
