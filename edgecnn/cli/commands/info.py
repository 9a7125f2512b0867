"""`edgecnn info`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common, info_folder, request_options
from edgecnn.cli.terminal import say
from edgecnn.zoo.spec import NetworkSpec

if TYPE_CHECKING:
    from edgecnn.artifact import Manifest, TensorSpec
    from edgecnn.zoo.analysis.result import Layer, Study


@click.command("info")
@click.argument("subjects", metavar="NAME... | FILE | FOLDER", nargs=-1, required=True)
@request_options.options(
    NetworkSpec, without=("rho", "classes", "channels", "weights", "seed", "arg", "code", "size")
)
@click.option("--all", "everything", is_flag=True, help="List normalizations and activations too.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Plot of cost along depth, or of a folder's images: FILE.png, .svg, .pdf.",
)
@common.common
def command(
    subjects: tuple[str, ...],
    alpha: float,
    resolution: str | None,
    phi: float | None,
    backbone: str | None,
    everything: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show a network layer by layer, several side by side, a file with its lineage, or an image folder.

    Of a folder every image is decoded: sizes, classes, copies, what is broken, and how it would be split.

    \b
    edgecnn info mobilenet --alpha 0.5 --plot mobilenet.png
    edgecnn info resnet18 resnet50 mobilenet_v2
    edgecnn info m.onnx
    edgecnn info photos/ --plot photos.png
    """
    folders = [subject for subject in subjects if os.path.isdir(subject)]
    if folders:
        if len(subjects) > 1:
            raise click.UsageError(f"{folders[0]} is a folder: show it alone")
        info_folder.show(folders[0], plot, as_json)
        return
    files = [subject for subject in subjects if _is_file(subject)]
    if plot and (files or len(subjects) > 1):
        raise click.UsageError("--plot draws one network, by its name")
    if files and len(subjects) > 1:
        raise click.UsageError(f"{files[0]} is a model file: show it alone")
    if files:
        _artifact(files[0], as_json)
        return
    if plot:
        from edgecnn import figure

        figure.check(plot)
    found = [_study(name, alpha, resolution, phi, backbone) for name in subjects]
    if len(found) == 1:
        _network(found[0], everything, plot, as_json)
    else:
        _compare(found, as_json)


def _is_file(subject: str) -> bool:
    return os.path.lexists(subject) or subject.endswith(".onnx") or "/" in subject


def _artifact(path: str, as_json: bool) -> None:
    from edgecnn import files
    from edgecnn.artifact import read_manifest
    from edgecnn.model_content import content_bytes

    manifest = read_manifest(path)
    found, reason = (None, "") if manifest else _look_into(Path(path))
    if as_json:
        known = manifest or found
        values = dataclasses.asdict(known) if known else {"reason": reason}
        size = content_bytes(path)
        made_here = {"manifest": manifest is not None}
        common.print_json({"path": path, "sha256": files.sha256(path), "bytes": size, **made_here, **values})
        return
    facts = [("file", f"{path}  ({common.size(content_bytes(path))}, sha256 {files.sha256(path)[:12]})")]
    if manifest is None:
        facts.append(("manifest", "none: this file was not made by edgecnn"))
        facts += _facts(found) if found else [("unusable", reason)]
    else:
        facts += _facts(manifest)
    if own := _own_preparation(path, manifest):
        facts.append(("graph", f"itself {own}"))
    common.print_facts(facts)


def _own_preparation(path: str, manifest: Manifest | None) -> str:
    """Return what a foreign graph does first with its images, for people; "" where that is not known."""
    from importlib.util import find_spec

    from edgecnn.errors import EdgecnnError

    ours = manifest is not None and manifest.architecture is not None
    if ours or not path.endswith(".onnx") or find_spec("onnx") is None:
        return ""
    from edgecnn.quantize.graph.load_model import load
    from edgecnn.quantize.graph.own_preparation import own_preparation

    with contextlib.suppress(EdgecnnError):  # which is told where the file is looked into
        own = own_preparation(load(Path(path)).model)
        if own is not None:
            unit = f", of pixels up to {own.pixels}" if own.pixels else ""
            return f"{own}{unit}"
    return ""


def _look_into(path: Path) -> tuple[Manifest | None, str]:
    """Return what there is to find out of a file without a manifest, or why nothing can be."""
    from edgecnn.compile.build_engine import foreign
    from edgecnn.errors import EdgecnnError

    try:
        return foreign(path), ""
    except EdgecnnError as error:
        return None, str(error)


#: Parameters of a step that are too long to read; --json has them.
_LONG = ("structure", "attempts", "asked", "training_images", "training_pixels")


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    made = manifest.versions.items()
    steps = []
    for step in manifest.lineage:
        shown = {
            key: value
            for key, value in step.parameters.items()
            if key not in _LONG and value not in (None, [])
        }
        details = ", ".join(f"{key} {value}" for key, value in shown.items())
        steps.append(f"{step.what}" + (f" ({details})" if details else ""))
    facts = []
    if manifest.architecture is not None:
        facts += [
            ("network", f"{manifest.architecture} x {manifest.alpha:g} at {manifest.resolution} pixels"),
            ("weights", str(manifest.weights)),
            ("cost", f"{common.amount(manifest.params)} parameters, {common.amount(manifest.macs)} MACs"),
        ]
    return [
        *facts,
        ("precision", manifest.precision + (f" for {manifest.target}" if manifest.target else "")),
        *_shortfalls(manifest.quantization or {}),
        *_prepared(manifest),
        *_tensor_facts("input", manifest.inputs, layout=True),
        *_tensor_facts("output", manifest.outputs),
        *(("lineage" if index == 0 else "", f"{index + 1}. {text}") for index, text in enumerate(steps)),
        *([("made by", ", ".join(f"{name} {version}" for name, version in made))] if made else []),
    ]


def _tensor_facts(
    title: str, specs: Sequence[TensorSpec], *, layout: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield a line for each input or output; of several with its name."""
    for index, spec in enumerate(specs):
        words = [spec.dtype, spec.layout if layout else "", " x ".join(map(str, spec.shape)) or "one number"]
        called = f"  ({spec.name})" if len(specs) > 1 else ""
        yield title if index == 0 else "", " ".join(filter(None, words)) + called


def _prepared(manifest: Manifest) -> Iterator[tuple[str, str]]:
    from edgecnn.runtime.preprocessing import Preprocessing

    if manifest.preprocessing:
        yield "images", str(Preprocessing.from_json(manifest.preprocessing))


def _shortfalls(quantization: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a file was written in spite of."""
    floor, budget = (quantization.get(key) for key in ("floor", "budget"))
    if isinstance(floor, Mapping):
        taken = "taken as it is" if floor.get("accepted") else "int8 DESTROYS this network"
        yield "kept", f"only {floor.get('keeps')}: {taken}"
    if isinstance(budget, Mapping) and budget.get("met") is False:
        yield "budget", "NOT met"


def _study(name: str, alpha: float, resolution: str | None, phi: float | None, backbone: str | None) -> Study:
    from edgecnn.optional_packages import require

    require("torch", "taking a network apart")
    from edgecnn.zoo.analysis.analyze import study

    return study(name, alpha=alpha, resolution=resolution, phi=phi, backbone=backbone)


def _network(found: Study, everything: bool, plot: Path | None, as_json: bool) -> None:
    if plot is not None:
        from edgecnn.zoo.analysis.cost_plot import draw

        cost = f"{common.amount(found.analysis.params)} parameters, {common.amount(found.analysis.macs)} MACs"
        draw(found.analysis, f"{_title(found)}: {cost}", plot)
    if as_json:
        common.print_json(found.to_json(), plot=plot)
        return
    row, analysis = found.row, found.analysis
    common.print_table(
        ["layer", "kind", "output", "kernel", "params", "MACs", "field", "step", "memory"],
        [_layer_row(layer) for layer in analysis.layers if everything or not layer.is_fused],
        text=(0, 1),
    )
    facts = [
        ("network", _title(found)),
        ("paper", row.paper),
        ("cost", f"{analysis.params:,} parameters, {analysis.macs:,} MACs"),
        ("MACs by", ", ".join(f"{kind} {_share(share)}" for kind, share in analysis.mac_share.items())),
        ("memory", f"{common.size(analysis.peak_activation_bytes)} at most, during {analysis.peak_layer}"),
        ("intensity", f"{analysis.arithmetic_intensity:.1f} operations (two per MAC) per byte moved"),
        ("field", _last_field(analysis.receptive_field)),
        ("weights", row.coco or row.imagenet or "none known"),
    ]
    if analysis.attention_macs:
        products = f"{analysis.attention_macs:,} MACs more in products of activations"
        facts.insert(3, ("attention", f"{products}, which published counts leave out"))
    if plot is not None:
        facts.append(("plot", str(plot)))
    common.print_facts(facts)
    fused = [layer for layer in analysis.layers if layer.is_fused]
    if fused and not everything:
        params = sum(layer.params for layer in fused)
        say(f"not listed without --all: {len(fused)} normalizations and activations, {params:,} parameters")
    idle = analysis.params - sum(layer.params for layer in analysis.layers)
    if idle:
        say(f"{idle:,} of the parameters are only used in training")
    say("memory is float32's, for one image; field and step are in input pixels")


def _title(found: Study) -> str:
    return f"{found.row.name} x {found.alpha:g}, {found.row.in_channels} x {found.resolution}"


def _last_field(field: int | None) -> str:
    return "not defined after attention" if field is None else f"{_pixels(field)} before global pooling"


def _layer_row(layer: Layer) -> list[str]:
    everything = layer.receptive_field is not None and math.isinf(layer.receptive_field)
    return [
        layer.name,
        layer.kind,
        "x".join(map(str, layer.shape)),
        _window(layer),
        common.amount(layer.params) if layer.params else "",
        common.amount(layer.macs) if layer.macs else "",
        "all" if everything else "-" if layer.receptive_field is None else str(layer.receptive_field),
        "" if everything or layer.receptive_step is None else str(layer.receptive_step),
        common.size(layer.activation_bytes),
    ]


def _window(layer: Layer) -> str:
    """Kernel, stride and groups, as in "3x3/2 g32"."""
    if not layer.kernel:
        return ""
    stride = "" if set(layer.stride) == {1} else "/" + "x".join(map(str, dict.fromkeys(layer.stride)))
    groups = f" g{layer.groups}" if layer.kind == "grouped conv" else ""
    return "x".join(map(str, layer.kernel)) + stride + groups


def _compare(found: list[Study], as_json: bool) -> None:
    if as_json:
        common.print_json({"results": [item.to_json() for item in found]})
        return
    analyses = [item.analysis for item in found]
    kinds = dict.fromkeys(kind for analysis in analyses for kind in analysis.mac_share)
    rows = [
        ["year", *(str(item.row.year) for item in found)],
        ["resolution", *(str(item.resolution.said) for item in found)],
        ["parameters", *(common.amount(analysis.params) for analysis in analyses)],
        ["MACs", *(common.amount(analysis.macs) for analysis in analyses)],
        ["peak memory", *(common.size(analysis.peak_activation_bytes) for analysis in analyses)],
        ["operations per byte", *(f"{analysis.arithmetic_intensity:.1f}" for analysis in analyses)],
        ["receptive field", *(_pixels(analysis.receptive_field) for analysis in analyses)],
        *([f"MACs in {kind}", *(_share(a.mac_share.get(kind, 0)) for a in analyses)] for kind in kinds),
    ]
    widths = {item.alpha for item in found}
    columns = [item.row.name if widths == {1} else f"{item.row.name} x {item.alpha:g}" for item in found]
    common.print_table(["", *columns], rows)


def _pixels(field: int | None) -> str:
    return "not defined" if field is None else f"{field} pixels"


def _share(share: float) -> str:
    return "-" if share == 0 else "< 0.1%" if share < 0.0005 else f"{share:.1%}"
