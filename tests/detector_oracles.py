"""Detectors and segmenters of other libraries, with random weights, and their raw outputs by our names."""

import importlib
import importlib.util
import sys
import types
from functools import cache
from pathlib import Path

import pytest
import torch

#: Depth and width of the networks of YOLOX.
SIZES = {"nano": (0.33, 0.25), "tiny": (0.33, 0.375), "s": (0.33, 0.5), "m": (0.67, 0.75)}


def scattered(make):
    """A network with weights and statistics that let a mistake in any layer show; made without its own."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.8, 1.2, generator=generator)
        elif value.ndim == 4:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.normal_(1.0 if name.endswith("weight") else 0.0, 0.1, generator=generator)
        else:
            value.zero_()
    return network.eval()


def of_torchvision(torchvision, name):
    """A network of torchvision, with the heads that help in training."""
    models = torchvision.models
    segmenter = hasattr(models.segmentation, name)
    options = {"aux_loss": True} if segmenter and not name.startswith("lraspp") else {}
    make = getattr(models.segmentation if segmenter else models.detection, name)
    return make(weights=None, weights_backbone=None, **options)


def raw_outputs(network, images):
    """What torchvision's head gives for images, or YOLOX' (by tests.yolox), by our names."""
    if not hasattr(network, "head"):
        return {"logits": network(images)["out"]}
    names = {"cls_logits": "scores", "bbox_regression": "boxes", "bbox_ctrness": "centerness"}
    maps = list(network.backbone(images).values())
    return {names[key]: value for key, value in network.head(maps).items()}


@cache
def yolox_models():
    """The modules of YOLOX' reference implementation that compute: what they import besides stays away."""
    spec = importlib.util.find_spec("yolox")
    if spec is None:
        pytest.skip("YOLOX is not there: pip install --no-deps --no-build-isolation yolox")
    folder = Path(spec.submodule_search_locations[0])
    if "yolox.models.yolo_head" not in sys.modules:
        package, utils, log = (types.ModuleType(name) for name in ("yolox", "yolox.utils", "loguru"))
        package.__path__, log.logger = [str(folder)], types.SimpleNamespace(error=print, warning=print)
        for part in ("boxes", "compat"):
            part_spec = importlib.util.spec_from_file_location(
                f"yolox_{part}", folder / "utils" / f"{part}.py"
            )
            module = importlib.util.module_from_spec(part_spec)
            part_spec.loader.exec_module(module)
            vars(utils).update({key: value for key, value in vars(module).items() if key[0] != "_"})
        sys.modules |= {"yolox": package, "yolox.utils": utils, "loguru": log}
        models = types.ModuleType("yolox.models")
        models.__path__ = [str(folder / "models")]
        sys.modules["yolox.models"] = models
    return tuple(importlib.import_module(f"yolox.models.{name}") for name in ("yolo_pafpn", "yolo_head"))


class ReferenceYOLOX(torch.nn.Module):
    """Its two parts, under the names of its checkpoints."""

    def __init__(self, size, classes=80):
        super().__init__()
        (pafpn, head), (depth, width) = yolox_models(), SIZES[size]
        self.backbone = pafpn.YOLOPAFPN(depth, width, depthwise=size == "nano")
        self.head = head.YOLOXHead(classes, width, depthwise=size == "nano")
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps, module.momentum = 1e-3, 0.03

    def forward(self, images):
        """Raw outputs, by our names."""
        self.head.decode_in_inference = False
        found = self.head(self.backbone(images))
        boxes, objectness, scores = found.split([4, 1, self.head.num_classes], 2)
        # What it gives for use has passed a sigmoid.
        return {"boxes": boxes, "objectness": objectness.logit(), "scores": scores.logit()}
