"""What a request refuses before any work."""

from pathlib import Path

import pytest

from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.zoo.spec import NetworkSpec


def request(**values):
    given = {
        "network": NetworkSpec("resnet18"),
        "output": Path("out.safetensors"),
        "target_macs": "0.5x",
        **values,
    }
    return PruneRequest(**given)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"target_macs": None}, "needs one goal"),
        ({"sparsity": "2:4"}, "needs one goal"),
        ({"epochs": 1}, "labelled images"),
        ({"importance": "taylor"}, "labelled images"),
        ({"output": Path("out.onnx")}, "cannot be written as out.onnx"),
        ({"seconds": 0}, "`seconds` of 0"),
    ],
)
def test_what_cannot_work_is_refused(values, reason):
    with pytest.raises(InvalidValueError, match=reason):
        request(**values)


def test_an_unknown_target_is_refused():
    with pytest.raises(UnknownNameError):
        request(target="abacus")


def test_the_alignment_is_the_targets_in_int8_and_8_in_float():
    assert request().alignment == 8
    assert request(target="jetson-orin-nano").alignment == 16
    assert request(target="jetson-orin-nano", align=32).alignment == 32


def test_data_makes_taylor_the_default_importance():
    assert request().judged_by == "magnitude" and request(data="digits").judged_by == "taylor"
