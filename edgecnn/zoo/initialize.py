"""Random weights, for training to start from and for exports to mean something.

With PyTorch's defaults a network's answer does not depend on its image: every layer shrinks the
signal, batch normalization is the identity before training, and after MobileNet's 27 layers the
logits of eight photographs differ by 1e-9. `initialize` draws weights that keep the signal's scale;
`settle` then fits an untrained network to real images, as a stand-in for training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgecnn.zoo.blocks import SqueezeExcitation


def initialize(network: nn.Module, seed: int = 0) -> None:
    """Draw new weights in place, from a generator of its own.

    Convolutions: normal with variance 2 / fan-out (He et al. 2015, arXiv:1502.01852, equation 14),
    fan-out counted within a group. Linear layers: normal with variance 1 / fan-in. Batch
    normalization: identity. Biases: zero.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] / module.groups
            nn.init.normal_(module.weight, 0.0, (2 / fan_out) ** 0.5, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, module.in_features**-0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            continue
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    reset = getattr(network, "reset_weights", None)
    if reset is not None:
        reset(generator)


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> None:
    """Make an untrained network behave like a trained one, in place, given real images (N, C, H, W).

    Every batch normalization takes its statistics from the images, and the classifier's bias centres
    each class's logit on them, so that the most probable class differs between images. The layers of a
    detector that predict give what they give in a trained one: few scores are high.

    That alone leaves a network that amplifies any disturbance from layer to layer (Yang et al. 2019,
    A Mean Field Theory of Batch Normalization, arXiv:1902.08129), which training would have unlearned:
    rounding to int8 leaves 1 dB of MobileNet's logits. So batch normalization also shifts by one
    deviation, which keeps most activations in their linear part, and depthwise filters get a mean of
    one deviation, which makes them smooth: 13 dB, near what a trained network of its kind has. The
    gates of squeeze-and-excitation start near their middle, where they let every channel through.
    Convolutions whose bias is zero get one: engines leave such a bias out, and would be timed without it.
    """
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
        elif isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.weight += module.weight.std()
        elif isinstance(module, nn.Conv2d) and module.bias is not None and not module.bias.any():
            bound = (module.weight[0].numel()) ** -0.5
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif isinstance(module, SqueezeExcitation):
            module.excite.weight *= 0.1
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    training = network.training
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average: after one batch, that batch's statistics
        norm.train()
    typical = getattr(network, "typical", None)
    if typical is None:
        _centre_classifier(network, images)
    else:
        _spread(network, images, typical)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)


def _centre_classifier(network: nn.Module, images: Tensor) -> None:
    """Run the network, and let the bias of its last layer take the mean of each channel away."""
    classifier, outputs = _run_keeping_last(network, images)
    if classifier.bias is not None:
        channels = 1 if isinstance(classifier, nn.Conv2d) else outputs.ndim - 1
        classifier.bias.sub_(outputs.mean([axis for axis in range(outputs.ndim) if axis != channels]))


def _spread(network: nn.Module, images: Tensor, typical: Mapping[str, tuple[Sequence[float], float]]) -> None:
    """Run the network, and let its layers that predict give what is typical of them.

    `typical`: by the beginning of a layer's name the mean of each column and the deviation of all. A layer
    that is called for several maps gets it over all of them.
    """
    given: dict[nn.Conv2d, list[Tensor]] = {}
    wanted: dict[nn.Conv2d, tuple[Sequence[float], float]] = {}
    hooks = []
    for name, module in network.named_modules():
        key = next((key for key in typical if f"{name}.".startswith(f"{key}.")), None)
        if key is not None and isinstance(module, nn.Conv2d) and module.bias is not None:
            given[module], wanted[module] = [], typical[key]
            hooks.append(module.register_forward_hook(lambda layer, _, out: given[layer].append(out)))
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, outputs in given.items():
        means, deviation = wanted[layer]
        values = torch.cat([item.transpose(0, 1).flatten(1) for item in outputs], 1)
        centre = values.mean(1)
        factor = deviation / (values - centre[:, None]).std().clamp_min(1e-12)
        layer.weight.mul_(factor)
        bias = layer.bias
        assert bias is not None
        columns = bias.new_tensor(means).repeat(len(bias) // len(means))
        bias.copy_((bias - centre) * factor + columns)


def _run_keeping_last(network: nn.Module, images: Tensor) -> tuple[nn.Linear | nn.Conv2d, Tensor]:
    """Run the network; return the last weighted layer that was executed, and its output."""
    last: list[tuple[nn.Linear | nn.Conv2d, Tensor]] = []

    def keep(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, (nn.Linear, nn.Conv2d))
        last[:] = [(module, out)]

    hooks = [
        m.register_forward_hook(keep) for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return last[0]
