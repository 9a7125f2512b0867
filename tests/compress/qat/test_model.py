"""The network in training is the int8 file, before and after; and training repairs what rounding broke."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from edgecnn import zoo
from edgecnn.compress.qat.quantized_network import QuantizedModule
from edgecnn.compress.qat.train_quantized import LEARNING_RATE
from edgecnn.compress.train import optimizer as optimizers
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data.builtin import digits
from edgecnn.export.trace import trace
from edgecnn.quantize.effort_levels import FITTED, PLAIN
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.simplify import simplify
from edgecnn.quantize.placement.remove_qdq import to_scheme
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.reference import logits
from edgecnn.schemes import CPU, PORTABLE
from edgecnn.tasks.compare import compare

#: Name: width.
NETWORKS = {"lenet5": 1.0, "mobilenet_v1": 0.25, "resnet18": 0.125}
#: Epochs: of the one whose accuracy is looked at, and of the others.
ACCURATE, EPOCHS = "resnet18", (3, 1)
SCHEMES = pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)


def groups_of(module, rate: float = LEARNING_RATE) -> list[dict]:
    return optimizers.make([module], TrainOptions(weight_decay=1e-4), rate).param_groups


def fit(module, images, labels, groups, epochs, seed=0):
    """A minimal loop: cross-entropy, AdamW, a cosine to zero."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(groups)
    steps = epochs * (len(images) // 32)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    module.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator)[: len(images) // 32 * 32].split(32):
            optimizer.zero_grad()
            F.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


@pytest.fixture(scope="module")
def data():
    """Digits of 32 x 32 pixels: training images and labels, then those of the check."""
    images, labels = digits()
    # No pixel may lie on the border between two integers, where a last bit would decide.
    inputs = torch.from_numpy(images.astype(np.float32) / 255 - 0.31)[:, None]
    inputs = F.interpolate(inputs, size=(32, 32), mode="bilinear")
    classes = torch.from_numpy(labels)
    return inputs[::2], classes[::2], inputs[1::2], classes[1::2]


@pytest.fixture(scope="module")
def graphs(data):
    """Float graphs of networks that were trained on digits for a few epochs."""
    images, labels, *_ = data
    made = {}
    for name, alpha in NETWORKS.items():
        network = zoo.create(name, alpha=alpha, in_channels=1, num_classes=10, resolution=32)
        groups = [{"params": network.parameters(), "lr": 1e-2 if alpha < 1 else 3e-3}]
        fit(network, images, labels, groups, EPOCHS[name != ACCURATE])
        made[name] = simplify(trace(network, images[:2], opset=18, batch=None))
    return made


@pytest.fixture(scope="module")
def quantized(graphs, data):
    """Return a function that quantizes one of `graphs`, once."""

    made = {}

    def make(name, scheme, recipe=PLAIN):
        key = name, scheme.name, recipe.name
        if key not in made:
            made[key] = Quantizer(graphs[name], lambda: [data[0][:64].numpy()], scheme)(recipe)
        return made[key]

    return make


def as_written(model: onnx.ModelProto, images: torch.Tensor) -> np.ndarray:
    """What the file says: ONNX Runtime without its optimizer, which rounds the portable form's biases."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


def simulated(module, images):
    with torch.inference_mode():
        return module(images).numpy()


def constants(model):
    return {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", NETWORKS)
@SCHEMES
def test_before_training_it_computes_what_the_file_computes(name, scheme, quantized, data):
    start = quantized(name, scheme)
    parity = compare(as_written(start.model, data[2]), simulated(QuantizedModule(start), data[2]), "it")
    assert parity.top1_agreement >= 0.995
    assert parity.sqnr_db > 35


@pytest.mark.parametrize("recipe", [PLAIN, FITTED], ids=lambda recipe: recipe.name)
@SCHEMES
def test_untrained_it_gives_the_same_file_back(recipe, scheme, quantized):
    start = quantized("lenet5", scheme, recipe)
    assert constants(QuantizedModule(start).to_quantized().model) == constants(start.model)


@pytest.mark.parametrize("name", NETWORKS)
@SCHEMES
def test_after_training_the_file_computes_what_was_trained(name, scheme, quantized, data):
    start = quantized(name, scheme)
    module = QuantizedModule(start)
    fit(module, data[0][:256], data[1][:256], groups_of(module), 1)
    trained = module.to_quantized()
    onnx.checker.check_model(trained.model, full_check=True)
    parity = compare(as_written(trained.model, data[2]), simulated(module, data[2]), "it")
    assert parity.top1_agreement >= 0.995
    assert parity.sqnr_db > 35
    changed = [
        name for name, value in constants(trained.model).items() if value != constants(start.model)[name]
    ]
    for kind in ("weight_quantized", "weight_scale", "_scale"):
        assert any(name.endswith(kind) for name in changed), kind
    assert trained.recipe.name == "plain, quantization-aware training"


@SCHEMES
def test_onnx_runtime_computes_the_trained_file_in_integers(scheme, quantized, data):
    module = QuantizedModule(quantized("lenet5", scheme))
    fit(module, data[0][:256], data[1][:256], groups_of(module), 1)
    parity = compare(logits(module.to_quantized().model, data[2].numpy()), simulated(module, data[2]), "it")
    assert parity.top1_agreement >= 0.995 and parity.sqnr_db > 35


def spread(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function, with the channels between each block's two convolutions far apart in size."""
    result = copy.deepcopy(model)
    graph, rng = Graph(result), np.random.default_rng(0)
    for node in graph.nodes:
        relu = graph.only_consumer(node.output[0]) if node.op_type == "Conv" else None
        after = graph.only_consumer(relu.output[0]) if relu is not None and relu.op_type == "Relu" else None
        if after is None or after.op_type != "Conv":
            continue
        weight, following = graph.constant(node.input[1]), graph.constant(after.input[1])
        factor = np.exp2(rng.uniform(-4, 4, len(weight))).astype(np.float32)
        graph.set_constant(node.input[1], weight * factor[:, None, None, None])
        graph.set_constant(node.input[2], graph.constant(node.input[2]) * factor)
        graph.set_constant(after.input[1], following / factor[None, :, None, None])
    return result


@SCHEMES
def test_training_repairs_what_rounding_to_nearest_broke(scheme, graphs, data):
    images, labels, checks, classes = data
    float_model = spread(graphs[ACCURATE])
    start = Quantizer(float_model, lambda: [images[:64].numpy()], scheme)(PLAIN)
    module = QuantizedModule(start)
    fit(module, images, labels, groups_of(module), 2)

    def accuracy(model):
        return float(np.mean(logits(model, checks.numpy()).argmax(axis=1) == classes.numpy()))

    lost = accuracy(float_model) - accuracy(start.model)
    left = accuracy(float_model) - accuracy(module.to_quantized().model)
    assert lost > 0.04, "rounding broke nothing"
    assert left < lost / 2


@SCHEMES
def test_the_other_scheme_follows_without_images(scheme, quantized, data):
    other = CPU if scheme is PORTABLE else PORTABLE
    start = quantized("lenet5", scheme)
    module = QuantizedModule(start)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "log_" in name and parameter.ndim == 0:
                parameter.fill_(0.1)
    trained = module.to_quantized()
    for tensor in start.placement.observed:
        for known in (scheme, other):
            before, after = start.ranges[tensor][known.name], trained.ranges[tensor][known.name]
            assert after[1] == pytest.approx(before[1] * np.exp(0.1), rel=0.01), (tensor, known.name)
    converted, _ = to_scheme(trained.model, trained.to_json(), other)
    parity = compare(logits(trained.model, data[2].numpy()), logits(converted, data[2].numpy()), "it")
    assert parity.sqnr_db > 25


def test_a_tensor_that_is_left_to_saturation_stays_within_its_clip(graphs, data):
    """Beyond ReLU6's bounds ONNX Runtime could not drop the clip, and would compute the layer in float."""
    narrow = Quantizer(graphs["mobilenet_v1"], lambda: [data[0][:64].numpy()], CPU, "percentile")
    module = QuantizedModule(narrow(PLAIN))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("log_scale") and parameter.ndim == 0:
                parameter.fill_(3.0)
    trained = module.to_quantized()
    graph = Graph(trained.float_model)
    clipped = [node.output[0] for node in graph.nodes if node.op_type == "Clip"]
    assert clipped
    for tensor in clipped:
        assert trained.ranges[tensor]["cpu"] == (0.0, pytest.approx(6.0))


@SCHEMES
def test_a_layer_left_in_float_is_trained_and_stays_float(scheme, graphs, data):
    quantizer = Quantizer(graphs["resnet18"], lambda: [data[0][:64].numpy()], scheme)
    layer = quantizer(PLAIN).placement.compute[3].name
    start = quantizer(PLAIN, {layer: "by choice"})
    module = QuantizedModule(start)
    parity = compare(as_written(start.model, data[2]), simulated(module, data[2]), "it")
    assert parity.sqnr_db > 35
    fit(module, data[0][:64], data[1][:64], groups_of(module), 1)
    trained = module.to_quantized()
    assert trained.float_nodes == start.float_nodes
    weights = [
        Graph(result.model).constant(
            next(node for node in result.model.graph.node if node.name == layer).input[1]
        )
        for result in (start, trained)
    ]
    assert weights[1].dtype == np.float32 and not np.array_equal(*weights)


def test_tensors_of_one_scale_share_their_parameter(quantized):
    start = quantized("resnet18", PORTABLE)
    module = QuantizedModule(start)
    scales = [
        name for name, value in module.named_parameters() if name.endswith("log_scale") and value.ndim == 0
    ]
    groups = {start.placement.shares.get(tensor, tensor) for tensor in start.placement.tensors}
    assert len(groups) < len(start.placement.tensors), "there is a group"
    assert len(scales) == len(groups)


def test_scales_learn_faster_than_weights_and_do_not_decay(quantized):
    module = QuantizedModule(quantized("lenet5", CPU))
    groups = groups_of(module, 0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
    decays = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    for name, value in module.named_parameters():
        assert (decays[id(value)] > 0) == name.endswith("weight"), name
        assert rates[id(value)] == (50.0 if "log_" in name else 0.5), name


def test_a_copy_learns_apart(quantized, data):
    module = QuantizedModule(quantized("lenet5", CPU))
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    assert constants(module.to_quantized().model) == constants(module.quantized.model)
    assert constants(other.to_quantized().model) != constants(module.quantized.model)
    np.testing.assert_allclose(
        simulated(other, data[2][:8]), as_written(other.to_quantized().model, data[2][:8]), rtol=0.2, atol=0.2
    )


def test_a_network_is_trained_on_from_where_it_was(quantized):
    start = quantized("lenet5", CPU)
    once = QuantizedModule(start).to_quantized()
    twice = QuantizedModule(once).to_quantized()
    assert twice.recipe.name == once.recipe.name
    assert constants(twice.model) == constants(start.model)
