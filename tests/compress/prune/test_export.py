"""Pruned networks become ONNX files that compute the same."""

import pytest
import torch

from edgecnn import zoo
from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.prune_network import prune
from edgecnn.export.trace import trace
from edgecnn.quantize.graph.simplify import simplify
from edgecnn.quantize.reference import logits
from edgecnn.tasks.compare import compare
from edgecnn.zoo.initialize import settle

LONG = (
    "mobilenet_v2", "vit_tiny", "swin_tiny", "densenet121", "efficientnet_b0", "shufflenet_v1_g8",
    "resnext50_32x4d",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["shufflenet_v2_x1_0", *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)],
)
def test_a_pruned_network_exports(name):
    network = zoo.create(name, num_classes=10, resolution=64)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pruned = prune(network, images, goal=Goal.parse("macs", "0.5x")).network
    images = torch.cat([images, -images, images.flip(3), images.roll(5, 2)])
    settle(pruned, images)
    with torch.no_grad():
        reference = pruned(images).numpy()
    model = simplify(trace(pruned, images, opset=18, batch=len(images)))
    assert compare(reference, logits(model, images.numpy()), "the pruned graph").sqnr_db > 60
