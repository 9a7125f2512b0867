"""Tensors and outputs whose first axis does not count the images."""

import numpy as np
import pytest
from foreign_graphs import SIDE, constant, drawn, head, model_of, node, stem, written

from edgecnn.errors import EdgecnnError


def sequence(result):
    """As before an LSTM: (time, images, channels) inside, and as an output."""
    return (
        [
            node("ReduceMean", ["f"], ["m"], name="mean", axes=[2], keepdims=0),
            node("Transpose", ["m"], ["t"], name="to_time", perm=[2, 0, 1]),
            node("MatMul", ["t", "w1"], ["q"], name="mm1"),
            node("Relu", ["q"], ["qr"], name="r3"),
            node("MatMul", ["qr", "w2"], ["z"], name="mm2"),
            node("Transpose" if result == "back" else "Identity", ["z"], ["y"], name="last",
                 **({"perm": [1, 0, 2]} if result == "back" else {})),
        ],
        [drawn("w1", 8, 8), drawn("w2", 8, 12)],
    )  # fmt: skip


def heads():
    """As in an attention: (images * heads, ...) inside."""
    shape = lambda name, *sizes: constant(name, sizes, np.int64)  # noqa: E731 - shorter
    return (
        [
            node("Reshape", ["f", "s1"], ["tokens"], name="to_heads"),
            node("MatMul", ["tokens", "w1"], ["q"], name="mm1"),
            node("MatMul", ["q", "w2"], ["v"], name="mm2"),
            node("Reshape", ["v", "s2"], ["map"], name="to_map"),
        ],
        [drawn("w1", 256, 16), drawn("w2", 16, 256), shape("s1", -1, 4, 256), shape("s2", -1, 8, 16, 16)],
    )


FIRST_AXES = {
    "time inside": model_of(stem(), sequence("back")),
    "time at the end": model_of(stem(), sequence("as it is")),
    "heads": model_of(stem(), heads(), head("map")),
    "a fixed batch": model_of(stem(), sequence("back"), shape=[3, 3, SIDE, SIDE]),
    "a fixed batch that is second": model_of(stem(), sequence("as it is"), shape=[3, 3, SIDE, SIDE]),
}


@pytest.mark.parametrize("name", FIRST_AXES)
def test_a_tensor_whose_first_axis_is_not_the_batch(name, tmp_path):
    # 7 images: the network is repaired by parts of them that are all of one size.
    made = written(FIRST_AXES[name], tmp_path, calib_images=7, check_images=9)
    assert made.manifest.quantization["int8_mac_share"] == 1
    assert made.parity.sqnr_db > 25 and made.parity.images == 9


def test_an_output_that_holds_nothing_of_the_images_is_refused(tmp_path):
    model = model_of(stem(), head(result="l"), ([node("ReduceSum", ["l", "ax"], ["y"], keepdims=0)], [
        constant("ax", [0], np.int64)
    ]))  # fmt: skip
    with pytest.raises(EdgecnnError, match="'y' has no axis for the images"):
        written(model, tmp_path)
