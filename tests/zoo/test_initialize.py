import numpy as np
import pytest
import torch

from edgecnn import zoo
from edgecnn.data.builtin import frames
from edgecnn.parity import spread
from edgecnn.runtime import prepare
from edgecnn.zoo.initialize import settle

NAMES = ["mobilenet_v1", "mobilenet_v2", "resnet18", "efficientnet_lite0"]


def photos(name: str, count: int, *, check: bool) -> torch.Tensor:
    preprocessing = zoo.architecture(name).preprocessing.at(128)
    return torch.from_numpy(
        prepare.normalize(preprocessing, frames(preprocessing, count, check=check, digit_images=False))
    )


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_settled_networks_answer_depends_on_the_image(name):
    network = zoo.create(name, alpha=0.5)
    settle(network, photos(name, 16, check=False))
    logits = network(photos(name, 16, check=True)).numpy()
    assert spread(logits) > 0.3
    assert len(np.unique(logits.argmax(axis=1))) > 3


@torch.inference_mode()
def test_pytorchs_own_initialisation_would_not_do():
    """Why there is an initialisation of our own: without it the logits are the classifier's bias."""
    torch.manual_seed(0)
    network = zoo.build(zoo.architecture("mobilenet_v1")).eval()
    logits = network(photos("mobilenet_v1", 8, check=True)).numpy()
    assert spread(logits) < 1e-6


def test_settling_restores_the_momentum_and_the_mode():
    network = zoo.create("mobilenet_v1", alpha=0.25)
    settle(network, photos("mobilenet_v1", 4, check=False))
    norm = network.bn1
    assert norm.momentum == 0.1 and not norm.training and not network.training
