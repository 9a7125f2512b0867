"""The same boxes come out of COCO's, YOLO's and VOC's files, and what is wrong with labels is counted."""

import json
import os
import shutil

import labelled_pictures as made
import numpy as np
import pytest
from labelled_pictures import HIGH, WIDE, corners, png, write

from edgecnn.data.folder import labelled
from edgecnn.data.folder_contents import inspect
from edgecnn.data.open_dataset import check_name, open_dataset
from edgecnn.errors import DataError
from edgecnn.tasks.boxes import Boxes

PARTS = {"train": range(20), "val": range(20, 26), "test": range(30, 33)}
WRITERS = {"coco": made.write_coco, "yolo": made.write_yolo, "voc": made.write_voc}


def number(examples, row: int) -> int:
    return int(examples.images[row].stem)


def as_rows(boxes: Boxes) -> list[tuple[float, ...]]:
    return sorted(
        (*map(float, corner), int(c)) for corner, c in zip(boxes.corners, boxes.classes, strict=True)
    )


@pytest.fixture(params=WRITERS)
def stored(request, tmp_path):
    """A folder in each of the formats, with three parts."""
    return WRITERS[request.param](tmp_path / "set", PARTS)


def test_published_parts_classes_and_boxes_are_as_they_were_written(stored):
    data = open_dataset(str(stored))
    assert (data.task, data.labels, data.channels, data.notes) == ("detection", ("cat", "dog"), 3, ())
    for part, numbers in zip((data.train, data.validation, data.test), PARTS.values(), strict=True):
        assert sorted(number(part, row) for row in range(len(part))) == list(numbers)
        for row in range(len(part)):
            rows = np.float32(as_rows(part.labels[row]))
            assert np.allclose(
                rows, np.float32(sorted(corners(number(part, row)))).reshape(rows.shape), atol=1e-3
            )


def test_without_parts_the_seed_divides_and_moving_the_folder_changes_nothing(tmp_path):
    made.write_coco(tmp_path / "a", {"train": range(40)})
    one = open_dataset(str(tmp_path / "a" / "annotations/instances_train2017.json"), seed=3)
    shutil.move(tmp_path / "a", tmp_path / "b")
    two = open_dataset(str(tmp_path / "b"), seed=3)
    names = [
        [[path.name for path in part.images] for part in (d.train, d.validation, d.test)] for d in (one, two)
    ]
    assert names[0] == names[1] and one.sha256 == two.sha256 and all(names[0])


def test_another_box_is_another_data_set(stored):
    before = open_dataset(str(stored)).sha256
    for file in [*stored.glob("*/*train*.json"), *stored.glob("labels/*/0.txt"), *stored.glob("*/0.xml")]:
        text = file.read_text()
        changed = text.replace('"bbox": [1,', '"bbox": [2,').replace("<xmin>2<", "<xmin>3<")
        file.write_text(changed if changed != text else "0 0.5 0.5 0.1 0.1")
    assert open_dataset(str(stored)).sha256 != before


def test_eval_takes_the_part_that_tests_or_all_of_a_file_without_parts(stored):
    found = labelled(str(stored), 2, ("dog", "cat"), task="detection")
    assert len(found.images) == 3
    for row, label in enumerate(found.labels):
        theirs = sorted(1 - box[-1] for box in corners(number(found, row)))
        assert sorted(label.classes.tolist()) == theirs
    everything = made.write_coco(stored.parent / "bare", {"val": range(2)})
    file = everything / "annotations/instances_val2017.json"
    assert len(labelled(str(file), None, task="detection").images) == 2


def test_a_format_is_said_where_two_fit(tmp_path):
    made.write_voc(tmp_path, PARTS)
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(DataError, match="JPEGImages/ and Annotations/") as caught:
        check_name(str(tmp_path))
    assert f"voc:{tmp_path}" in caught.value.hint and f"masks:{tmp_path}" in caught.value.hint
    assert len(open_dataset(f"voc:{tmp_path}").train) == 20
    with pytest.raises(DataError, match="there is no"):
        check_name("coco:/nowhere")


def coco_with(root, change) -> str:
    """Write 20 pictures, in whose description something is changed."""
    made.write_coco(root, {"train": range(20)})
    file = root / "annotations/instances_train2017.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    return str(root)


def box(x, y, width, height, category=7, image=100):
    return {"id": 1, "image_id": image, "category_id": category, "bbox": [x, y, width, height]}


def total(data) -> int:
    return sum(len(label) for part in (data.train, data.validation, data.test) for label in part.labels)


@pytest.mark.parametrize(
    "wrong, note",
    [
        (box(WIDE + 3, 2, 5, 5), "boxes left out that lie outside their picture: 1 (train2017/0.png)"),
        (box(5, 5, -3, 4), "boxes left out of negative or zero size: 1 (train2017/0.png)"),
        (box(5, 5, 3, 0), "boxes left out of negative or zero size: 1"),
        (box(5, 5, 3, 3, category=99), "boxes left out of unknown classes: 1 (train2017/0.png)"),
        (box(5, 5, 3, 3, category="cat"), "boxes left out of unknown classes: 1"),
        (box(5, 5, 3, 3, image=5), "boxes left out of images that are not listed: 1 (annotation 1)"),
        (box(5, 5, 3, None), "annotations left out whose bbox is not four numbers: 1 (0.png)"),
        (box(5, 5, 3, 1e300), "annotations left out whose bbox is not four numbers: 1 (0.png)"),
    ],
)
def test_a_wrong_box_is_left_out_and_counted(tmp_path, wrong, note):
    right = total(open_dataset(coco_with(tmp_path / "right", lambda document: None)))
    data = open_dataset(coco_with(tmp_path / "wrong", lambda d: d["annotations"].append(wrong)))
    assert any(note in item for item in data.notes) and total(data) == right


def test_a_box_that_reaches_beyond_is_cut_and_one_of_a_pixel_silently(tmp_path):
    wrong = [box(WIDE - 4, HIGH - 5, 50, 50), box(-0.5, 0, 5, HIGH + 1, image=101)]
    data = open_dataset(coco_with(tmp_path, lambda d: d["annotations"].extend(wrong)))
    assert any(
        "reach beyond their picture, cut at its edge: 1 (train2017/0.png)" in note for note in data.notes
    )
    boxes = {
        number(p, r): p.labels[r] for p in (data.train, data.validation, data.test) for r in range(len(p))
    }
    assert boxes[0].corners[-1].tolist() == [WIDE - 4, HIGH - 5, WIDE, HIGH]
    assert boxes[1].corners[-1].tolist() == [0, 0, 4.5, HIGH]


def test_ten_thousand_boxes_in_one_image_leave_it_out(tmp_path):
    many = [box(n % 30, n % 20, 2, 2) for n in range(10_000)]
    data = open_dataset(coco_with(tmp_path, lambda d: d["annotations"].extend(many)))
    assert any("more than 5,000 boxes: 1 (train2017/0.png with 10,002)" in note for note in data.notes)
    assert sum(map(len, (data.train, data.validation, data.test))) == 19


def test_crowds_are_kept_as_such(tmp_path):
    crowd = {**box(3, 3, 5, 5), "iscrowd": 1}
    data = open_dataset(coco_with(tmp_path, lambda d: d["annotations"].append(crowd)))
    flags = [
        f
        for p in (data.train, data.validation, data.test)
        for b in p.labels
        if b.crowd is not None
        for f in b.crowd
    ]
    assert sum(flags) == 1


def test_labels_without_images_and_images_of_another_size_are_counted(tmp_path):
    def change(document):
        document["images"][0]["height"] = 99
        document["images"][1]["file_name"] = "gone.png"
        document["images"][2]["file_name"] = "../../../etc/hostname"
        document["images"][3]["file_name"] = "long" * 2000 + ".png"

    data = open_dataset(coco_with(tmp_path, change))
    notes = " | ".join(data.notes)
    assert "another size than their labels say: 1 (train2017/0.png)" in notes
    assert "whose image is not there: 2 (train2017/gone.png, " in notes
    assert "outside of the data set's folder: 1" in notes
    assert sum(map(len, (data.train, data.validation, data.test))) == 16


def test_of_yolo_and_voc_missing_halves_are_counted_and_named(tmp_path):
    root = made.write_yolo(tmp_path / "yolo", {"train": range(20)})
    (root / "labels/train/0.txt").unlink()
    write(root / "labels/train/1.txt", "0 nan 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\nzero 1\n0.5 0.5 0.5 0.1 0.1\n")
    notes = " | ".join(open_dataset(str(root)).notes)
    assert "without a text file of labels, taken to show no object: 1 (0.png)" in notes
    assert "that are not finite numbers: 1 (images/train/1.png)" in notes
    assert "of unknown classes: 2 (images/train/1.png)" in notes and "no class and box: 1 (1.txt:3)" in notes
    root = made.write_voc(tmp_path / "voc", {"train": range(20)})
    shutil.rmtree(root / "ImageSets")
    (root / "Annotations/0.xml").unlink()
    (root / "JPEGImages/1.png").unlink()
    write(
        root / "Annotations/2.xml", made.voc_document(2).replace("<xmin>", "<xmin>nan").replace("nan4", "nan")
    )
    notes = " | ".join(open_dataset(str(root)).notes)
    assert "without an XML file: 1 (0.png)" in notes and "image is not there: 1 (JPEGImages/1.jpg)" in notes
    assert "finite" in notes or "four numbers" in notes


def test_polygons_of_yolo_become_the_boxes_around_them(tmp_path):
    root = made.write_yolo(tmp_path, {"train": range(20)})
    write(root / "labels/train/0.txt", "1 0.25 0.5 0.5 0.25 0.75 0.75\n")
    data = open_dataset(str(root))
    boxes = {
        number(p, r): p.labels[r] for p in (data.train, data.validation, data.test) for r in range(len(p))
    }
    assert boxes[0].corners.tolist() == [[10, 6, 30, 18]] and boxes[0].classes.tolist() == [1]


def test_an_image_that_cannot_be_read_stays_for_the_loader_to_list(stored):
    file = next(stored.rglob("0.png"))
    file.write_bytes(b"no image")
    assert 0 in {number(open_dataset(str(stored)).train, row) for row in range(20)}


def test_copies_across_published_parts_do_not_train(stored):
    copied = next(stored.rglob("30.png")).read_bytes()
    next(stored.rglob("0.png")).write_bytes(copied)
    data = open_dataset(str(stored))
    assert len(data.train) == 19 and any("part train left out: copies of held-out" in n for n in data.notes)


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    "text, message",
    [
        (LAUGHS, "it defines entities"),
        ("<annotation>" * 1500, "it is nested too deeply"),
        ("<annotation><object>", "it is no XML"),
        ("", "it is no XML"),
        ("<html/>", "is no description of a picture: <html>"),
    ],
)
def test_broken_xml_is_one_clear_error(tmp_path, text, message):
    root = made.write_voc(tmp_path, {"train": range(20)})
    write(root / "Annotations/3.xml", text)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(root))
    assert "3.xml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 1500, "nested too deeply|is no JSON"),
        ('{"images": [', "is no JSON"),
        ('{"images": [], "annotations": [NaN], "categories": []}', "NaN is no number"),
        ("[]", "has no list of images"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "category without an id and a name"),
        ('{"images": [], "annotations": [], "categories": []}', "are not there"),
        ("\xff\xfe", "is no JSON"),
    ],
)
def test_broken_json_is_one_clear_error(tmp_path, text, message):
    root = made.write_coco(tmp_path, {"train": range(4)})
    write(root / "annotations/instances_train2017.json", text)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(root))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("names: [cat, cat]\ntrain: images/train\n", "two classes called cat"),
        ("train: images/train\n", "does not name the classes"),
        ("names: [cat]\nnc: 3\ntrain: images/train\n", "says nc: 3 and has 1 names"),
        ("names: [cat, dog]\n", "does not say where"),
        ("names: [cat, dog]\ntrain: nowhere\n", "nowhere, which is not there"),
        ("names: [cat\n", "is no YAML"),
        ("- 1\n", "describes no data set"),
        ("names: [bird, fish]\ntrain: [3]\n", "gives no folder of images"),
    ],
)
def test_a_broken_data_yaml_is_one_clear_error(tmp_path, text, message):
    root = made.write_yolo(tmp_path, {"train": range(4)})
    write(root / "data.yaml", text)
    with pytest.raises(DataError, match=message):
        open_dataset(str(root))


def test_a_set_without_any_box_trains_nothing(tmp_path):
    root = made.write_yolo(tmp_path, {"train": range(6)})
    for file in root.rglob("*.txt"):
        file.write_text("")
    with pytest.raises(DataError, match=r"no image of .* has a box"):
        open_dataset(str(root))


def test_pictures_that_are_turned_have_boxes_as_they_are_seen(tmp_path):
    """A camera that was held upright says so; the description's size is that of the turned picture."""
    from PIL import Image

    made.write_coco(tmp_path, {"train": range(12)})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(made.pixels(0).transpose(1, 0, 2)).save(tmp_path / "train2017/0.png", exif=exif)
    assert png(made.pixels(0)) and not open_dataset(str(tmp_path)).notes


def test_info_counts_the_boxes_of_each_class(stored):
    found = inspect(stored)
    expected = [
        sum(box[-1] == label for n in (*range(26), *range(30, 33)) for box in corners(n)) for label in (0, 1)
    ]
    assert found.counted == "boxes" and found.class_counts == dict(zip(("cat", "dog"), expected, strict=True))
    assert found.parts == {"train": 20, "validation": 6, "test": 3} and len(found.files) == 29


def test_what_is_called_like_a_file_of_labels_and_is_a_pipe_is_not_waited_for(stored):
    for name in ("annotations/captions.json", "Annotations/0.xml", "labels/train/0.txt"):
        if (stored / name).parent.is_dir():
            (stored / name).unlink(missing_ok=True)
            os.mkfifo(stored / name)
    assert len(open_dataset(str(stored)).train) >= 19


def test_yolos_folders_may_lie_beside_that_of_the_description(tmp_path):
    made.write_yolo(tmp_path / "set", {"train": range(12)})
    text = "names: [cat, dog]\ntrain: ../set/images/train\n"
    data = open_dataset(str(write(tmp_path / "about/streets.yaml", text)))
    assert sum(map(len, (data.train, data.validation, data.test))) == 12
    listed = "".join(f"./images/train/{n}.png\n" for n in range(9))
    write(tmp_path / "set/some.txt", listed)
    write(tmp_path / "set/data.yaml", "names: [cat, dog]\ntrain: some.txt\n")
    data = open_dataset(str(tmp_path / "set"))
    assert sum(map(len, (data.train, data.validation, data.test))) == 9
