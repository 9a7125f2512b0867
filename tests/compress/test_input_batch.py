import numpy as np
import pytest
import torch

from edgecnn.compress.input_batch import InputBatch
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing

PREPARED = {
    "imagenet": Preprocessing(12),
    "grey": Preprocessing(12, mean=(0.5,), std=(0.25,)),
    "pixels": Preprocessing(12, color="bgr", pixels=255, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("name", PREPARED)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_network_gets_what_the_preprocessing_makes_to_the_bit(name, memory_format):
    preprocessing = PREPARED[name]
    frames = np.random.default_rng(0).integers(0, 256, (3, 12, 12, preprocessing.channels), np.uint8)
    batch = InputBatch(preprocessing, "cpu", memory_format)(frames)
    np.testing.assert_array_equal(batch.numpy(), prepare.normalize(preprocessing, frames))
    assert batch.is_contiguous(memory_format=memory_format)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_too():
    preprocessing = PREPARED["imagenet"]
    frames = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3), np.uint8)
    batch = InputBatch(preprocessing, "cuda", torch.channels_last)(frames)
    np.testing.assert_array_equal(batch.cpu().numpy(), prepare.normalize(preprocessing, frames))
