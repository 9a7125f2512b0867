"""Losses of detectors and segmenters are those of torchvision and of YOLOX."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detector_oracles import ReferenceYOLOX

from edgecnn.compress.heads.centerness import CenternessLoss
from edgecnn.compress.heads.focal import FocalLoss
from edgecnn.compress.heads.multibox import MultiBoxLoss
from edgecnn.compress.heads.pixels import PixelLoss
from edgecnn.compress.heads.simota import SimOTALoss
from edgecnn.compress.heads.truth import Truth
from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes
from edgecnn.zoo import head_settings

SIZE, CLASSES = Size(96, 128), 5
#: Of objects in five images: many, one, none, small ones, and two that overlap.
IMAGES = (
    [(3, 4, 60, 70), (50, 20, 120, 90), (10, 10, 30, 25), (0, 0, 127, 95)],
    [(40, 40, 44, 43)],
    [],
    [(1, 1, 9, 9), (100, 70, 110, 81), (64, 32, 72, 40)],
    [(20, 20, 80, 80), (22, 18, 84, 78)],
)


def strided(*strides):
    return [[-(-SIZE.height // step), -(-SIZE.width // step)] for step in strides]


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return [
        Boxes(np.array(rows, np.float32).reshape(-1, 4), rng.integers(0, CLASSES, len(rows)))
        for rows in IMAGES
    ]


@pytest.fixture
def truths(labels):
    return Truth.of(labels)


def targets(truths, background=0):
    return [{"boxes": item.corners, "labels": item.classes + background} for item in truths]


def random(*shape, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(len(shape) + shape[-1])
    values = torch.randn(len(IMAGES), *shape, generator=generator) * scale + shift
    return values.requires_grad_()


def same(ours, theirs, outputs):
    """Values and gradients."""
    assert ours.item() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    leaves = list(outputs.values())
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, retain_graph=True, allow_unused=True),
        torch.autograd.grad(theirs, leaves, retain_graph=True, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_multibox(truths, detectors):
    detection = detectors.models.detection
    settings = {**head_settings.SSDLITE, "grids": strided(16, 32, 64, 128, 256, 512)}
    loss = MultiBoxLoss(settings, SIZE)
    count = len(loss.anchors)
    outputs = {"scores": random(count, CLASSES + 1), "boxes": random(count, 4)}
    with torch.device("meta"):
        network = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    found = []
    for item in targets(truths, 1):
        if not len(item["boxes"]):
            found.append(torch.full((count,), -1))
        else:
            found.append(network.proposal_matcher(detectors.ops.box_iou(item["boxes"], loss.anchors)))
    theirs = network.compute_loss(
        targets(truths, 1), {"bbox_regression": outputs["boxes"], "cls_logits": outputs["scores"]},
        [loss.anchors] * len(truths), found,
    )  # fmt: skip
    same(loss(outputs, truths), sum(theirs.values()), outputs)


def test_focal(truths, detectors):
    detection = detectors.models.detection
    settings = {**head_settings.RETINANET, "grids": strided(8, 16, 32, 64, 128)}
    loss = FocalLoss(settings, SIZE)
    count = len(loss.anchors)
    outputs = {"scores": random(count, CLASSES), "boxes": random(count, 4)}
    with torch.device("meta"):
        network = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None)
    theirs = network.compute_loss(
        targets(truths), {"bbox_regression": outputs["boxes"], "cls_logits": outputs["scores"]},
        [loss.anchors] * len(truths),
    )  # fmt: skip
    same(loss(outputs, truths), sum(theirs.values()), outputs)


def test_centerness(truths, detectors):
    detection = detectors.models.detection
    settings = {**head_settings.FCOS, "grids": strided(8, 16, 32, 64, 128)}
    loss = CenternessLoss(settings, SIZE)
    count = len(loss.anchors)
    outputs = {
        "scores": random(count, CLASSES), "boxes": random(count, 4, scale=0.5, shift=3.0),
        "centerness": random(count, 1),
    }  # fmt: skip
    with torch.device("meta"):
        network = detection.fcos_resnet50_fpn(weights=None, weights_backbone=None)
    names = {"cls_logits": "scores", "bbox_regression": "boxes", "bbox_ctrness": "centerness"}
    theirs = network.compute_loss(
        targets(truths), {key: outputs[name] for key, name in names.items()},
        [loss.anchors] * len(truths), list(loss.per_level),
    )  # fmt: skip
    same(loss(outputs, truths), sum(theirs.values()), outputs)


def test_simota(truths, torchvision):
    head = ReferenceYOLOX("nano", CLASSES).head
    settings = {**head_settings.YOLOX, "grids": strided(8, 16, 32)}
    loss = SimOTALoss(settings, SIZE)
    count = len(loss.anchors)
    outputs = {
        "boxes": near(truths, loss.anchors), "objectness": random(count, 1, shift=-2.0),
        "scores": random(count, CLASSES, shift=-1.0),
    }  # fmt: skip
    strides = loss.anchors[None, :, 2]
    raw = outputs["boxes"]
    decoded = torch.cat(
        [(raw[..., :2] + loss.anchors[:, :2]) * strides[..., None], raw[..., 2:].exp() * strides[..., None]],
        2,
    )
    labels = torch.zeros(len(truths), 4, 5)
    for row, item in enumerate(truths):
        sides = item.corners[:, 2:] - item.corners[:, :2]
        labels[row, : len(item)] = torch.cat(
            [item.classes[:, None], item.corners[:, :2] + sides / 2, sides], 1
        )
    theirs = head.get_losses(
        None, [loss.anchors[None, :, 0]], [loss.anchors[None, :, 1]], [strides], labels,
        torch.cat([decoded, outputs["objectness"], outputs["scores"]], 2), [], torch.float32,
    )  # fmt: skip
    same(loss(outputs, truths), theirs[0], outputs)


def test_simota_is_the_papers_written_out(truths):
    """One pair of place and object after the other, without YOLOX' own code: where that is not installed."""
    settings = {**head_settings.YOLOX, "grids": strided(8, 16, 32)}
    loss = SimOTALoss(settings, SIZE)
    count = len(loss.anchors)
    outputs = {
        "boxes": near(truths, loss.anchors), "objectness": random(count, 1, shift=-2.0),
        "scores": random(count, CLASSES, shift=-1.0),
    }  # fmt: skip
    total, chosen = torch.zeros(()), 0
    for row, truth in enumerate(truths):
        image = {name: values[row] for name, values in outputs.items()}
        found, places = written_out(image, truth, loss.anchors)
        total, chosen = total + found, chosen + places
    same(loss(outputs, truths), total / max(1, chosen), outputs)


def near(truths, anchors):
    """Raw boxes that lie about objects of their image, so that an object has several places to choose."""
    raw = random(len(anchors), 4, scale=0.15).detach()
    strides = anchors[:, 2:]
    for row, truth in enumerate(truths):
        if len(truth):
            corners = truth.corners[torch.arange(len(anchors)) % len(truth)]
            middles, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
            raw[row] += torch.cat([middles / strides - anchors[:, :2], (sides / strides).log()], 1)
    return raw.requires_grad_()


def written_out(image, truth, anchors):
    """The loss of one image, and at how many places an object was looked for."""
    cells, strides = anchors[:, :2], anchors[:, 2]
    middles = (image["boxes"][:, :2] + cells) * strides[:, None]
    sides = image["boxes"][:, 2:].exp() * strides[:, None]
    corners = torch.cat([middles - sides / 2, middles + sides / 2], 1)
    cost, share = {}, {}
    for place, (cell, stride) in enumerate(zip(cells, strides, strict=True)):
        point = (cell + 0.5) * stride
        inside = [bool(((box[:2] < point) & (point < box[2:])).all()) for box in truth.corners]
        near = [bool(((box[:2] + box[2:]) / 2 - point).abs().max() < 2.5 * stride) for box in truth.corners]
        if any(inside) or any(near):
            for item, (box, kind) in enumerate(zip(truth.corners, truth.classes, strict=True)):
                share[place, item] = iou(corners[place], box)
                sure = (image["scores"][place].sigmoid() * image["objectness"][place].sigmoid()).sqrt()
                wanted = F.one_hot(kind, CLASSES).float()
                cost[place, item] = float(
                    F.binary_cross_entropy(sure, wanted, reduction="sum")
                    - 3 * torch.log(share[place, item] + 1e-8)
                    + 1e5 * (not (inside[item] and near[item]))
                )
    takers = {}
    places = sorted({place for place, _ in cost})
    for item in range(len(truth)):
        best = sorted((float(share[place, item]) for place in places), reverse=True)[:10]
        for place in sorted(places, key=lambda place: cost[place, item])[: max(1, int(sum(best)))]:
            takers.setdefault(place, []).append(item)
    there, total = torch.zeros(len(anchors)), torch.zeros(())
    for place, items in takers.items():
        item = items[0] if len(items) == 1 else min(range(len(truth)), key=lambda one: cost[place, one])
        there[place] = 1
        wanted = F.one_hot(truth.classes[item], CLASSES) * share[place, item].detach()
        total = total + F.binary_cross_entropy_with_logits(image["scores"][place], wanted, reduction="sum")
        total = total + 5 * (1 - share[place, item] ** 2)
    objectness = image["objectness"][:, 0]
    return total + F.binary_cross_entropy_with_logits(objectness, there, reduction="sum"), len(takers)


def iou(left, right):
    low, high = torch.maximum(left[:2], right[:2]), torch.minimum(left[2:], right[2:])
    shared = (high - low).clamp_min(0).prod()
    return shared / ((left[2:] - left[:2]).prod() + (right[2:] - right[:2]).prod() - shared)


def test_pixels():
    logits, other = random(CLASSES, 6, 8), random(CLASSES, 6, 8, scale=2.0)
    masks = torch.randint(0, CLASSES, (len(IMAGES), 6, 8), generator=torch.Generator().manual_seed(0))
    masks[0, 0] = 255
    wanted = F.cross_entropy(logits, masks, ignore_index=255)
    same(PixelLoss()(logits, masks), wanted, {"logits": logits})
    helped = wanted + 0.5 * F.cross_entropy(other, masks, ignore_index=255)
    same(PixelLoss()((logits, other), masks), helped, {"logits": logits, "other": other})
    nothing = torch.full_like(masks, 255)
    assert PixelLoss()(logits, nothing) == 0


@pytest.mark.parametrize(
    ("kind", "settings", "strides"),
    [
        (MultiBoxLoss, head_settings.SSDLITE, (16, 32, 64, 128, 256, 512)),
        (FocalLoss, head_settings.RETINANET, (8, 16, 32, 64, 128)),
        (CenternessLoss, head_settings.FCOS, (8, 16, 32, 64, 128)),
        (SimOTALoss, head_settings.YOLOX, (8, 16, 32)),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_what_lies_in_a_crowd_costs_nothing(kind, settings, strides):
    """An image that is all crowd teaches nothing; one without objects teaches that nothing is there."""
    loss = kind({**settings, "grids": strided(*strides)}, SIZE)
    count = len(loss.anchors)
    columns = CLASSES + (kind is MultiBoxLoss)
    outputs = {
        name: torch.full((1, count, width), 0.1)
        for name, width in (("scores", columns), ("boxes", 4), ("centerness", 1), ("objectness", 1))
    }
    everywhere = Boxes([[-500, -500, 600, 600]], [0], crowd=[True])
    assert float(loss(outputs, Truth.of([everywhere]))) == 0
    if kind is not MultiBoxLoss:  # whose background counts beside objects alone
        assert float(loss(outputs, Truth.of([everywhere.take([])]))) > 1


def test_columns_of_the_classes_are_found_where_they_are_not_in_order():
    settings = {**head_settings.RETINANET, "classes": (1, 4, 2), "grids": strided(8, 16, 32, 64, 128)}
    loss = FocalLoss(settings, SIZE)
    assert loss.columns(torch.tensor([2, 0, 1])).tolist() == [2, 1, 4]
