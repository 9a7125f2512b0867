"""Rows of the backbones of 2020 and after; `catalog` has the others. Importing it needs no torch."""

from __future__ import annotations

from edgecnn.runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgecnn.zoo.architecture import Architecture

_REGNET = "Radosavovic et al. 2020, Designing Network Design Spaces, arXiv:2003.13678"
_REPVGG = "Ding et al. 2021, RepVGG, arXiv:2101.03697"
_EFFICIENTNET_V2 = "Tan and Le 2021, EfficientNetV2, arXiv:2104.00298"
_GHOSTNET = "Han et al. 2020, GhostNet, arXiv:1911.11907"
_CONVNEXT = "Liu et al. 2022, A ConvNet for the 2020s, arXiv:2201.03545"
_MOBILEONE = "Vasu et al. 2022, MobileOne, arXiv:2206.04040"
_MOBILENET_V4 = "Qin et al. 2024, MobileNetV4, arXiv:2404.10518"


def _bicubic(size: int = 224, crop: float = 0.875) -> Preprocessing:
    return Preprocessing(size, crop=crop, interpolation="bicubic", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _bilinear(crop: float = 0.875) -> Preprocessing:
    return Preprocessing(crop=crop, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _tensorflow(size: int) -> Preprocessing:
    half = (0.5, 0.5, 0.5)
    return Preprocessing(size, crop=1.0, interpolation="bicubic", mean=half, std=half)


#: The paper's appendix: letter, size, (depth, initial, slope, multiplier, group width), and the checkpoint.
_REGNETS = (
    ("x", "200mf", (13, 24, 36.44, 2.49, 8), "002.pycls"),
    ("x", "400mf", (22, 24, 24.48, 2.54, 16), "004_tv.tv2"),
    ("x", "600mf", (16, 48, 36.97, 2.24, 24), "006.pycls"),
    ("x", "800mf", (16, 56, 35.73, 2.28, 16), "008.tv2"),
    ("x", "1_6gf", (18, 80, 34.01, 2.25, 24), "016.tv2"),
    ("x", "3_2gf", (25, 88, 26.31, 2.25, 48), "032.tv2"),
    ("y", "200mf", (13, 24, 36.44, 2.49, 8), "002.pycls"),
    ("y", "400mf", (16, 48, 27.89, 2.09, 8), "004.tv2"),
    ("y", "600mf", (15, 48, 32.54, 2.32, 16), "006.pycls"),
    ("y", "800mf", (14, 56, 38.84, 2.4, 16), "008_tv.tv2"),
    ("y", "1_6gf", (27, 48, 20.71, 2.65, 24), "016.tv2"),
    ("y", "3_2gf", (21, 80, 42.63, 2.66, 24), "032.tv2"),
)

BACKBONES = (
    *(
        Architecture(
            f"regnet_{letter}_{size}", "RegNet", 2020, _REGNET, "edgecnn.zoo.regnet:regnet", 224,
            _bicubic(crop=0.965 if checkpoint.endswith("tv2") else 0.875),
            arguments={
                **dict(zip(("depth", "initial", "slope", "multiplier", "group_width"), shape, strict=True)),
                "squeeze": letter == "y",
            },
            imagenet=f"hf:timm/regnet{letter}_{checkpoint}_in1k@main",
        )
        for letter, size, shape, checkpoint in _REGNETS
    ),
    *(
        Architecture(
            f"repvgg_{name}", "RepVGG", 2021, _REPVGG, "edgecnn.zoo.repvgg:repvgg", 224, _bilinear(),
            arguments={"kind": name[0], "widths": widths}, imagenet=f"hf:timm/repvgg_{name}.rvgg_in1k@main",
        )
        for name, widths in (
            ("a0", (0.75, 0.75, 0.75, 2.5)), ("a1", (1.0, 1.0, 1.0, 2.5)), ("a2", (1.5, 1.5, 1.5, 2.75)),
            ("b0", (1.0, 1.0, 1.0, 2.5)), ("b1", (2.0, 2.0, 2.0, 4.0)), ("b2", (2.5, 2.5, 2.5, 5.0)),
            ("b3", (3.0, 3.0, 3.0, 5.0)),
        )
    ),
    *(
        Architecture(
            f"mobileone_{name}", "MobileOne", 2022, _MOBILEONE, "edgecnn.zoo.mobileone:mobileone", 224,
            _bilinear(crop), arguments={"widths": widths, **more},
            imagenet=f"hf:timm/mobileone_{name}.apple_in1k@main",
        )
        for name, widths, crop, more in (
            ("s0", (0.75, 1.0, 1.0, 2.0), 0.875, {"copies": 4}), ("s1", (1.5, 1.5, 2.0, 2.5), 0.9, {}),
            ("s2", (1.5, 2.0, 2.5, 4.0), 0.9, {}), ("s3", (2.0, 2.5, 3.0, 4.0), 0.9, {}),
            ("s4", (3.0, 3.5, 3.5, 4.0), 0.9, {"squeezes": (0, 0, 5, 1)}),
        )
    ),
    *(
        Architecture(
            f"convnext_{name}", "ConvNeXt", 2022, _CONVNEXT, "edgecnn.zoo.convnext:convnext", 224, _bicubic(),
            arguments={"width": width, "layers": layers, "drop": drop},
            imagenet=f"hf:timm/convnext_{name}.fb_in1k@main",
        )
        for name, width, layers, drop in (
            ("tiny", 96, (3, 3, 9, 3), 0.1), ("small", 96, (3, 3, 27, 3), 0.4),
            ("base", 128, (3, 3, 27, 3), 0.5),
        )
    ),
    *(
        Architecture(
            f"efficientnet_v2_{size}", "EfficientNet", 2021, _EFFICIENTNET_V2,
            "edgecnn.zoo.efficientnet_v2:efficientnet_v2", side, _tensorflow(side),
            arguments={"size": size, "dropout": dropout},
            imagenet=f"hf:timm/tf_efficientnetv2_{size}.in1k@main",
        )
        for size, side, dropout in (("s", 384, 0.2), ("m", 480, 0.3), ("l", 480, 0.4))
    ),
    *(
        Architecture(
            f"efficientnet_v2_b{index}", "EfficientNet", 2021, _EFFICIENTNET_V2,
            "edgecnn.zoo.efficientnet_v2:efficientnet_v2", side, _bicubic(side, crop),
            arguments={"size": "b", "dropout": 0.2, "width": width, "depth": depth},
            imagenet=f"hf:timm/tf_efficientnetv2_b{index}.in1k@main",
        )
        for index, (width, depth, side, crop) in enumerate(
            [(1.0, 1.0, 224, 0.875), (1.0, 1.1, 240, 0.882), (1.1, 1.2, 260, 0.89), (1.2, 1.4, 300, 0.904)]
        )
    ),
    Architecture(
        "ghostnet", "GhostNet", 2020, _GHOSTNET, "edgecnn.zoo.ghostnet:ghostnet", 224, _bicubic(),
        imagenet="hf:timm/ghostnet_100.in1k@main",
    ),
    *(
        Architecture(
            f"mobilenet_v4_conv_{size}", "MobileNet", 2024, _MOBILENET_V4,
            "edgecnn.zoo.mobilenet_v4:mobilenet_v4_conv", side, _bicubic(side, 0.95),
            arguments={"size": size}, imagenet=f"hf:timm/mobilenetv4_conv_{size}.{checkpoint}_in1k@main",
        )
        for size, side, checkpoint in (("medium", 256, "e500_r256"), ("large", 384, "e600_r384"))
    ),
)  # fmt: skip
