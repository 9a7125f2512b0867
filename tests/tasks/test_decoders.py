"""From outputs to boxes and masks: as torchvision does it, and for the layouts that other files have."""

from types import SimpleNamespace

import numpy as np
import pytest
from detector_settings import FCOS, RETINANET, SSDLITE, of_torchvision

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import anchors
from edgecnn.tasks.decoders import DECODERS, NetworkEnd, recognized
from edgecnn.tasks.decoders.dbnet import connected
from edgecnn.tasks.decoders.masks import enlarged

SIZE = Size(160, 192)


def outputs(**values):
    return [Output(name, np.asarray(value, np.float32)) for name, value in values.items()]


def alike(found, expected, labels_from=0):
    """Assert that boxes are those that torchvision gives."""
    assert len(found) == len(expected["boxes"]) > 20
    assert found.classes.tolist() == (expected["labels"] - labels_from).tolist()
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), atol=1e-4)
    np.testing.assert_allclose(found.corners, expected["boxes"].numpy(), atol=1e-4)


def torch_model(settings, coder):
    return SimpleNamespace(
        score_thresh=settings["score"], nms_thresh=settings["iou"], detections_per_img=settings["limit"],
        topk_candidates=settings["candidates"], box_coder=coder,
    )  # fmt: skip


def random(seed, rows, columns, spread=1.0):
    return np.random.default_rng(seed).normal(0, spread, (2, rows, columns)).astype(np.float32)


def test_ssd_is_torchvisions(detectors):
    import torch

    detection = detectors.models.detection
    settings = {**SSDLITE, "score": 0.3, "iou": 0.45, "limit": 60, "candidates": 40}
    around = anchors.ssd(settings, SIZE)
    scores, boxes = random(0, len(around), 6, 2.0), random(1, len(around), 4, 3.0)
    make = detection.anchor_utils.DefaultBoxGenerator(SSDLITE["ratios"], min_ratio=0.2, max_ratio=0.95)
    theirs = torch.from_numpy(of_torchvision(make, SSDLITE, SIZE))
    coder = detection._utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    expected = detection.ssd.SSD.postprocess_detections(
        torch_model(settings, coder),
        {"cls_logits": torch.from_numpy(scores), "bbox_regression": torch.from_numpy(boxes)},
        [theirs, theirs],
        [tuple(SIZE)] * 2,
    )
    found = DECODERS.get("ssd").decode(outputs(scores=scores, boxes=boxes), settings, SIZE)
    for mine, other in zip(found, expected, strict=True):
        alike(mine, other, labels_from=1)
    # Some columns alone, in another order.
    few = DECODERS.get("ssd").decode(
        outputs(boxes=boxes, scores=scores), {**settings, "classes": [5, 2]}, SIZE
    )
    assert set(few[0].classes.tolist()) == {0, 1}


def by_level(values, settings):
    """Split rows by level, as torchvision's heads give them."""
    import torch

    cells = [grid.pixels for grid in anchors.grids(settings, SIZE)]
    each = values.shape[1] // sum(cells)
    return list(torch.from_numpy(values).split([each * count for count in cells], dim=1))


def test_retinanet_is_torchvisions(detectors):
    detection = detectors.models.detection
    settings = {**RETINANET, "score": 0.9, "iou": 0.5, "limit": 100, "candidates": 150}
    theirs = detection.anchor_utils.AnchorGenerator(
        tuple(map(tuple, RETINANET["sizes"])), ((0.5, 1.0, 2.0),) * 5
    )
    around = of_torchvision(theirs, RETINANET, SIZE)
    scores, boxes = random(2, len(around), 5, 2.0), random(3, len(around), 4)
    expected = detection.retinanet.RetinaNet.postprocess_detections(
        torch_model(settings, detection._utils.BoxCoder((1.0, 1.0, 1.0, 1.0))),
        {"cls_logits": by_level(scores, settings), "bbox_regression": by_level(boxes, settings)},
        [[part[0] for part in by_level(around[None], settings)]] * 2,
        [tuple(SIZE)] * 2,
    )
    found = DECODERS.get("retinanet").decode(outputs(scores=scores, boxes=boxes), settings, SIZE)
    for mine, other in zip(found, expected, strict=True):
        alike(mine, other)


def test_fcos_is_torchvisions(detectors):
    detection = detectors.models.detection
    settings = {**FCOS, "score": 0.8, "iou": 0.6, "limit": 100, "candidates": 150}
    theirs = detection.anchor_utils.AnchorGenerator(((8,), (16,), (32,), (64,), (128,)), ((1.0,),) * 5)
    around = of_torchvision(theirs, FCOS, SIZE)
    scores, near = random(4, len(around), 5, 3.0), random(5, len(around), 1, 3.0)
    boxes = np.abs(random(6, len(around), 4))
    expected = detection.fcos.FCOS.postprocess_detections(
        torch_model(settings, detection._utils.BoxLinearCoder(normalize_by_size=True)),
        {
            "cls_logits": by_level(scores, settings),
            "bbox_regression": by_level(boxes, settings),
            "bbox_ctrness": by_level(near, settings),
        },
        [[part[0] for part in by_level(around[None], settings)]] * 2,
        [tuple(SIZE)] * 2,
    )
    given = outputs(scores=scores, boxes=boxes, centerness=near)
    found = DECODERS.get("fcos").decode(given, settings, SIZE)
    for mine, other in zip(found, expected, strict=True):
        alike(mine, other)


def test_yolox_reads_its_own_outputs_and_the_one_of_the_authors():
    size = Size(32, 64)  # cells: 32 + 8 + 2
    boxes, sure, scores = np.zeros((1, 42, 4)), np.full((1, 42, 1), -9.0), np.full((1, 42, 3), -9.0)
    boxes[0, 8 + 3] = [0.5, 0.25, np.log(2), np.log(3)]  # row 1, column 3, of stride 8
    boxes[0, 40 + 1] = [0.5, 0.5, 0, 0]  # column 1 of stride 32
    sure[0, [11, 41]], scores[0, 11, 2], scores[0, 41, 0] = 4, 3, 1
    decoder = DECODERS.get("yolox")
    given = outputs(boxes=boxes, objectness=sure, scores=scores)
    (found,) = decoder.decode(given, {"strides": [8, 16, 32]}, size)
    assert found.corners.tolist() == [[20, -2, 36, 22], [32, 0, 64, 32]] and found.classes.tolist() == [2, 0]
    shares = 1 / (1 + np.exp(-np.float64([[4, 3], [4, 1]])))
    np.testing.assert_allclose(found.scores, shares.prod(axis=1), rtol=1e-5)
    joined = np.concatenate([boxes, 1 / (1 + np.exp(-sure)), 1 / (1 + np.exp(-scores))], axis=2)
    (again,) = decoder.decode(outputs(output=joined), {}, size)
    np.testing.assert_allclose(again.corners, found.corners, atol=1e-4)
    np.testing.assert_allclose(again.scores, found.scores, atol=1e-5)


def test_rows_and_columns_of_yolo_are_the_same_boxes():
    rows = np.zeros((1, 5, 4 + 1 + 2), np.float32)
    rows[0, 0] = [50, 40, 20, 10, 0.9, 0.1, 0.8]
    rows[0, 1] = [51, 40, 20, 10, 0.8, 0.1, 0.8]  # of the same class, and beneath
    rows[0, 2] = [51, 40, 20, 10, 0.5, 0.9, 0.1]
    (found,) = DECODERS.get("yolov5").decode(outputs(output=rows), {"iou": 0.45}, SIZE)
    assert found.corners.tolist() == [[40, 35, 60, 45], [41, 35, 61, 45]] and found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.72, 0.45], rtol=1e-6)
    columns = np.concatenate([rows[..., :4], rows[..., 4:5] * rows[..., 5:]], axis=2).transpose(0, 2, 1)
    (again,) = DECODERS.get("yolov8").decode(outputs(output0=columns), {"iou": 0.45}, SIZE)
    assert again.corners.tolist() == found.corners.tolist() and again.scores.tolist() == found.scores.tolist()


def test_what_weights_prototypes_of_masks_is_no_class():
    columns = np.zeros((1, 4 + 2 + 8, 3), np.float32)
    columns[0, :, 0] = [50, 40, 20, 10, 0.2, 0.9, *[5] * 8]
    given = outputs(output0=columns, output1=np.zeros((1, 8, 12, 12)))
    (found,) = DECODERS.get("yolov8").decode(given, {}, SIZE)
    assert found.classes.tolist() == [1] and len(found) == 1
    ends = [
        TensorSpec("output0", ("N", 14, 3), "float32", ""),
        TensorSpec("output1", ("N", 8, 12, 12), "float32", ""),
    ]
    assert DECODERS.get("yolov8").columns(NetworkEnd(ends, SIZE)) == 2
    rows = np.insert(columns.transpose(0, 2, 1), 4, 0.5, axis=2)
    given[0] = Output("output0", rows)
    (found,) = DECODERS.get("yolov5").decode(given, {}, SIZE)
    assert found.classes.tolist() == [1] and found.scores[0] == np.float32(0.45)


@pytest.mark.parametrize("name", ["yolov5", "yolov8"])
def test_columns_that_hold_no_scores_are_not_taken_for_classes(name):
    values = np.full((1, 20, 20), 0.5)
    values[0, 10, 12] = values[0, 12, 10] = 212  # of a keypoint, in pixels
    with pytest.raises(ArtifactError, match="scores of at most 1, and the network gives up to 212"):
        DECODERS.get(name).decode(outputs(output0=values), {}, SIZE)
    DECODERS.get(name).decode(outputs(output0=values), {"classes": [0, 1]}, SIZE)
    values[0, 10, 12] = values[0, 12, 10] = 1280 / 127  # a code of int8 that has one scale for all columns
    DECODERS.get(name).decode(outputs(output0=values), {}, SIZE)


@pytest.mark.parametrize("name", ["yolov5", "yolov8", "end-to-end"])
def test_of_several_outputs_the_first_is_not_all(name):
    """Scores and boxes of another layout, apart; maps beside the rows are what older exports give."""
    rows = np.zeros((1, 12, 6)).transpose(0, 2, 1) if name == "yolov8" else np.zeros((1, 12, 6))
    with pytest.raises(ArtifactError, match="cannot be read by the decoder"):
        DECODERS.get(name).decode(outputs(scores=rows, boxes=np.zeros((1, 12, 4))), {}, SIZE)
    DECODERS.get(name).decode(outputs(output=rows, raw=np.zeros((1, 3, 2, 2, 6))), {}, SIZE)


def test_boxes_that_come_without_overlap_are_taken_as_they_are():
    rows = [[0, 0, 5, 5, 0.2, 7], [1, 2, 3, 4, 0.9, 1], [1, 2, 3, 4, 0.8, 1], [0, 0, 0, 0, 0, 0]]
    (found,) = DECODERS.get("end-to-end").decode(outputs(output0=[rows]), {"limit": 2}, SIZE)
    assert found.classes.tolist() == [1, 1] and found.corners[0].tolist() == [1, 2, 3, 4]


def test_queries_of_transformers_are_boxes_in_shares_of_the_input():
    boxes = [[[0.5, 0.5, 0.5, 0.25], [0, 0, 1, 1]]]
    logits = [[[0, 9, 0], [0, 0, 9]]]  # the last class is none
    decoder = DECODERS.get("detr")
    (found,) = decoder.decode(outputs(pred_boxes=boxes, logits=logits), {"score": 0.5}, SIZE)
    assert found.corners.tolist() == [[48, 60, 144, 100]] and found.classes.tolist() == [1]
    (found,) = DECODERS.get("rt-detr").decode(outputs(logits=logits, pred_boxes=boxes), {"score": 0.6}, SIZE)
    assert found.classes.tolist() == [1, 2] and len(found) == 2


def test_faces_are_around_the_centres_of_cells():
    sure, sides, offsets = np.zeros((1, 1, 10, 12)), np.zeros((1, 2, 10, 12)), np.zeros((1, 2, 10, 12))
    sure[0, 0, 3, 5], sure[0, 0, 3, 6], sure[0, 0, 0, 0] = 0.9, 0.8, 0.7
    sides[0, :, 3, 5] = np.log([4, 2])  # height and width, in cells of 16 pixels
    sides[0, :, 3, 6] = np.log([4, 2])
    offsets[0, :, 3, 5] = [0.25, -0.5]  # down and to the left
    offsets[0, :, 3, 6] = [0.25, -1.25]  # overlaps the first
    offsets[0, :, 0, 0] = [-0.5, 0.0]
    given = outputs(a=sure, b=sides, c=offsets, landmarks=np.zeros((1, 10, 10, 12)))
    (found,) = DECODERS.get("centerface").decode(given, {}, SIZE)
    # The second begins above the picture, and keeps its height.
    np.testing.assert_allclose(found.corners, [[64, 28, 96, 92], [0, 0, 16, 16]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.7], rtol=1e-6)


def test_distances_are_what_is_expected_of_their_distributions():
    size = Size(32, 40)  # of 16 pixels: 2 x 3 cells, of which the last column is half outside
    scores = [np.zeros((1, 20, 2)), np.zeros((1, 6, 2))]
    sides = [np.zeros((1, 20, 4 * 3)), np.zeros((1, 6, 4 * 3))]
    scores[0][0, 7], scores[1][0, 5] = [0.1, 0.9], [0.8, 0.2]  # row 1, column 2; row 1, column 2
    sides[0][0, 7] = [-99, 0, -99, 99, 0, 0, 0, 0, 0, -99, 0, 0]  # 1, 0, 1 and 1.5 strides of 8
    given = outputs(a=scores[0], b=scores[1], c=sides[0], d=sides[1])
    (found,) = DECODERS.get("picodet").decode(given, {"strides": [8, 16], "score": 0.5}, size)
    np.testing.assert_allclose(found.corners, [[12, 12, 28, 24], [24, 8, 40, 32]], atol=1e-4)
    assert found.classes.tolist() == [1, 0]
    with pytest.raises(ArtifactError, match="levels of 20, 6, 2 cells, and the outputs have 20, 6 rows"):
        DECODERS.get("picodet").decode(given, {"strides": [8, 16, 32]}, size)


def test_text_is_what_hangs_together_and_its_box_is_grown():
    sure = np.zeros((1, 1, 40, 48), np.float32)
    sure[0, 0, 10:14, 8:28] = 0.9
    sure[0, 0, 14, 28] = 0.9  # touches at a corner
    sure[0, 0, 30:36, 4:10] = 0.4  # not sure enough
    sure[0, 0, 20:22, 20:40] = 0.9  # too thin
    (found,) = DECODERS.get("dbnet").decode(outputs(maps=sure), {}, SIZE)
    # 21 x 5 pixels grow by 105 * 1.5 / 52 to each side; the map is a quarter of the input's height.
    grown = 105 * 1.5 / 52
    np.testing.assert_allclose(
        found.corners / 4, [[8 - grown, 10 - grown, 29 + grown, 15 + grown]], rtol=1e-5
    )


def test_pieces_are_those_of_scikit_image():
    from skimage.measure import label

    mask = np.random.default_rng(0).random((60, 70)) > 0.55
    pieces, count = connected(mask)
    expected, theirs = label(mask, connectivity=2, return_num=True)
    assert count == theirs and np.array_equal(pieces, expected)
    assert connected(np.zeros((3, 3), bool))[1] == 0


def test_masks_are_the_highest_class_of_each_pixel(torchvision):
    import torch

    maps = np.random.default_rng(0).normal(size=(2, 3, 10, 12)).astype(np.float32)
    found = DECODERS.get("logit-mask").decode(outputs(logits=maps), {}, SIZE)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps), size=tuple(SIZE), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(enlarged(maps, SIZE), large.numpy(), atol=1e-5)
    assert found[0].dtype == np.uint8
    assert np.mean(np.stack(found) == large.argmax(1).numpy()) > 0.9999
    (one, _) = DECODERS.get("logit-mask").decode(outputs(logits=maps[:, :1]), {"threshold": 0.5}, SIZE)
    assert one.shape == tuple(SIZE) and set(np.unique(one)) == {0, 1}
    index = [Output("mask", np.arange(4).reshape(1, 1, 2, 2))]
    (mask,) = DECODERS.get("index-mask").decode(index, {}, Size(4, 4))
    assert mask.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


def end(*shapes, size=(640, 640), dtype="float32", classes=None):
    specs = [TensorSpec(name, ("n", *shape), dtype, "") for name, shape in shapes]
    return NetworkEnd(specs, size and Size(*size), classes)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (end(("output0", (25200, 85))), "yolov5"),
        (end(("output0", (84, 8400))), "yolov8"),
        (end(("output0", (6, 8400)), classes=2), "yolov8"),
        (end(("output0", (300, 6))), "end-to-end"),
        (end(("logits", (100, 92)), ("pred_boxes", (100, 4))), "detr"),
        (end(("logits", (300, 80)), ("pred_boxes", (300, 4))), "rt-detr"),
        (end(("logits", (21, 520, 520))), "logit-mask"),
        (end(("mask", (640, 640)), dtype="int64"), "index-mask"),
        # Columns of keypoints, of rotation, or classes: nothing says.
        (end(("output0", (56, 8400))), None),
        # Raw as YOLOX' authors export it, or decoded: nothing says.
        (end(("output", (8400, 85))), None),
        (end(("output0", (84, 8400)), size=None), None),
        (end(("output0", (84, 8400)), ("output1", (32, 160, 160))), None),
        (end(("scores", (8732, 91)), ("boxes", (8732, 4))), None),
        (end(("maps", (1, 640, 640))), None),
        (end(("features", (256, 40, 40))), None),
        (end(("logits", (1000,))), None),
        (end(("index", (1,)), dtype="int64"), None),
    ],
)
def test_a_layout_is_recognized_where_that_is_safe(given, name):
    found = recognized(given)
    assert (found and found.name) == name


@pytest.mark.parametrize("name", DECODERS.names())
def test_every_decoder_names_outputs_that_are_of_another_layout(name):
    decoder = DECODERS.get(name)
    assert decoder.name == name and decoder.title
    settings = {"strides": [8], "sizes": [[8]], "ratios": [[2]], "scales": [0.1, 0.2]}
    if name == "fcos":
        settings["sizes"] = [8]
    if name == "retinanet":
        settings["ratios"] = [1.0]
    for given in (outputs(a=np.zeros((1, 2, 3, 4, 5))), outputs(a=np.zeros((1, 2)), b=np.zeros((1, 2)))):
        with pytest.raises(ArtifactError):
            decoder.decode(given, settings, SIZE)


@pytest.mark.parametrize("columns", [[6], [-1], [], "12", [1.5], 3])
def test_columns_that_there_are_not_are_named(columns):
    rows = np.zeros((1, 3, 8))
    with pytest.raises(ArtifactError, match="classes are no columns of 3 scores"):
        DECODERS.get("yolov5").decode(outputs(output=rows), {"classes": columns}, SIZE)


def test_other_settings_than_the_networks_are_named():
    given = outputs(scores=np.zeros((1, 7, 3)), boxes=np.zeros((1, 7, 4)))
    wide = outputs(scores=np.zeros((1, 7, 3)), boxes=np.zeros((1, 7, 5)))
    with pytest.raises(ArtifactError, match="boxes of 5 numbers"):
        DECODERS.get("ssd").decode(wide, SSDLITE, SIZE)
    with pytest.raises(ArtifactError, match="make 2454 anchors, and the outputs have 7 rows"):
        DECODERS.get("ssd").decode(given, {**SSDLITE, "strides": [8, 16, 32, 64, 128, 256]}, Size(120, 160))
