"""An engine is checked by what its network gives: class scores, one score or a map, but not an index."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgecnn import onnx_metadata
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.errors import ArtifactError
from edgecnn.measure.accuracy.evaluate import evaluate
from edgecnn.runtime import Preprocessing, load

ENDS = {
    "scores": ("float[N, 4] y", "f = Flatten(g)\n y = Gemm(f, v)"),
    "one score": ("float[N, 1] y", "f = Flatten(g)\n y = Gemm(f, u)"),
    "probability": ("float[N, 1] y", "f = Flatten(g)\n s = Gemm(f, u)\n p = Sigmoid(s)\n y = Identity(p)"),
    "map": ("float[N, 8, 16, 16] y", "y = Relu(c)"),
    "index": ("int64[N, 1] y", "f = Flatten(g)\n s = Gemm(f, v)\n y = ArgMax<axis=1>(s)"),
}


def network(path, end):
    output, nodes = ENDS[end]
    rng = np.random.default_rng(0)
    model = parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> g (float[N, 3, 16, 16] x) => ({output}) {{'
        f" c = Conv<pads=[1,1,1,1]>(x, w)\n r = Relu(c)\n g = GlobalAveragePool(r)\n {nodes}\n}}"
    )
    for name, shape in {"w": (8, 3, 3, 3), "v": (8, 4), "u": (8, 1)}.items():
        value = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("end", ["scores", "one score", "probability", "map"])
def test_agreement_is_said_of_what_decides(tmp_path, end):
    path = network(tmp_path / "m.onnx", end)
    assert onnx_metadata.contents(path).sigmoids == ({"y"} if end == "probability" else set())
    parity = compile_file(CompileRequest(path, backend="ort")).parity
    (found,) = parity.outputs
    assert found.name == "y" and parity.sqnr_db > 60
    kinds = {"scores": "class scores", "one score": "score", "probability": "score", "map": "values"}
    assert found.kind == kinds[end]
    if end == "map":
        assert parity.top1_agreement is None
    if end == "probability":  # all lie on one side of 0, but not of 0.5
        with load(path) as engine:
            values = engine.run(np.random.default_rng(0).normal(size=(32, 3, 16, 16)).astype(np.float32))
        assert values.min() > 0


def test_an_index_is_no_evidence(tmp_path):
    path = network(tmp_path / "m.onnx", "index")
    with pytest.raises(ArtifactError, match="int64"):
        compile_file(CompileRequest(path, backend="ort"))
    assert not (tmp_path / "m.ort").exists()


@pytest.mark.parametrize("end", ["one score", "map", "index"])
def test_what_is_no_class_score_has_neither_classes_nor_an_accuracy(tmp_path, end):
    with load(network(tmp_path / "m.onnx", end), preprocessing=Preprocessing(16)) as engine:
        with pytest.raises(ArtifactError, match="no image classifier: its output is N x "):
            evaluate(engine, None)
        if end == "one score":
            with pytest.raises(ArtifactError, match="no image classifier: its output is N x "):
                engine.predict(np.zeros((16, 16, 3), np.uint8))
        else:
            (answer,) = engine.predict(np.zeros((16, 16, 3), np.uint8))
            assert list(answer) == ["y"] and answer["y"].shape == ((8, 16, 16) if end == "map" else (1,))
