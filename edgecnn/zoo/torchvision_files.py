"""torchvision's checkpoints: files whose names end with the first digits of their SHA-256."""

from __future__ import annotations

import textwrap
from pathlib import Path

from edgecnn.errors import WeightsError
from edgecnn.optional_packages import require

#: Where the files lie.
SERVER = "https://download.pytorch.org/models"

#: By the network, the first that torchvision published, which the catalogue's preprocessing is of.
FILES = {
    "alexnet_owt": "alexnet-owt-7be5be79.pth",
    "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    "efficientnet_b1": "efficientnet_b1_rwightman-bac287d4.pth",
    "efficientnet_b2": "efficientnet_b2_rwightman-c35c1473.pth",
    "efficientnet_b3": "efficientnet_b3_rwightman-b3899882.pth",
    "efficientnet_b4": "efficientnet_b4_rwightman-23ab8bcd.pth",
    "efficientnet_b5": "efficientnet_b5_lukemelas-1a07897c.pth",
    "efficientnet_b6": "efficientnet_b6_lukemelas-24a108a5.pth",
    "efficientnet_b7": "efficientnet_b7_lukemelas-c5b4e57e.pth",
    "googlenet_bn": "googlenet-1378be20.pth",
    "mnasnet0_5": "mnasnet0.5_top1_67.823-3ffadce67e.pth",
    "mnasnet0_75": "mnasnet0_75-7090bc5f.pth",
    "mnasnet1_0": "mnasnet1.0_top1_73.512-f206786ef8.pth",
    "mnasnet1_3": "mnasnet1_3-a4c69d6f.pth",
    "mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "mobilenet_v3_large": "mobilenet_v3_large-8738ca79.pth",
    "mobilenet_v3_small": "mobilenet_v3_small-047dcff4.pth",
    "shufflenet_v2_x0_5": "shufflenetv2_x0.5-f707e7126e.pth",
    "shufflenet_v2_x1_0": "shufflenetv2_x1-5666bf0f80.pth",
    "shufflenet_v2_x1_5": "shufflenetv2_x1_5-3c479a10.pth",
    "shufflenet_v2_x2_0": "shufflenetv2_x2_0-8be3c8ee.pth",
    "squeezenet1_0": "squeezenet1_0-b66bff10.pth",
    "squeezenet1_1": "squeezenet1_1-b8a52dc0.pth",
    "swin_tiny": "swin_t-704ceda3.pth",
    "vgg11": "vgg11-8a719046.pth",
    "vgg11_bn": "vgg11_bn-6002323d.pth",
    "vgg13": "vgg13-19584684.pth",
    "vgg13_bn": "vgg13_bn-abd245e5.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg16_bn": "vgg16_bn-6c64b313.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
    "vit_base": "vit_b_16-c867db91.pth",
}

#: Of detectors and segmenters: what they learned from COCO, the segmenters with the classes of Pascal VOC.
COCO_FILES = {
    "deeplabv3_mobilenet_v3_large": "deeplabv3_mobilenet_v3_large-fc3c493d.pth",
    "deeplabv3_resnet50": "deeplabv3_resnet50_coco-cd0a2569.pth",
    "fcn_resnet50": "fcn_resnet50_coco-1167a1af.pth",
    "fcos_resnet50_fpn": "fcos_resnet50_fpn_coco-99b0c9b7.pth",
    "lraspp_mobilenet_v3_large": "lraspp_mobilenet_v3_large-d234d4ea.pth",
    "retinanet_resnet50_fpn": "retinanet_resnet50_fpn_coco-eeacb38b.pth",
    "ssd300_vgg16": "ssd300_vgg16_coco-b556d3b4.pth",
    "ssdlite320_mobilenet_v3_large": "ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
}


def digits(file: str) -> str:
    """Return the first digits of the file's SHA-256, which its name ends with."""
    return file.removesuffix(".pth").rpartition("-")[2]


def download(file: str) -> Path:
    """Return the path of a file in torch's cache ($TORCH_HOME), fetched if it is not there.

    Raises WeightsError where it cannot be fetched, or is not what its name says.
    """
    hub = require("torch.hub", f"`weights` {file}")
    path = Path(hub.get_dir()) / "checkpoints" / file
    if path.is_file():
        return path
    url = f"{SERVER}/{file}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(path), digits(file), progress=False)
    except (OSError, RuntimeError) as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        raise WeightsError(
            f"cannot get {url}: {reason}", hint=f"check the network, or put the file there: {path}"
        ) from error
    return path
