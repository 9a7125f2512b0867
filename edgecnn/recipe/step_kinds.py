"""What a step of a recipe can be: a table. Each row calls the function that the command of its name calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecnn.artifact import Manifest
from edgecnn.backends import BACKENDS
from edgecnn.compile.compile_request import AUTO, CompileRequest
from edgecnn.compress.distill.distill_request import DistillRequest
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.compress.qat.qat_request import QatRequest
from edgecnn.compress.train.train_request import TrainRequest
from edgecnn.export.export_request import ExportRequest
from edgecnn.measure.measure_options import CompareRequest, EvalRequest, ProfileRequest
from edgecnn.options import Field, Option, fields
from edgecnn.quantize.int8_options import Int8Form
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.recipe import step_options
from edgecnn.recipe.step_options import Options
from edgecnn.targets import target

if TYPE_CHECKING:
    from edgecnn.compress.train.run_report import Report


class Listener(Protocol):
    """Who is told how a step goes."""

    def say(self, text: str) -> None:
        """Be told what is being done."""

    def report(self, report: Report) -> None:
        """Be told where a training run stands."""


@dataclass(frozen=True)
class Result:
    """What a step measured, under the keys of every edgecnn result."""

    metrics: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    #: Whether a budget was met; None if there was none.
    met: bool | None = None
    #: The file that was made, where only the step itself knows its name.
    path: Path | None = None


@dataclass(frozen=True)
class Kind:
    """One kind of step."""

    name: str
    request: type
    run: Callable[[Options, Path, Listener], Result]
    #: What the name of the file that it makes ends with; None if it makes none.
    suffix: str | None = None
    #: Options that a recipe has to give, though the request can do without.
    needs: tuple[str, ...] = ()

    @property
    def options(self) -> Mapping[str, Field]:
        """What it may say."""
        return {**step_options.offered(self.request), **(_QAT if self.name == "train" else {})}

    @property
    def required(self) -> tuple[str, ...]:
        """Options that have to be given."""
        return (*(name for name, field in self.options.items() if field.required), *self.needs)

    def defaults(self) -> dict[str, Any]:
        """Return the options that need not be given."""
        return {
            name: step_options.default(field)
            for name, field in self.options.items()
            if name not in self.required
        }

    def check(self, options: Options) -> None:
        """Raise what the step would raise for values that cannot work, as far as they are known yet."""
        if options.get("target"):
            target(options["target"])
        output = Path(f"step{self.suffix_of(options) or ''}")
        others = {"output": output} if "output" in fields(self.request) else {}
        kind = QatRequest if options.get("qat") else self.request
        step_options.request(kind, step_options.stand_ins(options), **others)

    def suffix_of(self, options: Options) -> str | None:
        """Return what the name of the file of a step ends with."""
        if self.name == "compile":
            return BACKENDS.get(options["backend"]).suffixes[-1] if options["backend"] != AUTO else ".engine"
        return ".onnx" if options.get("qat") else self.suffix


#: What a `train` step may say beside its request: `qat`, and what belongs to it.
_QAT = {
    "qat": Field("qat", (), bool, False, False, Option("Train an int8 form of a trained network.")),
    **step_options.offered(Int8Form),
}
_PRUNED = ("top1", "top1_before", "params", "macs", "bytes")
_KEYS = ("top1", "n", "params", "macs", "bytes", "seconds")


def _train(options: Options, output: Path, listener: Listener) -> Result:
    if options["qat"]:
        from edgecnn.compress.qat.train_quantized import train_quantized

        asked = step_options.request(QatRequest, options, **step_options.beside(output))
        done = train_quantized(asked, listener.report, listener.say)
        keys = (*_KEYS, "precision", "float_top1", "untrained_top1", "simulation_agreement", "parity")
        return Result(_only(done.to_json(), keys), [*done.notes, *_ruin(done.manifest)], done.met)
    from edgecnn.compress.train.train_network import train

    trained = train(
        step_options.request(TrainRequest, options, **step_options.beside(output)), listener.report
    )
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _distill(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.distill.distill_network import distill

    request = step_options.request(DistillRequest, options, **step_options.beside(output))
    trained = distill(request, listener.report)
    return Result(_only(trained.to_json(), _KEYS), trained.notes)


def _prune(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compress.prune.prune_file import prune_file

    request = step_options.request(PruneRequest, options, output=output)
    done = prune_file(request, listener.say, listener.report)
    metrics = _only(done.to_json(), (*_PRUNED, "params_before", "macs_before", "latency"))
    return Result(metrics, done.notes, done.met)


def _export(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.export import export

    done = export(step_options.request(ExportRequest, options, output=output), listener.say)
    notes = [*done.notes, *_ruin(done.manifest)]
    return Result(_only(done.to_json(), (*_KEYS, "precision", "parity")), notes, done.met)


def _quantize(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.verbs.quantize import quantize_model

    done = quantize_model(step_options.request(QuantizeRequest, options, output=output), listener.say)
    notes = [*done.notes, *_ruin(done.manifest)]
    return Result(_only(done.to_json(), (*_KEYS, "precision", "parity")), notes, done.met)


def _ruin(manifest: Manifest) -> list[str]:
    """Return the note on an int8 file that is below the floor."""
    floor = (manifest.quantization or {}).get("floor")
    return [f"int8 destroys this network: it keeps only {floor['keeps']}"] if floor else []


def _compile(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.compile.fastest_engine import Tried
    from edgecnn.verbs.compile import compile_model

    made = compile_model(step_options.request(CompileRequest, options, output=output), listener.say)
    kept = made.kept if isinstance(made, Tried) else made
    found = _only(kept.to_json(), ("bytes", "seconds", "backend", "precision", "parity"))
    return Result(found, list(kept.notes), path=kept.path)


def _eval(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.verbs.evaluate import evaluate_model

    done = evaluate_model(step_options.request(EvalRequest, options), listener.say)
    keys = ("top1", "metric", "n", "seconds", "training_images", "agreement")
    found = done.to_json()
    # Of a detector or segmenter: mAP at an overlap of 0.5 and by size, mIoU; without the classes.
    more = {"figures": found["details"]["figures"]} if found.get("details") else {}
    return Result({**_only(found, keys), **more}, list(done.accuracy.notes))


def _profile(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.verbs.profile import profile_models

    done = profile_models(step_options.request(ProfileRequest, options), listener.say)
    rows = [_only(row, ("path", "latency_ms", "throughput_ips", "conditions")) for row in done.results()]
    notes = [note for item in done.latencies for note in item.notes]
    return Result({"latency_ms": rows[0]["latency_ms"], "measured": rows}, notes)


def _compare(options: Options, output: Path, listener: Listener) -> Result:
    from edgecnn.verbs.compare import compare_models

    done = compare_models(step_options.request(CompareRequest, options), listener.say)
    found = done.to_json()
    return Result(_only(found, ("results", "baseline", "gate")), list(found["notes"]), done.met)


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}


KINDS = {
    kind.name: kind
    for kind in (
        Kind("train", TrainRequest, _train, ".safetensors", needs=("data",)),
        Kind("distill", DistillRequest, _distill, ".safetensors"),
        Kind("prune", PruneRequest, _prune, ".safetensors"),
        Kind("export", ExportRequest, _export, ".onnx"),
        Kind("quantize", QuantizeRequest, _quantize, ".onnx"),
        Kind("compile", CompileRequest, _compile),
        Kind("eval", EvalRequest, _eval),
        Kind("profile", ProfileRequest, _profile),
        Kind("compare", CompareRequest, _compare),
    )
}
