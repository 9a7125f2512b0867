"""timm's checkpoints of networks that have torchvision's names load strictly, and compute the same."""

import pytest
import torch

from edgecnn import zoo
from edgecnn.errors import WeightsError
from edgecnn.parity import spread
from edgecnn.zoo.initialize import settle
from edgecnn.zoo.state_names import match

NAMES = {
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    **{f"efficientnet_b{index}": f"efficientnet_b{index}" for index in range(8)},
    "mnasnet1_0": "mnasnet_100",
    "vgg11": "vgg11",
    "vgg16_bn": "vgg16_bn",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "vit_base": "vit_base_patch16_224",
}
LONG = {*NAMES} - {"mobilenet_v3_small"}
CASES = [
    pytest.param(*item, id=item[0], marks=[pytest.mark.slow] * (item[0] in LONG)) for item in NAMES.items()
]


@pytest.mark.parametrize("name, reference", CASES)
@torch.inference_mode()
def test_their_random_weights_give_the_same_logits(name, reference, torchvision):
    import timm

    torch.manual_seed(0)
    side = {"swin_tiny": 224, "vit_base": 64}.get(name, 64)
    size = {"img_size": side} if name in ("vit_base", "swin_tiny") else {}
    theirs = timm.create_model(reference, **size).eval().double()
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    settle(theirs, images)
    expected = theirs(images)
    assert spread(expected.numpy()) > 0.1
    with torch.device("meta"):
        ours = zoo.build(zoo.architecture(name), resolution=side).eval()
    if name == "swin_tiny":  # the index is computed where the network is built
        ours = zoo.build(zoo.architecture(name), resolution=side).eval().double()
    told: list[str] = []
    state = match(ours, theirs.state_dict(), "a file", told.append)
    ours.load_state_dict(state, strict=True, assign=True)
    assert float((ours(images) - expected).abs().max() / expected.std()) < 1e-6
    assert "timm's, and were translated" in told[0]


def test_weights_for_another_padding_are_refused(torchvision):
    import timm

    with torch.device("meta"):
        state = timm.create_model("tf_efficientnet_b0").state_dict()
        network = zoo.build(zoo.architecture("efficientnet_b0"))
    with pytest.raises(WeightsError, match="TensorFlow's padding"):
        match(network, state, "hf:timm/tf_efficientnet_b0.in1k", print)
