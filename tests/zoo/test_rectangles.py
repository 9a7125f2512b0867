"""Networks whose input is higher than wide, or wider than high."""

import numpy as np
import pytest
import torch

from edgecnn import request_json
from edgecnn.errors import InvalidValueError
from edgecnn.export import ExportRequest, export
from edgecnn.zoo import catalog
from edgecnn.zoo.analysis.analyze import study
from edgecnn.zoo.cost import count
from edgecnn.zoo.create import build
from edgecnn.zoo.spec import NetworkSpec

SIZED = {
    "lenet5": (28, 36),
    "lenet_1989": (16, 20),
    "alexnet": (227, 163),
    "zfnet": (224, 160),
    "vit_tiny": (32, 64),
}


@pytest.mark.parametrize(("name", "size"), SIZED.items())
def test_layers_whose_shape_depends_on_the_input_are_those_of_a_rectangle(name, size):
    row = catalog.architecture(name)
    with torch.device("meta"):
        network = build(row, resolution=size)
    assert count(network, row.in_channels, size).macs > 0
    with pytest.raises(InvalidValueError, match=f"cannot take an input of {2 * size[0]} x {size[1]} pixels"):
        count(network, row.in_channels, (2 * size[0], size[1]))
    assert study(name, resolution=size).to_json()["resolution"] == f"{size[0]}x{size[1]}"


def test_a_specification_says_a_rectangle_and_reads_it_again():
    spec = NetworkSpec("mobilenet", resolution="48x64")
    assert spec.size == (48, 64) and spec.preprocessing.size == (48, 64)
    asked = spec.asked()
    assert asked["resolution"] == "48x64"
    assert request_json.from_json(NetworkSpec, asked, {}) == spec
    assert NetworkSpec("mobilenet", resolution=32).asked()["resolution"] == 32  # as it always was
    for wrong in ("4x64", "64x5000"):
        with pytest.raises(InvalidValueError, match="cannot be used"):
            NetworkSpec("mobilenet", resolution=wrong)


def test_a_rectangle_is_exported_and_takes_pictures_of_its_shape(tmp_path):
    from edgecnn.runtime import load

    spec = NetworkSpec("lenet5", resolution="28x36")
    exported = export(ExportRequest(spec, tmp_path / "m.onnx"))
    assert exported.manifest.resolution == "28x36"
    assert "size" not in exported.manifest.preprocessing
    with load(exported.path) as engine:
        assert engine.input.shape[1:] == (1, 28, 36)
        assert len(engine.predict(np.zeros((50, 40), np.uint8))[0]) == 5
