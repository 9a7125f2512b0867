"""Run a file's lineage again, and compare the bytes: `edgecnn verify`.

Each step that made a file carries what was asked (`asked.py`). It is done again by the function that did it,
in a temporary folder. Training is not repeated: what it made is taken from the disk, by its hash.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgecnn import __version__, files, request_json
from edgecnn.artifact import Manifest, Step, read_manifest
from edgecnn.backends import BACKENDS
from edgecnn.errors import ArtifactError, EdgecnnError, OutputError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.model_content import content_sha256
from edgecnn.progress import Progress, duration, silent

SAME, DIFFERS, UNKNOWN = "same bytes", "differs", "cannot be run again"
#: Files beside the one in question that are looked at for what it was made from.
_MOST_FILES = 500
#: Steps that train: they take hours, and their result is on the disk or nothing is.
_TRAINING = ("train", "distill", "quantization-aware training")


@dataclass(frozen=True)
class Answer:
    """Whether one step gives again what it gave: `verdict` is SAME, DIFFERS or UNKNOWN, `detail` says why."""

    step: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True)
class Verified:
    """What came of each step that made a file, first to last."""

    path: Path
    sha256: str
    answers: tuple[Answer, ...]

    @property
    def proven(self) -> bool | None:
        """Whether the file itself came again; None if its last step could not be run."""
        last = self.answers[-1].verdict
        return None if last == UNKNOWN else last == SAME

    @property
    def differs(self) -> bool:
        """Whether some step gave other bytes."""
        return any(answer.verdict == DIFFERS for answer in self.answers)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        steps = [asdict(answer) for answer in self.answers]
        return {"path": str(self.path), "sha256": self.sha256, "proven": self.proven, "steps": steps}


class _Stuck(Exception):
    """Why a step cannot be run again."""


def verify(path: Path, progress: Progress = silent, *, code: str | None = None) -> Verified:
    """Run again what made `path`, step by step. Raises ArtifactError for a file that carries no lineage.

    Code of the user's own that builds its network runs only where `code` names it.
    """
    manifest = read_manifest(path)
    steps = [] if manifest is None else [step for step in manifest.lineage if _makes_a_file(step)]
    if manifest is None or not steps:
        raise ArtifactError(
            f"{path} does not say how it was made", hint="files of edgecnn do, from this version on"
        )
    wanted = [*(step.parent for step in steps[1:]), files.sha256(path)]
    answers: list[Answer] = []
    with TemporaryFolder() as folder:
        made: Path | None = None
        for number, (step, sha256) in enumerate(zip(steps, wanted, strict=True)):
            place = Path(folder) / str(number)
            place.mkdir()
            output = place / _name(step, steps, manifest, path)
            progress(f"run {step.what} again")
            try:
                if sha256 is None:
                    raise _Stuck("its result was not kept")
                source = _source(step, made, path)
                _run(_naming(step, code), manifest, source, output, progress)
                answer = _compared(step, manifest, output, sha256, path if step is steps[-1] else None)
            except OutputError:
                raise  # that says nothing of the file
            except (_Stuck, EdgecnnError) as error:
                answer = Answer(step.what, UNKNOWN, str(error))
            made = output if answer.verdict == SAME else None
            answers.append(answer)
    return Verified(path, files.sha256(path), tuple(answers))


def _naming(step: Step, code: str | None) -> Step:
    """Return a step whose network is built by the code that was named, where it asks for somebody's code.

    Raises _Stuck where nobody named it: a file does not make its code run.
    """
    from edgecnn.zoo.reference import Reference

    asked = step.parameters.get("asked", {})
    network = asked.get("network", {})
    key = "code" if "code" in network else "name"
    recorded = Reference.parse(str(network.get(key, "")))
    if recorded is None or recorded.library:
        return step
    if code is None:
        raise _Stuck(f"it runs {recorded.name}: if you know that code, name it: `code` {recorded.name}")
    return replace(
        step, parameters={**step.parameters, "asked": {**asked, "network": {**network, key: code}}}
    )


def _makes_a_file(step: Step) -> bool:
    return "asked" in step.parameters or step.what in (*_TRAINING, "requantize")


def _name(step: Step, steps: list[Step], manifest: Manifest, path: Path) -> str:
    """Return what the file of a step was called: what was made from it names it."""
    if step is steps[-1]:
        return path.name
    following = steps[steps.index(step) + 1]
    if following.what == "compile" and manifest.engine is not None:
        return Path(manifest.engine.parent).name
    network = following.parameters.get("asked", {}).get("network", {})
    return Path(str(network.get("name", "made.onnx"))).name


def _source(step: Step, made: Path | None, path: Path) -> Path | None:
    """Return the file that a step was applied to: made again just now, or on the disk; None for none."""
    if step.what in _TRAINING:
        raise _Stuck("training is not repeated")
    if step.parent is None:
        return None
    for candidate in (*([made] if made else []), *_beside(path)):
        if _hash(candidate) == step.parent:
            return candidate
    raise _Stuck(f"what it was made from (sha256 {step.parent[:12]}) is not in {path.resolve().parent}")


def _beside(path: Path) -> Iterator[Path]:
    found = sorted(path.resolve().parent.glob("*"))[:_MOST_FILES]
    yield from (item for item in found if item.suffix in (".onnx", ".safetensors") and item.is_file())


def _hash(path: Path) -> str | None:
    try:
        return content_sha256(path) if path.suffix == ".onnx" else files.sha256(path)
    except (EdgecnnError, OSError):  # whatever it is, it is not what is looked for
        return None


def _run(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    _RUNS[step.what](step, manifest, source, output, progress)


def _demand_no_time(step: Step, manifest: Manifest) -> None:
    """Raise _Stuck for what was made within a time."""
    seconds = step.parameters["asked"].get("time")
    if seconds is None:
        return
    left = len((manifest.quantization or {}).get("out_of_time", []))
    raise _Stuck(
        f"it had {duration(seconds)}, so that the clock decided which layers were repaired; {left} were not"
    )


def _export(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    from edgecnn.export import ExportRequest, export

    _demand_no_time(step, manifest)
    export(_request(ExportRequest, step, manifest, source, output=output), progress)


def _prune(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    from edgecnn.compress.prune.prune_file import PruneRequest, prune_file

    request = _request(PruneRequest, step, manifest, source, output=output, measure=False)
    if step.metrics.get("latency_ms"):
        raise _Stuck("its sizes were chosen by the latency that was measured then")
    prune_file(request, progress)


def _quantize(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    from edgecnn.quantize.quantize_file import quantize_file
    from edgecnn.quantize.quantize_request import QuantizeRequest

    attempts = (manifest.quantization or {}).get("attempts", [])
    if any(attempt.get("name") in _TRAINING for attempt in attempts):
        raise _Stuck("training is not repeated")
    _demand_no_time(step, manifest)
    asked = _with_preparation(step.parameters["asked"])
    request = request_json.from_json(QuantizeRequest, asked, {}, source=source, output=output)
    quantize_file(request, progress)


def _with_preparation(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked of a quantization in today's form: once `mean`, `std` and `size` stood alone."""
    alone = {name: asked[name] for name in ("mean", "std", "size") if name in asked}
    others = {name: value for name, value in asked.items() if name not in alone}
    if not alone:
        return others
    if alone.keys() & {"mean", "std"}:
        others.pop("preprocessing", None)  # what they say
    return {**others, "preparation": alone}


def _requantize(
    step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress
) -> None:
    from edgecnn.quantize.quantize_request import RequantizeRequest
    from edgecnn.quantize.requantize import requantize_file

    assert source is not None
    requantize_file(RequantizeRequest(source, output, step.parameters["target"]), progress)


def _compile(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    from edgecnn.compile.build_engine import compile_file
    from edgecnn.compile.compile_request import CompileRequest

    compile_file(
        request_json.from_json(CompileRequest, step.parameters["asked"], {}, source=source, output=output),
        progress,
    )


def _describe(step: Step, manifest: Manifest, source: Path | None, output: Path, progress: Progress) -> None:
    from edgecnn.verbs.describe import describe_model
    from edgecnn.verbs.describe_request import DescribeRequest

    if step.parameters.get("labelled"):
        raise _Stuck("the labels that were written are not kept beside it")
    assert source is not None
    asked = step.parameters["asked"]
    describe_model(request_json.from_json(DescribeRequest, asked, {}, source=source, output=output))


_RUNS: Mapping[str, Callable[[Step, Manifest, Path | None, Path, Progress], None]] = {
    "trace": _export,
    "prune": _prune,
    "quantize": _quantize,
    "float16": _quantize,
    "requantize": _requantize,
    "compile": _compile,
    "describe": _describe,
}


def _request(kind: Any, step: Step, manifest: Manifest, source: Path | None, **others: Any) -> Any:
    """Return the request for a network, which is `source` or has the weights of the lineage."""
    from edgecnn.compress.train.train_options import TrainOptions
    from edgecnn.zoo import NetworkSpec

    values = dict(step.parameters["asked"])
    network = dict(values["network"])
    if "module" in network:
        raise _Stuck(f"the network is a program's own module, {network['module']}")
    if source is not None:
        network["name"] = str(source)
    loaded = next((other.parameters for other in manifest.lineage if other.what == "load weights"), None)
    if source is None and loaded is not None:
        network["weights"] = _weights(loaded)
    values["network"] = network
    return request_json.from_json(
        kind, values, {"NetworkSpec": NetworkSpec, "TrainOptions": TrainOptions}, **others
    )


def _weights(loaded: Mapping[str, Any]) -> str:
    """Return where the very weights are that were loaded, or raise _Stuck."""
    where = str(loaded.get("pinned") or loaded["source"])
    if where != "imagenet" and not where.startswith("hf:"):
        path = Path(where if Path(where).is_file() else where.rpartition("#")[0])
        if not path.is_file():
            raise _Stuck(f"its weights {where} are not there")
        if files.sha256(path) != loaded["sha256"]:
            raise _Stuck(f"its weights {where} are others now")
    return where


def _compared(step: Step, manifest: Manifest, output: Path, sha256: str, path: Path | None) -> Answer:
    """Compare a file that was made again, and an engine's other files and its record, with what there was."""
    same = _hash(output) == sha256 if output.suffix == ".onnx" else files.sha256(output) == sha256
    again = read_manifest(output)
    if path is not None and again is not None and again.engine is not None and manifest.engine is not None:
        same = same and again == manifest
    if same:
        return Answer(step.what, SAME)
    return Answer(step.what, DIFFERS, _why(step, manifest, again))


def _why(step: Step, manifest: Manifest, again: Manifest | None) -> str:
    """Return what is not as it was: images, library versions; or that neither is."""
    found = []
    if again is not None and not _images(again) <= _images(manifest):
        found.append("the calibration images are others")
    for name, version in manifest.versions.items():
        here = __version__ if name == "edgecnn" else _version(name)
        if here != version:
            found.append(f"{name} is {here or 'not installed'}, and was {version}")
    if step.what == "compile" and manifest.engine:
        differs = BACKENDS.get(manifest.engine.backend).rebuilds_differ
        found += [differs] if differs else []
    return "; ".join(found) or "libraries and images are the same: another processor, or number of threads"


def _images(manifest: Manifest) -> set[str]:
    """Return the hashes of the images that calibrated."""
    hashes = (step.parameters.get("images_sha256") for step in manifest.lineage)
    return {sha256 for sha256 in hashes if isinstance(sha256, str)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
