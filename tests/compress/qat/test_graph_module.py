"""The exported graph in PyTorch: the same logits, gradients for every parameter, names that can be stored."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

from edgecnn import zoo
from edgecnn.compress.qat.graph_module import GraphModule
from edgecnn.errors import InvalidValueError
from edgecnn.export.trace import trace
from edgecnn.quantize.graph.simplify import simplify
from edgecnn.quantize.reference import logits

#: Network: a small resolution that it can do with.
QUICK = {"alexnet": 96, "mobilenet_v3_small": 64}
SLOW = {
    "shufflenet_v2_x1_0": 32, "vit_tiny": 32,
    "lenet_1989": 16, "vgg11": 32, "googlenet": 32, "inception_v3": 96, "densenet121": 32,
    "squeezenet1_1": 32, "mobilenet_v2": 32, "mobilenet_v4_conv_small": 32, "shufflenet_v1_g3": 32,
    "efficientnet_lite0": 32, "efficientnet_b0": 32, "mnasnet1_0": 32, "xception": 32, "nasnet_mobile": 32,
    "se_resnet50": 32, "swin_tiny": 64, "inception_v4": 96, "resnext50_32x4d": 32, "zfnet": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_of_the_zoo_computes_the_same(name):
    size = {**QUICK, **SLOW}[name]
    channels = 1 if name.startswith("lenet") else 3
    network = zoo.create(name, alpha=0.25, resolution=size, num_classes=10, in_channels=channels)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((3, channels, size, size), np.float32))
    model = simplify(trace(network, images, opset=18, batch=len(images)))
    module = GraphModule(model)
    given = module(images)
    wanted = logits(model, images.numpy())
    assert np.abs(given.detach().numpy() - wanted).max() < 1e-4 * np.abs(wanted).max()
    given.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in module.parameters() if parameter.ndim > 1)


def graph(body: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A graph from x (N, 2, 4, 4) to y."""
    shapes = "".join(
        f", float[{','.join(map(str, value.shape))}] {name}" for name, value in constants.items()
    )
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g '
        f"(float[N, 2, 4, 4] x{shapes}) => (float[N, K] y) {{ {body} }}"
    )
    del model.graph.input[1:]
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"block.{number}"
    return model


def test_gradients_are_those_of_finite_differences(rng):
    model = graph(
        "c = Conv<pads = [0, 0, 1, 0]>(x, w, b) l = LRN<size = 3>(c)"
        " p = AveragePool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(l)"
        " f = Flatten(p) y = Gemm(f, m)",
        w=rng.standard_normal((3, 2, 2, 2)),
        b=rng.standard_normal(3),
        m=rng.standard_normal((12, 2)),
    )
    module = GraphModule(model).double()
    images = torch.from_numpy(rng.standard_normal((2, 2, 4, 4))).requires_grad_()
    names, values = zip(*module.named_parameters(), strict=True)

    def function(images, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (images,))

    assert torch.autograd.gradcheck(function, (images, *values))


def test_nodes_that_read_one_constant_are_trained_apart(rng):
    weight = rng.standard_normal((2, 2, 1, 1))
    module = GraphModule(graph("c = Conv(x, w) d = Conv(c, w) y = Flatten(d)", w=weight))
    assert {name: tuple(value.shape) for name, value in module.named_parameters()} == {
        "block/0/weight": (2, 2, 1, 1),
        "block/1/weight": (2, 2, 1, 1),
    }


def test_what_is_no_weight_is_stored_but_not_trained(rng):
    module = GraphModule(graph("c = Add(x, k) y = Flatten(c)", k=rng.standard_normal((2, 1, 1))))
    assert not list(module.parameters())
    assert list(module.state_dict()) == ["k"]


def test_batch_normalization_keeps_its_statistics_in_training(rng):
    ones = np.ones(2)
    module = GraphModule(
        graph("c = BatchNormalization(x, s, s, m, v) y = Flatten(c)", s=ones, m=3 * ones, v=ones)
    )
    images = torch.from_numpy(rng.standard_normal((4, 2, 4, 4)).astype(np.float32))
    assert torch.equal(module.train()(images), module.eval()(images))
    assert sorted(name for name, _ in module.named_parameters()) == ["block/0/bias", "block/0/weight"]


def test_probabilities_at_the_end_are_left_out(rng):
    module = GraphModule(
        graph("c = Conv(x, w) f = Flatten(c) y = Softmax(f)", w=rng.standard_normal((2, 2, 4, 4)))
    )
    logits = module(torch.ones(3, 2, 4, 4))
    torch.testing.assert_close(logits, getattr(module, "block/0/weight").sum((1, 2, 3)).expand(3, 2))


def test_an_input_that_is_no_image_needs_a_value():
    model = graph("s = Mul(x, z) y = Flatten(s)")
    model.graph.input.append(onnx.helper.make_tensor_value_info("z", 1, [1]))
    with pytest.raises(InvalidValueError, match="input 'z' is no image"):
        GraphModule(model)
    torch.testing.assert_close(
        GraphModule(model, constants={"z": [3.0]})(torch.ones(2, 2, 4, 4)), torch.full((2, 32), 3.0)
    )
