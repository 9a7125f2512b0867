"""Rows of the detectors and segmenters. Importing it needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from edgecnn.errors import InvalidValueError
from edgecnn.runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edgecnn.zoo import head_settings
from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.torchvision_files import COCO_FILES

_SSD = "Liu et al. 2015, SSD: Single Shot MultiBox Detector, arXiv:1512.02325"
_SSDLITE = "Sandler et al. 2018, MobileNetV2, arXiv:1801.04381"
_RETINANET = "Lin et al. 2017, Focal Loss for Dense Object Detection, arXiv:1708.02002"
_FCOS = "Tian et al. 2019, FCOS, arXiv:1904.01355"
_YOLOX = "Ge et al. 2021, YOLOX, arXiv:2107.08430"
_FCN = "Long et al. 2014, Fully Convolutional Networks, arXiv:1411.4038"
_DEEPLAB = "Chen et al. 2017, Rethinking Atrous Convolution, arXiv:1706.05587"
_LRASPP = "Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244"
_UNET = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"

_HEADS = "edgecnn.zoo.heads"
#: ImageNet's mean, as the grey level around a picture.
_MEAN_PAD = (124, 116, 104)
_HALF = (0.5, 0.5, 0.5)


def _letterbox(size: int) -> Preprocessing:
    return Preprocessing(size, fit="letterbox", pad=_MEAN_PAD, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _stretch(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    return Preprocessing(size, fit="stretch", mean=mean, std=std)


def _corner(size: int) -> Preprocessing:
    """YOLOX' own: pixels as OpenCV gives them, at the upper left."""
    return Preprocessing(
        size, fit="letterbox-corner", interpolation="opencv-bilinear", color="bgr", pixels=255
    )


def _row(name: str, family: str, year: int, paper: str, build: str, **more: Any) -> Architecture:
    preprocessing: Preprocessing = more.pop("preprocessing")
    coco = f"torchvision:{COCO_FILES[name]}" if name in COCO_FILES else None
    return Architecture(
        name, family, year, paper, f"{_HEADS}.{build}", preprocessing.height, preprocessing, coco=coco, **more
    )


def _detector(name: str, *row: Any, **more: Any) -> Architecture:
    """Return a detector of COCO's 80 classes."""
    return _row(name, *row, task="detection", labels="coco", **{"num_classes": 80, **more})


def _segmenter(name: str, *row: Any, **more: Any) -> Architecture:
    """Return a segmenter of the 20 classes of Pascal VOC and a background."""
    said = {"task": "segmentation", "labels": "voc", "num_classes": 21, "needs_resolution": True}
    return _row(name, *row, **{**said, **more})


def _over(backbone: str) -> dict[str, Any]:
    """Return what makes a row one over any backbone."""
    return {"arguments": {"backbone": backbone}, "backbone": backbone, "needs_resolution": True}


#: Of heads that torchvision trained on 91 columns, with a background and numbers that no category has.
_COLUMNS = {"classes": head_settings.COCO_COLUMNS}

HEADS = (
    _detector(
        "ssd300_vgg16", "SSD", 2015, _SSD, "ssd:ssd300_vgg16",
        preprocessing=_stretch(300, (0.48235, 0.45882, 0.40784), (1 / 255,) * 3),
        num_classes=90, decoder={**head_settings.SSD300, **_COLUMNS},
    ),
    _detector(
        "ssd", "SSD", 2015, _SSD, "ssd:ssd", preprocessing=_letterbox(300), decoder=head_settings.SSD,
        **_over("resnet18"),
    ),
    _detector(
        "ssdlite320_mobilenet_v3_large", "SSD", 2019, _LRASPP, "ssdlite:ssdlite",
        preprocessing=_stretch(320, _HALF, _HALF), num_classes=90, needs_resolution=True,
        arguments={"backbone": "mobilenet_v3_large", "reduced": True},
        decoder={**head_settings.SSDLITE, **_COLUMNS},
    ),
    _detector(
        "ssdlite", "SSD", 2018, _SSDLITE, "ssdlite:ssdlite", preprocessing=_letterbox(320),
        decoder=head_settings.SSDLITE, **_over("mobilenet_v2"),
    ),
    _detector(
        "retinanet_resnet50_fpn", "RetinaNet", 2017, _RETINANET, "retinanet:retinanet",
        preprocessing=_letterbox(800), num_classes=91, needs_resolution=True,
        arguments={"backbone": "resnet50"}, decoder={**head_settings.RETINANET, **_COLUMNS},
    ),
    _detector(
        "retinanet", "RetinaNet", 2017, _RETINANET, "retinanet:retinanet", preprocessing=_letterbox(512),
        decoder=head_settings.RETINANET, **_over("resnet18"),
    ),
    _detector(
        "fcos_resnet50_fpn", "FCOS", 2019, _FCOS, "fcos:fcos", preprocessing=_letterbox(800),
        num_classes=91, needs_resolution=True, arguments={"backbone": "resnet50"},
        decoder={**head_settings.FCOS, **_COLUMNS},
    ),
    _detector(
        "fcos", "FCOS", 2019, _FCOS, "fcos:fcos", preprocessing=_letterbox(512), decoder=head_settings.FCOS,
        **_over("resnet18"),
    ),
    *(
        _detector(
            f"yolox_{size}", "YOLOX", 2021, _YOLOX, "yolox:yolox_darknet", preprocessing=_corner(side),
            arguments={"depth": depth, "width": width, "depthwise": size == "nano"},
            decoder=head_settings.YOLOX,
        )
        for size, depth, width, side in (
            ("nano", 0.33, 0.25, 416), ("tiny", 0.33, 0.375, 416),
            ("s", 0.33, 0.5, 640), ("m", 0.67, 0.75, 640),
        )
    ),
    _detector(
        "yolox", "YOLOX", 2021, _YOLOX, "yolox:yolox", preprocessing=_letterbox(416),
        decoder=head_settings.YOLOX,
        **_over("mobilenet_v2"),
    ),
    _segmenter(
        "fcn_resnet50", "FCN", 2014, _FCN, "fcn:fcn", preprocessing=_letterbox(520),
        arguments={"backbone": "resnet50"},
    ),
    _segmenter(
        "deeplabv3_resnet50", "DeepLab", 2017, _DEEPLAB, "deeplabv3:deeplabv3", preprocessing=_letterbox(520),
        arguments={"backbone": "resnet50"},
    ),
    _segmenter(
        "deeplabv3_mobilenet_v3_large", "DeepLab", 2019, _DEEPLAB, "deeplabv3:deeplabv3_mobilenet_v3_large",
        preprocessing=_letterbox(520),
    ),
    _segmenter(
        "lraspp_mobilenet_v3_large", "LR-ASPP", 2019, _LRASPP, "lraspp:lraspp_mobilenet_v3_large",
        preprocessing=_letterbox(520),
    ),
    *(
        _segmenter(name, family, year, paper, build, preprocessing=_letterbox(side), **_over(backbone))
        for name, family, year, paper, build, side, backbone in (
            ("fcn", "FCN", 2014, _FCN, "fcn:fcn", 256, "resnet18"),
            ("deeplabv3", "DeepLab", 2017, _DEEPLAB, "deeplabv3:deeplabv3", 256, "resnet18"),
            ("lraspp", "LR-ASPP", 2019, _LRASPP, "lraspp:lraspp", 256, "mobilenet_v2"),
            ("unet", "U-Net", 2015, _UNET, "unet:unet", 256, "resnet18"),
        )
    ),
)  # fmt: skip


def over(row: Architecture, backbone: Architecture, known: Iterable[Architecture]) -> Architecture:
    """Return a head's row over another backbone; `known` are all rows, of which the error names the heads.

    Raises InvalidValueError for what is no head or backbone.
    """
    if row.backbone is None:
        heads = ", ".join(item.name for item in known if item.backbone is not None)
        raise InvalidValueError(
            f"{row.name} has no backbone that could be another", hint=f"`backbone` is for: {heads}"
        )
    if backbone.task != "classification":
        raise InvalidValueError(
            f"{backbone.name} is no backbone: it has a head of its own", hint="a classifier, as mobilenet_v2"
        )
    own = backbone.preprocessing
    return dataclasses.replace(
        row,
        backbone=backbone.name,
        arguments={**row.arguments, "backbone": backbone.name},
        preprocessing=dataclasses.replace(
            row.preprocessing, mean=own.mean, std=own.std, color=own.color, pixels=own.pixels
        ),
    )
