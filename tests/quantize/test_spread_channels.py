"""A trained network whose channels were spread, its function unchanged: equalization brings int8 back."""

import copy

import numpy as np
import onnx
import pytest
import torch
from rewrites import run
from torch import nn

from edgecnn.data.builtin import digits
from edgecnn.export.trace import trace
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.ranges import calibrate, range_methods
from edgecnn.quantize.repair.equalize import equalize, statistics
from edgecnn.quantize.repair.repair_layer import LayerRepair
from edgecnn.quantize.repair.walk import walk
from edgecnn.schemes import CPU, PORTABLE


def block(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Small(nn.Module):
    """MobileNetV2 in little: a stem, a depthwise layer, a linear bottleneck, one residual block, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(1, 16, 3))
        self.depthwise = nn.Sequential(*block(16, 16, 3, groups=16))
        self.bottleneck = nn.Sequential(*block(16, 16))
        self.expand = nn.Sequential(*block(16, 48))
        self.depthwise2 = nn.Sequential(*block(48, 48, 3, groups=48))
        self.project = nn.Sequential(*block(48, 16))
        self.head = nn.Sequential(*block(16, 64))
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.depthwise(torch.relu(self.stem(x))))
        x = self.bottleneck(x)
        x = x + self.project(torch.relu(self.depthwise2(torch.relu(self.expand(x)))))
        return self.classifier(torch.relu(self.head(x)).mean((2, 3)))


#: Layers whose outputs are one set of channels, and the layers that read them.
PAIRS = [
    (["stem"], ["depthwise"]),
    (["depthwise"], ["bottleneck"]),
    (["bottleneck", "project"], ["expand", "head"]),
    (["expand"], ["depthwise2"]),
    (["depthwise2"], ["project"]),
    (["head"], ["classifier"]),
]


def spread(network: Small) -> Small:
    """The same function, with channels that differ by up to 2^8."""
    result = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for made, read in PAIRS:
            norms = [getattr(result, name)[1] for name in made]
            factors = 2.0 ** torch.randint(-4, 5, (norms[0].num_features,), generator=generator)
            for norm in norms:
                norm.weight *= factors
                norm.bias *= factors
            for name in read:
                layer = getattr(result, name)
                layer = layer if isinstance(layer, nn.Linear) else layer[0]
                depthwise = layer.weight.shape[1] == 1
                shape = [-1 if axis == (0 if depthwise else 1) else 1 for axis in range(layer.weight.ndim)]
                layer.weight /= factors.reshape(shape)
    return result


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = digits()
    return (pixels[:, None] / 127.5 - 1).astype(np.float32), labels


#: Of training: how much equalization wins or costs an even network differs from one to the next.
SEEDS = ((0,), pytest.param((0, 1, 2), marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seeds: f"{len(seeds)} trained")
def trained(request, data) -> list[dict[str, onnx.ModelProto]]:
    return [train(data, seed) for seed in request.param]


@pytest.fixture(scope="module")
def models(trained) -> dict[str, onnx.ModelProto]:
    return trained[0]


def train(data, seed: int) -> dict[str, onnx.ModelProto]:
    images, labels = (torch.from_numpy(part[::2]) for part in data)
    torch.manual_seed(seed)
    network = Small().train()
    rounds, batch = 6, 32
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-2, total_steps=rounds * (len(images) // batch)
    )
    for _ in range(rounds):
        order = torch.randperm(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            part = order[start : start + batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[part]), labels[part]).backward()
            optimizer.step()
            schedule.step()
    network.eval()
    return {
        name: prepare(trace(item, images[:2], opset=18, batch=None))
        for name, item in {"plain": network, "spread": spread(network)}.items()
    }


def evened(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    seen = calibrate.observe(model, [], [images], channels=statistics(model))
    return equalize(model, seen.channels).model


def quality(model: onnx.ModelProto, data, scheme) -> float:
    """Signal to quantization noise of the logits on the digits that did not calibrate, in dB."""
    known, unseen = data[0][::2][:256], data[0][1::2]
    placement = place(Graph(model), scheme)
    observers = calibrate.observe(model, placement.observed, [known])
    chosen = placement.ranges(
        {
            name: range_methods.choose(item, "mse", symmetric=scheme.symmetric, levels=scheme.levels)
            for name, item in observers.items()
        }
    )
    repaired, weights = walk(model, placement, chosen, scheme, known, LayerRepair())
    quantized = write_qdq.insert(repaired, placement, chosen, scheme, weights)
    expected = run(model, unseen).astype(np.float64)
    return float(10 * np.log10(np.sum(expected**2) / np.sum((run(quantized, unseen) - expected) ** 2)))


def test_the_network_is_trained_and_all_three_compute_the_same(models, data):
    images, labels = data[0][1::2], data[1][1::2]
    expected = run(models["plain"], images)
    assert np.mean(expected.argmax(axis=1) == labels) > 0.9
    largest = np.abs(expected).max()
    for model in (models["spread"], evened(models["spread"], images[:64]), evened(models["plain"], images)):
        assert np.abs(run(model, images) - expected).max() <= 1e-5 * largest


@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
def test_spread_channels_ruin_int8_until_they_are_equalized(trained, data, scheme):
    known = data[0][::2][:256]
    lost = []
    for models in trained:
        plain = quality(models["plain"], data, scheme)
        ruined = quality(models["spread"], data, scheme)
        again = quality(evened(models["spread"], known), data, scheme)
        helped = quality(evened(models["plain"], known), data, scheme)
        print(
            f"{scheme.name}: plain {plain:.1f}, spread {ruined:.1f}, equalized {again:.1f}, both {helped:.1f}"
        )
        assert ruined < plain - 8
        # With the same done to both networks they are alike.
        assert again > helped - 1
        lost.append(plain - again)
    # Against the even network as it was, equalizing wins with one training and costs with another.
    assert max(lost) < 2 and (len(lost) == 1 or np.mean(lost) < 1)
