"""Answers of int8 files on the processor that this is run on, for test_int8_without_vnni.py.

int8_answers.py [--compile] ANSWERS.npz INPUT.npy FILE...: each file's logits by its name, or the error and
its hint; what ONNX Runtime gives of an ONNX file if it is told nothing, as "NAME untold"; and of one that it
compiles here, as "NAME compiled". "processor" is its name, and whether its int8 products overflow.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edgecnn.errors import EngineError
from edgecnn.optional_packages import require
from edgecnn.runtime import load
from edgecnn.runtime.processor import processor, saturates


def main(answers: Path, images: np.ndarray, files: list[Path], compiles: bool) -> None:
    found = {"processor": np.array([processor(), str(saturates())])}
    for path in files:
        try:
            with load(path, threads=1) as engine:
                found[path.name] = engine.run(images)
        except EngineError as error:
            found[path.name] = np.array([str(error), error.hint])
        if path.suffix == ".onnx":
            found[f"{path.name} untold"] = untold(path, images)
            if compiles:
                found[f"{path.name} compiled"] = compiled(path, images)
    np.savez(answers, **found)


def untold(path: Path, images: np.ndarray) -> np.ndarray:
    session = require("onnxruntime", "a test").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run(None, {session.get_inputs()[0].name: images[i : i + 1]})[0] for i in range(len(images))]
    )


def compiled(path: Path, images: np.ndarray) -> np.ndarray:
    from edgecnn.compile import CompileRequest, compile_file

    with tempfile.TemporaryDirectory() as folder:
        done = compile_file(CompileRequest(path, Path(folder) / "m.ort", "onnxruntime", threads=1))
        with load(done.path) as engine:
            return engine.run(images)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--compile"]
    names = map(Path, arguments[2:])
    main(Path(arguments[0]), np.load(arguments[1]), list(names), "--compile" in sys.argv)
