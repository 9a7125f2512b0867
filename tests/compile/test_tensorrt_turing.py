"""Linear layers for compute capability 7.5, built for real with TensorRT-RTX."""

import onnx
import pytest
from small_classifier import classifier
from tensorrt_build import compiled

from edgecnn.errors import EngineError


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_linear_layer_is_built_for_turing(rtx, tmp_path, precision):
    compiled(classifier(tmp_path / "m.onnx", precision), sm=("7.5", "8.9"))


def test_a_product_that_is_the_output_keeps_its_name_and_weights_of_either_order(rtx, tmp_path):
    network = """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3, 16, 16] x) => (float[N, 5] logits) <float[3, 5] v = {VALUES}> {
          g = GlobalAveragePool(x)
          f = Flatten(g)
          logits = MatMul(f, v)
        }"""
    model = onnx.parser.parse_model(network.replace("VALUES", ", ".join(map(str, range(15)))))
    onnx.save(model, tmp_path / "m.onnx")
    assert compiled(tmp_path / "m.onnx", sm=("7.5",)).path.stat().st_size


def test_what_turing_lacks_is_explained(rtx, tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3, 4, 4] x) => (float[N, 5] logits) <float[3, 5] v = {VALUES}> {
          p = MatMul(x, x)
          g = GlobalAveragePool(p)
          f = Flatten(g)
          logits = MatMul(f, v)
        }""".replace("VALUES", ", ".join(map(str, range(15))))
    )
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="FP32 GEMM is not supported") as caught:
        compiled(tmp_path / "m.onnx", sm=("7.5", "8.9"))
    assert "7.5" in caught.value.hint
    # Nothing of what was done for the other layer, and of a GPU that no build needs.
    assert "setName" not in str(caught.value) and "driver" not in str(caught.value)
