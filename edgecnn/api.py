"""The public Python interface: one function for each verb, and what it returns as a record.

Keyword arguments are the options of the command of the same name (`edgecnn quantize --calib-images 64` is
`quantize_model(..., calib_images=64)`), but for a share, which is one from 0 to 1 here: `min_agreement=0.95`.
A network is a name, a path or a torch.nn.Module; paths may be text. `progress` is told each step as it
begins: `progress=print`. What fails raises a subclass of `EdgecnnError`, which has a `hint`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from edgecnn import options as requests
from edgecnn.progress import Progress, silent

if TYPE_CHECKING:
    from torch import nn

    from edgecnn.compile.build_engine import Compiled
    from edgecnn.compile.fastest_engine import Tried
    from edgecnn.compress.prune.prune_result import PrunedFile
    from edgecnn.compress.train.run_report import Report
    from edgecnn.compress.train.train_network import Trained
    from edgecnn.export.export_network import Exported
    from edgecnn.quantize.write_file import QuantizedFile
    from edgecnn.recipe.run_recipe import Ran
    from edgecnn.runtime.engine import Engine
    from edgecnn.runtime.preprocessing import Preprocessing
    from edgecnn.verbs.compare import Comparison
    from edgecnn.verbs.describe import Described
    from edgecnn.verbs.evaluate import Evaluated
    from edgecnn.verbs.profile import Profiled

    Model = str | Path | nn.Module

T = TypeVar("T")


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the networks, of those that a pattern such as "mobilenet*" fits."""
    from edgecnn.zoo import ARCHITECTURES

    return sorted(name for name in ARCHITECTURES.names() if fnmatch.fnmatchcase(name, pattern))


def create_model(network: str, *, features: Sequence[int] | None = None, **options: Any) -> nn.Module:
    """Return a network of the zoo, or of a checkpoint, in evaluation mode: takes (N, C, H, W), gives logits.

    With `features`, such as (3, 4, 5), it is a backbone and gives a tuple of feature maps, of strides 8, 16
    and 32 pixels; its `channels` and `strides` say what they are. Which it has: docs/zoo.md.

    It may be a network of your own, "FILE.py:FUNCTION", or a checkpoint of one with `code`. `options`: alpha,
    resolution, size, rho, phi, classes, channels, weights, seed, arg, code.
    """
    from edgecnn.zoo.open_network import open_network
    from edgecnn.zoo.spec import NetworkSpec

    spec = _request(NetworkSpec, options, network=network)
    opened = open_network(spec).network
    if features is None:
        return opened
    from edgecnn.zoo.feature_layers import chosen_layers
    from edgecnn.zoo.features import FeatureMaps

    layers = chosen_layers(spec.architecture, features)
    return FeatureMaps(opened, layers, spec.preprocessing.channels, spec.size)


def export_model(
    model: Model,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Exported:
    """Write a network by its name, a checkpoint, or a module of yours, as a checked ONNX file.

    A module needs `size`, and `channels` if these are not three; `preprocessing` and `labels` are recorded
    for it. So it is with the other functions that take a network. `options`: those of `edgecnn export`;
    `precision` is "float32", "float16" or "int8".
    """
    from edgecnn.export import ExportRequest, export

    values = _network(model, options, preprocessing, labels)
    if output is None and not isinstance(model, (str, Path)):
        output = f"{type(model).__name__}.onnx"
    return export(_request(ExportRequest, options, output=output, **values), progress)


def _network(
    model: Model,
    options: dict[str, Any],
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return a name as it is, a module of the user's as a network; its options go out of `options`."""
    if isinstance(model, (str, Path)):
        return {"network": str(model)}
    from edgecnn.zoo.given_module import GivenModule

    given = GivenModule(
        type(model).__name__,
        resolution=options.pop("resolution", None),
        image_size=options.pop("size", None),
        in_channels=options.pop("channels", None),
        module=model,
        given_preprocessing=preprocessing,
        given_labels=None if labels is None else tuple(labels),
    )
    return {"network": given}


def quantize_model(
    model: str | Path,
    output: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    progress: Progress = silent,
    **options: Any,
) -> QuantizedFile:
    """Write a float ONNX file of any origin as int8 or float16. `options`: those of `edgecnn quantize`."""
    from edgecnn.quantize.quantize_request import QuantizeRequest
    from edgecnn.verbs.quantize import quantize_model as quantize

    request = _request(QuantizeRequest, options, model=model, output=output)
    if preprocessing is not None:
        request = replace(request, preprocessing=preprocessing)
    return quantize(request, progress)


def describe_model(
    model: str | Path,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> Described:
    """Write into an ONNX file how its images are prepared, and its labels; its graph stays as it is.

    It is written in place unless there is an `output`. `options`: those of `edgecnn describe`.
    """
    from edgecnn.verbs.describe import describe_model as describe
    from edgecnn.verbs.describe_request import DescribeRequest

    others = {"preprocessing": preprocessing}
    return describe(_request(DescribeRequest, options, others, model=model, output=output))


def compile_model(
    model: str | Path, output: str | Path | None = None, *, progress: Progress = silent, **options: Any
) -> Compiled | Tried:
    """Turn an ONNX file into an engine, the fastest that runs here or one `backend`'s, and check it.

    `options`: those of `edgecnn compile`; `batch` is a number or "MIN:OPT:MAX", `sm` "89" or "75,86".
    """
    from edgecnn.compile.compile_request import CompileRequest
    from edgecnn.verbs.compile import compile_model as build

    return build(_request(CompileRequest, options, model=model, output=output), progress)


def load(path: str | Path, *, rebuild: bool = False, **options: Any) -> Engine:
    """Open a model file, ONNX or compiled: `engine(arrays)`, `engine.predict(images)`; a context manager.

    With `rebuild` an engine that does not run here is built anew from the ONNX file beside it, and kept for
    the next time. `options`: those of `edgecnn.runtime.load`, which needs neither this module nor what it
    imports.
    """
    from edgecnn.runtime import load as open_engine

    if rebuild:
        from edgecnn.compile.rebuild import rebuilt

        return open_engine(path, rebuild=rebuilt, **options)
    return open_engine(path, **options)


def profile(*models: str | Path, progress: Progress = silent, **options: Any) -> Profiled:
    """Measure latency and throughput of model files in turns. `options`: those of `edgecnn profile`."""
    from edgecnn.measure.measure_options import ProfileRequest
    from edgecnn.verbs.profile import profile_models

    return profile_models(_request(ProfileRequest, options, models=tuple(map(str, models))), progress)


def compare(*models: str | Path, progress: Progress = silent, **options: Any) -> Comparison:
    """Say how many times as fast model files are as the first. `options`: those of `edgecnn compare`."""
    from edgecnn.measure.measure_options import CompareRequest
    from edgecnn.verbs.compare import compare_models

    return compare_models(_request(CompareRequest, options, models=tuple(map(str, models))), progress)


def evaluate(
    model: str | Path, data: str | Path, *, progress: Progress = silent, **options: Any
) -> Evaluated:
    """Measure accuracy on the test images of a folder or a data set. `options`: those of `edgecnn eval`."""
    from edgecnn.measure.measure_options import EvalRequest
    from edgecnn.verbs.evaluate import evaluate_model

    return evaluate_model(_request(EvalRequest, options, model=model, data=str(data)), progress)


def train_model(
    network: Model,
    data: str | Path,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    report: Callable[[Report], None] = lambda report: None,
    **options: Any,
) -> Trained:
    """Train a network on labelled images, or fine-tune one; writes a checkpoint.

    `report` is told where the run stands. `options`: those of `edgecnn train`, without `qat`.
    """
    from edgecnn.compress.train.train_network import train
    from edgecnn.compress.train.train_request import TrainRequest

    values = _network(network, options, preprocessing, labels)
    return train(_request(TrainRequest, options, data=str(data), output=output, **values), report)


def train_quantized_model(
    network: Model,
    data: str | Path,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    report: Callable[[Report], None] = lambda report: None,
    progress: Progress = silent,
    **options: Any,
) -> Trained:
    """Train the int8 form of a trained network; writes an ONNX file. `options`: those of `train --qat`."""
    from edgecnn.compress.qat.qat_request import QatRequest
    from edgecnn.compress.qat.train_quantized import train_quantized

    values = _network(network, options, preprocessing, labels)
    request = _request(QatRequest, options, data=str(data), output=output, **values)
    return train_quantized(request, report, progress)


def distill_model(
    network: Model,
    teacher: str | Path,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    report: Callable[[Report], None] = lambda report: None,
    **options: Any,
) -> Trained:
    """Train a network with a teacher's help; writes a checkpoint. `options`: those of `edgecnn distill`."""
    from edgecnn.compress.distill.distill_network import distill
    from edgecnn.compress.distill.distill_request import DistillRequest

    values = _network(network, options, preprocessing, labels)
    return distill(_request(DistillRequest, options, teacher=str(teacher), output=output, **values), report)


def prune_model(
    network: Model,
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    report: Callable[[Report], None] = lambda report: None,
    progress: Progress = silent,
    **options: Any,
) -> PrunedFile:
    """Take channels out of a network until a goal is met; writes a checkpoint.

    One of `ratio`, `target_macs`, `target_params`, `target_latency`, `sparsity` is the goal. `options`: those
    of `edgecnn prune`.
    """
    from edgecnn.compress.prune.prune_file import prune_file
    from edgecnn.compress.prune.prune_request import PruneRequest

    values = _network(network, options, preprocessing, labels)
    return prune_file(_request(PruneRequest, options, output=output, **values), progress, report)


def run_recipe(
    recipe: str | Path,
    folder: str | Path | None = None,
    *,
    changes: Sequence[str] = (),
    report: Callable[[Report], None] = lambda report: None,
    progress: Progress = silent,
) -> Ran:
    """Run a recipe, a YAML file, in a folder (runs/NAME); what was done before is not done again.

    `changes` are such as "data=photos" or "network.epochs=5".
    """
    from edgecnn.recipe.inputs import check_inputs
    from edgecnn.recipe.run_recipe import run, telling
    from edgecnn.recipe.schema import read

    plan = read(recipe, changes)
    check_inputs(plan)
    return run(plan, Path("runs") / plan.name if folder is None else Path(folder), telling(progress, report))


def _request(
    kind: type[T], options: dict[str, Any], others: Mapping[str, Any] = MappingProxyType({}), /, **named: Any
) -> T:
    """Return a request from keyword arguments; what is named and None is left to the request.

    `others` are fields that are no options. A network that is a request itself already is taken as it is.
    """
    known: Mapping[str, requests.Field] = requests.fields(cast("Any", kind))
    values = {**{name: value for name, value in named.items() if value is not None}, **options}
    if not isinstance(values.get("network", ""), str):
        others = {**others, "network": values.pop("network")}
    read = {
        name: requests.from_python(known[name], value) if name in known else value
        for name, value in values.items()
    }
    return requests.make(kind, read, **others)
