import pytest
import torch

from edgecnn import zoo
from edgecnn.data.builtin import frames
from edgecnn.export.fold_batch_norm import fold_batch_norm
from edgecnn.runtime import prepare
from edgecnn.zoo.initialize import settle


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "resnet18", "efficientnet_lite0"])
@torch.inference_mode()
def test_folding_batch_normalization_changes_nothing(name):
    network, preprocessing = zoo.create(name, alpha=0.5), zoo.architecture(name).preprocessing.at(128)
    pixels = frames(preprocessing, 12, check=False, digit_images=False)
    images = torch.from_numpy(prepare.normalize(preprocessing, pixels))
    settle(network, images[:8])
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images[8:]), network(images[8:]), rtol=1e-3, atol=1e-4)
