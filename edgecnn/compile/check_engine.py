"""Does an engine compute what its ONNX file says? Both run on the same inputs; every output is compared."""

from __future__ import annotations

import dataclasses
from importlib import util
from pathlib import Path

import numpy as np

from edgecnn.artifact import Manifest
from edgecnn.backends import BACKENDS, ONNXRUNTIME
from edgecnn.compile import float_reference
from edgecnn.compile.builders import Source
from edgecnn.compile.compile_request import CompileRequest
from edgecnn.compile.float_reference import AgainstFloat
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.sample_files import holds_samples
from edgecnn.errors import ArtifactError, ParityError
from edgecnn.measure.input_choice import InputChoice
from edgecnn.measure.real_inputs import inputs_of_frames, real_input, samples_at_most
from edgecnn.parity import Output, Parity, demand
from edgecnn.runtime import load
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.image_folder import demand_images, list_folder
from edgecnn.tasks.compare import comparable, compare_outputs, same_outputs

#: Least SQNR of an engine against its ONNX file, in dB. Float differs by the order of sums; of int8, values
#: on the edge between two codes fall to either side.
LEAST_DB = {"float32": 50.0, "tf32": 40.0, "float16": 30.0, "bfloat16": 20.0, "int8": 20.0}
_CHECK_IMAGES = 32


def check_engine(
    source: Source,
    path: Path,
    request: CompileRequest,
    manifest: Manifest,
    arithmetic: str,
    notes: list[str],
) -> tuple[Parity, AgainstFloat | None]:
    """Return how near an engine is to its ONNX file, and to the float file if it is given or must decide.

    It must where an int8 engine is far from its ONNX file, and can if it lies beside that. Raises ParityError
    if the engine is something else.
    """
    what = f"the engine of {BACKENDS.get(_backend(manifest)).title}"
    coarsest = min(LEAST_DB[manifest.precision], LEAST_DB["bfloat16" if request.bf16 else arithmetic])
    with load(source.path, device="cpu") as reference, load(path) as engine:
        if request.preparation.says:
            reference.prepare_by(engine.preprocessing)
        images = check_inputs(reference, request, notes)
        expected = _reference(reference, images, source)
        name = f"the engine of {engine.backend}"
        outputs = same_outputs(expected, engine.rows(images), name)
        parity = compare_outputs(expected, outputs, name, constant=True, task=reference.task)
        against_float = None
        far = manifest.precision == "int8" and parity.sqnr_db < coarsest
        given = request.reference or (float_reference.find(source.path, source.manifest) if far else None)
        if given is not None:
            against_float = float_reference.measure(given, images, reference, engine)
    if far and against_float is not None:
        float_reference.demand(against_float, what)
    elif far:
        raise ParityError(
            f"{what} does not agree with {source.path.name}: {parity.sqnr_db:.1f} dB, at least {coarsest:g}"
            f" dB expected" + (f" ({parity.agreeing})" if parity.agreeing else ""),
            hint="both are int8, and may be as near to the float file: `reference` FLOAT.onnx lets it decide",
        )
    else:
        demand(parity, coarsest, what)
    return parity, against_float


def _reference(engine: Engine, inputs: Inputs, source: Source) -> list[Output]:
    """Return what the ONNX file gives at each output that an engine is compared by.

    Raises ArtifactError if there is none: of a class index nobody can say how near it is.
    """
    found = [
        item.with_threshold(0.5 if item.name in source.sigmoids else 0.0)
        for item in comparable(engine.rows(inputs))
    ]
    if not found:
        spec = engine.outputs[0]
        raise ArtifactError(
            f"the output {spec.name!r} of {engine.path.name} is {spec.dtype}: an engine is checked by scores",
            hint="compile the network without the argmax at its end",
        )
    return found


def _backend(manifest: Manifest) -> str:
    """Return the backend of a compiled file."""
    return manifest.engine.backend if manifest.engine else ONNXRUNTIME.name


def check_inputs(engine: Engine, request: CompileRequest, notes: list[str]) -> Inputs:
    """Return inputs made of real images: of the folder that is asked for, else the built-in ones.

    Of a network that takes something else, or more, of what the request says of its inputs.
    """
    samples = request.check if holds_samples(request.check) else None
    constants = {**engine.constants, **request.inputs.constants}
    images = [spec for spec in engine.inputs if spec.name not in constants]
    alike = len({spec.shape[1:] for spec in images}) == 1
    pictures = engine.is_prepared and samples is None and alike
    if not pictures or (request.check is None and util.find_spec("skimage") is None):
        choice = InputChoice(request.sizes.best if request.sizes else None, constants, samples)
        if samples is None:
            notes.append("checked on parts of the one photograph that comes with the runtime")
        size = engine.input.shape[0] if engine.input.shape else 1
        count = size if isinstance(size, int) else samples_at_most(choice, _CHECK_IMAGES)
        return real_input(engine, count, choice)
    digits = engine.manifest is not None and engine.manifest.labels == "digits"
    source = ImageSource.open(engine.preprocessing, checks=_CHECK_IMAGES, digits=digits)
    if request.check is not None:
        # None of them calibrates anything: all may check.
        found = demand_images(list_folder(request.check))
        rows = np.random.default_rng(0).permutation(len(found.images))[:_CHECK_IMAGES]
        files = tuple(found.images[row] for row in sorted(rows))
        source = dataclasses.replace(source, check_files=files, left_out=tuple(found.notes))
    frames = source.check_frames()
    notes += source.notes
    return inputs_of_frames(engine, frames, constants)
