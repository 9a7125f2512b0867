"""Networks of any inputs and outputs through every command; what is told of each output is measured again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from any_graphs import CASES, Case
from PIL import Image
from program import run_here

from edgecnn.artifact import read_manifest
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.data.input_options import InputOptions, words
from edgecnn.data.sample_files import list_samples, read_samples
from edgecnn.image_size import Size
from edgecnn.measure.measure_options import CompareRequest, EvalRequest, ProfileRequest, SampleOptions
from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.runtime import load
from edgecnn.runtime.engine_inputs import by_input
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.runtime.samples import constant, pack, unpack
from edgecnn.verbs.compare import compare_models
from edgecnn.verbs.evaluate import evaluate_model
from edgecnn.verbs.profile import profile_models

QUICK = ["3 outputs, batch n", "NHWC of 3, batch n", "tokens, batch 1"]
#: Samples, or pictures.
COUNT = 16
#: What is told and what is measured again may differ by so much, in dB.
NEAR = 0.5


class Network:
    """A case on disk: its float file, its samples or pictures, and its int8 file."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.float, self.int8 = folder / "float.onnx", folder / "int8.onnx"
        onnx.save(case.model, self.float)
        self.samples = case.write_samples(folder / "samples") if case.samples else None
        self.pictures = folder / "pictures"
        self.constants = InputOptions(words(case.constants))
        if self.samples is None:
            _draw(self.pictures)
        size = case.size and Size(*case.size)
        self.quantized = quantize_file(
            QuantizeRequest(
                self.float,
                self.int8,
                target="cpu",
                effort="fast",
                calib=self.samples or self.pictures,
                calib_images=12,
                yes=True,
                force=True,
                inputs=self.constants,
                preparation=PreparationOptions(size=size),
            )
        )

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """Samples, or pictures in the order of their names, as the int8 file prepares them."""
        with load(self.int8) as engine:
            if self.samples is not None:
                return read_samples(list_samples(self.samples), engine.inputs)[rows]
            images = engine.prepare([sorted(self.pictures.iterdir())[row] for row in rows])
            arrays, turned = {}, 0
            for spec in engine.inputs:
                if spec.name in self.constants.constants:
                    value = self.constants.constants[spec.name]
                    arrays[spec.name] = constant(spec, value, engine.input, len(images))
                else:
                    arrays[spec.name] = images[..., ::-1] if turned else images
                    turned += 1
            return pack(arrays)


def _draw(folder: Path, count: int = COUNT) -> None:
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(count):
        blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((72, 60), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02}.png")


def decibels_of(parity) -> dict[str, float]:
    return {item.name: item.sqnr_db for item in parity.outputs}


def measured(network: Network, samples: np.ndarray) -> dict[str, float]:
    """The ratio of every float output, by plain sessions of ONNX Runtime, sample by sample."""
    sessions = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (network.float, network.int8)
    ]
    with load(network.float, device="cpu") as engine:
        specs, batch = engine.inputs, engine.batches[0]
    names = [value.name for value in sessions[0].get_outputs()]
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for row in range(len(samples)):
        arrays = by_input(unpack(np.repeat(samples[row : row + 1], batch, axis=0), specs), specs, "it")
        feeds = {spec.name: array for spec, array in zip(specs, arrays, strict=True)}
        exact, rounded = (session.run(names, feeds) for session in sessions)
        for name, left, right in zip(names, exact, rounded, strict=True):
            wide = left.astype(np.float64)
            signal[name] += float((wide**2).sum())
            noise[name] += float(((wide - right) ** 2).sum())
    return {
        name: 10 * math.log10(signal[name] / noise[name]) if noise[name] else math.inf
        for name in names
        if name not in network.case.integers
    }


def assert_alike(told: dict[str, float], found: dict[str, float]) -> None:
    assert told.keys() == found.keys()
    for name, value in told.items():
        assert value == found[name] or abs(value - found[name]) < NEAR, (name, value, found[name])


def check(name: str, tmp_path: Path) -> Network:
    """Quantize, build two engines, evaluate, and show a network."""
    network = Network(CASES[name](), tmp_path)
    # Every fifth, shuffled by the seed, does not calibrate.
    checking = network.inputs(np.random.default_rng(0).permutation(COUNT)[::5])
    found = measured(network, checking)
    told = decibels_of(network.quantized.parity)
    assert_alike(told, found)
    assert network.quantized.parity.sqnr_db == min(told.values())
    how = {"inputs": network.constants, "check": network.samples, "reference": network.float}
    for backend in ("ort", "openvino"):
        built = compile_file(CompileRequest(network.int8, backend=backend, **how))
        assert decibels_of(built.parity).keys() == found.keys()
    data = str(network.samples or network.pictures)
    asked = {"reference": network.float, "inputs": network.constants, "batch": COUNT}
    evaluated = evaluate_model(EvalRequest(model=network.int8, data=data, **asked)).accuracy
    assert evaluated.n == COUNT
    assert_alike(decibels_of(evaluated.parity), measured(network, network.inputs(np.arange(COUNT))))
    lines = run_here("info", str(network.int8)).stdout.splitlines()
    graph = network.case.model.graph
    for values in (graph.input, graph.output):
        for value in values if len(values) > 1 else []:
            assert sum(line.endswith(f"({value.name})") for line in lines) == 1
    return network


@pytest.mark.parametrize("name", QUICK)
def test_what_is_told_of_every_output_is_so(name, tmp_path):
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_command_takes_any_network(name, tmp_path):
    network = check(name, tmp_path)
    models = (str(network.float), str(network.int8), str(tmp_path / "int8.ort"), str(tmp_path / "int8.xml"))
    inputs = SampleOptions(network.constants.input, samples=network.samples)
    size = PreparationOptions(size=network.case.size and Size(*network.case.size))
    how = {"seconds": 0.1, "inputs": inputs, "preparation": size}
    done = profile_models(ProfileRequest(models=models, **how))
    assert all(len(item.samples) >= 20 for item in done.latencies)
    compared = compare_models(CompareRequest(models=models[:2], force=True, **how))
    assert compared.found["results"][1]["ratio"]["value"] > 0


METRIC = """
def best(outputs, labels):
    return float((outputs["scores"].argmax(axis=1) == labels).mean())
"""


def test_a_metric_of_the_users_measures_and_is_kept_to(tmp_path):
    case = CASES["2 outputs, batch n"]()
    path = tmp_path / "float.onnx"
    onnx.save(case.model, path)
    with load(path) as engine:
        rng = np.random.default_rng(0)
        blocks = np.kron(rng.normal(size=(12, 3, 8, 8)), np.ones((4, 4))).astype(np.float32)
        labels = engine(blocks)["scores"].argmax(axis=1)
    (tmp_path / "samples").mkdir()
    for row, (image, label) in enumerate(zip(blocks, labels, strict=True)):
        # Half of the labels are wrong: of these the float network has none right.
        np.savez(tmp_path / f"samples/{row}.npz", x=image, label=label if row % 2 else (label + 1) % 10)
    (tmp_path / "metrics.py").write_text(METRIC)
    samples, metric = str(tmp_path / "samples"), f"{tmp_path / 'metrics.py'}:best"
    asked = ("--calib", samples, "--data", samples, "--metric", metric, "--effort", "fast", "--json")
    done = run_here("quantize", str(path), "-o", str(tmp_path / "int8.onnx"), "--max-drop", "0.2", *asked)
    assert done.returncode == 0, done.stderr
    found = run_here(
        "eval", str(path), "--data", samples, "--reference", str(path), "--metric", metric, "--json"
    )
    assert json.loads(found.stdout)["metric"] == {"name": metric, "value": 0.5, "reference": 0.5, "unit": ""}
    record = read_manifest(tmp_path / "int8.onnx").quantization
    assert record["attempts"][-1]["top1_drop"] <= 0.2 and record["budget"] == {"max_drop": 0.2, "met": True}
