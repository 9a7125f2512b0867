"""What the repair keeps of a network with real weights, on crops that did not calibrate."""

import numpy as np
import onnx
import pytest

from edgecnn.artifact import read_manifest
from edgecnn.data import builtin
from edgecnn.quantize.effort_levels import FITTED
from edgecnn.quantize.quantizer import quantize
from edgecnn.quantize.reference import logits
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.targets import target
from edgecnn.tasks.compare import compare


@pytest.mark.slow
@pytest.mark.parametrize(("form", "decibels", "agreement"), [("cpu", 24.9, 0.965), ("portable", 22.5, 0.93)])
def test_default_keeps_efficientnet_lite0(exported, form, decibels, agreement):
    path = exported("efficientnet_lite0", "--weights", "imagenet")
    model = onnx.load(path)
    preprocessing = Preprocessing.from_json(read_manifest(path).preprocessing)

    def images(count: int, *, check: bool) -> np.ndarray:
        frames = builtin.frames(preprocessing, count, check=check, digit_images=False)
        return prepare.normalize(preprocessing, frames)

    calibration, checks = images(128, check=False), images(364, check=True)
    batches = np.split(calibration, 32)
    quantized = quantize(model, batches, target(form).scheme, recipe=FITTED).model
    found = compare(logits(model, checks), logits(quantized, checks), "int8")
    assert found.sqnr_db > decibels and found.top1_agreement > agreement
