"""The sheet of a folder's images."""

import numpy as np
import pytest
from figures import words
from PIL import Image

from edgecnn import figure
from edgecnn.data.folder_contents import draw_sheet, inspect

LONG = "a class of birds that live in $Patagonia$ and elsewhere, photographed in the summer of 2024 by many"


@pytest.fixture
def sheet(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figure, "write", lambda made, path: drawn.append(made))
    for number, name in enumerate(["cat", LONG, *(f"k{i}" for i in range(12))]):
        (tmp_path / name).mkdir()
        for index in range(2 + number % 3):
            size = (30, 60) if index % 2 else (60, 20)
            Image.new("RGB", size, (number * 9, index * 40, 0)).save(tmp_path / name / f"{index}.png")
    draw_sheet(inspect(tmp_path), tmp_path / "sheet.png")
    return drawn[0]


def test_a_long_name_leaves_all_pictures_as_large_and_classes_are_counted(sheet):
    said = words(sheet)
    boxes = [axes.get_window_extent() for axes in sheet.axes if axes.images]
    assert np.ptp([box.width for box in boxes]) < 1 and np.ptp([box.height for box in boxes]) < 1
    assert "a class of birds" in said and "by many (3)" in said and "$Pata…" in said
    assert "of 14 classes, the first 12" in " ".join(said.split()) and "cat (2)" in said
