"""Which file here is which on a board."""

from pathlib import Path, PurePosixPath

import pytest

from edgecnn.devices.remote.places import Places, companions
from edgecnn.errors import BoardError, InvalidValueError


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_a_relative_name_stays_as_it_is(here):
    places = Places()
    assert places.name("a/b/m.onnx") == "a/b/m.onnx"
    places.expect(Path("a/b/m.engine"))
    assert places.outputs == {"a/b/m.engine": Path("a/b/m.engine")}


@pytest.mark.parametrize("typed", ["/x/y/m.onnx", "../m.onnx", "a/../../m.onnx", "/m.onnx", "../.."])
def test_what_lies_elsewhere_leads_nowhere_but_down(here, typed):
    name = Places().name(typed)
    assert not name.startswith("/") and ".." not in Path(name).parts


@pytest.mark.parametrize("typed", ["/x/y/m.onnx", "../m.onnx", "a/../../m.onnx", "/m.onnx"])
def test_what_was_made_beside_a_file_belongs_beside_it(here, typed):
    places = Places()
    made, here = str(Path(places.name(typed)).with_suffix(".engine")), Path(typed).with_suffix(".engine")
    places.expect(here)
    assert places.outputs == {made: here}


@pytest.mark.parametrize("folder", ["/x/drawn", "../drawn", "drawn", "drawn/"])
def test_what_is_written_into_a_folder_that_was_named_lies_in_it(here, folder):
    places = Places()
    there = places.name(folder)
    places.expect(Path(folder) / "a.png")
    assert places.outputs == {str(Path(there) / "a.png"): Path(folder) / "a.png"}


@pytest.mark.parametrize("typed", ["/x/y/m.onnx", "../m.onnx", "a/../../m.onnx"])
def test_text_of_the_board_says_what_was_typed_in_as_many_characters(here, typed):
    places = Places()
    name = places.name(typed)
    assert len(name) == len(typed)
    assert places.as_typed(f"wrote {name}.json, folder_{name}") == f"wrote {typed}.json, folder_{name}"


def test_two_files_of_one_name_do_not_meet(here):
    places = Places()
    names = {places.name(typed) for typed in ("/a_b/m.onnx", "/a/b/m.onnx", "/a.b/m.onnx", "m.onnx")}
    assert len(names) == 4


def test_a_file_has_the_same_name_at_every_call(here):
    places = Places()
    assert places.name("/a/m.onnx") == places.name("/a/m.onnx")


def test_a_folder_travels_with_what_is_in_it(here):
    for name in ("cats/a.png", "dogs/deep/b.png"):
        (here / "work/data" / name).parent.mkdir(parents=True)
        (here / "work/data" / name).touch()
    (here / "work/data/none").mkdir()
    places = Places()
    assert places.send("data", whole=True) == "data"
    assert set(places.sources) == {"data/cats/a.png", "data/dogs/deep/b.png"}
    assert "data/none" in places.folders, "an empty class is an error there as it is here"


def test_a_folder_in_place_of_a_file_does_not_travel(here):
    (here / "work/a.png").touch()
    places = Places()
    name = places.send(".")
    assert not places.sources and name in places.folders
    assert places.as_typed(f"{name} is a folder") == ". is a folder"


def test_a_folder_that_is_a_link_is_followed(here):
    (here / "cats").mkdir()
    (here / "cats/a.png").touch()
    (here / "work/data").mkdir()
    (here / "work/data/cats").symlink_to(here / "cats")
    places = Places()
    places.send("data", whole=True)
    assert set(places.sources) == {"data/cats/a.png"}


def test_the_present_folder_is_apart_from_what_else_travels(here):
    (here / "work/cats").mkdir()
    (here / "work/cats/a.png").touch()
    (here / "m.onnx").touch()
    places = Places()
    data, model = places.send(".", whole=True), places.send("../m.onnx")
    assert not Path(model).is_relative_to(data)
    assert set(places.sources) == {f"{data}/cats/a.png", model}


def test_what_a_command_reads_is_not_written_by_a_board(here):
    Path("m.onnx").touch()
    Path("other.onnx").hardlink_to("m.onnx")
    places = Places()
    places.send("m.onnx")
    for name in ("m.onnx", "./m.onnx", str(here / "work/m.onnx"), "other.onnx"):
        with pytest.raises(InvalidValueError, match="is what the command reads"):
            places.expect(Path(name))
    places.expect(Path("m.onnx"), kept_up=True)
    assert places.outputs == {"m.onnx": Path("m.onnx")}


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_nothing_of_a_board_goes_through_a_link(here, target):
    Path("there").touch()
    Path("m.engine").symlink_to(target)
    with pytest.raises(InvalidValueError, match="is a link"):
        Places().expect(Path("m.engine"))


@pytest.mark.parametrize("path", ["/etc/passwd", "/job/other.onnx", "/job/../m.onnx", "m.onnx", "/job"])
def test_a_result_is_of_what_was_named(here, path):
    places = Places()
    places.name("m.onnx")
    assert places.sent_as("/job/m.onnx", PurePosixPath("/job")) == "m.onnx"
    with pytest.raises(BoardError, match="nobody asked for"):
        places.sent_as(path, PurePosixPath("/job"))


def test_the_weights_beside_a_model_travel_with_it(here):
    for name in ("m.onnx", "m.onnx.data", "m.onnx_data", "other.data"):
        Path(name).touch()
    assert companions(Path("m.onnx")) == [Path("m.onnx.data"), Path("m.onnx_data")]
