"""What an environment on a board is made of."""

import io
import subprocess
import sys
import zipfile
from email import message_from_string
from importlib import metadata

import pytest

import edgecnn
from edgecnn.devices.remote import own_wheel, wheels
from edgecnn.errors import BoardError

JETSON = {"machine": "aarch64", "libc": ["glibc", "2.35"], "python": [3, 10, 12]}


def a_wheel(folder, name, *required):
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        lines = [f"Requires-Dist: {text}" for text in required]
        archive.writestr(
            f"{name}-1.0.dist-info/METADATA",
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, "", ""]),
        )
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{name}-1.0.dist-info/RECORD",
            f"{name}-1.0.dist-info/METADATA,,\n{name}-1.0.dist-info/WHEEL,,\n{name}-1.0.dist-info/RECORD,,\n",
        )
    return path


def test_the_wheel_is_the_same_bytes_at_every_build():
    assert own_wheel.build() == own_wheel.build()


def test_the_wheel_installs_as_this_very_edgecnn(tmp_path):
    path = tmp_path / own_wheel.name()
    path.write_bytes(own_wheel.build())
    target = tmp_path / "target"
    words = ["install", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(path)]
    subprocess.run([sys.executable, "-m", "pip", *words, "--quiet"], check=True)
    (found,) = metadata.distributions(path=[str(target)])
    assert found.version == edgecnn.__version__ and found.requires == metadata.requires("edgecnn")
    assert "edgecnn.cli:main" in {item.value for item in found.entry_points}
    assert (target / "edgecnn/runtime/espresso.jpg").exists() and not list(target.rglob("*.pyc"))


def test_the_wheels_record_is_what_is_in_it():
    with zipfile.ZipFile(io.BytesIO(own_wheel.build())) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith("RECORD")]
        named = [
            line.rpartition(",")[0].rpartition(",")[0] for line in archive.read(record).decode().splitlines()
        ]
        assert sorted(named) == sorted(archive.namelist())
        stated = message_from_string(archive.read(record.replace("RECORD", "METADATA")).decode())
        assert stated["Name"] == "edgecnn"


@pytest.mark.parametrize("minor", [17, 28, 35, 39])
def test_the_platforms_are_those_that_pip_takes_on_such_a_machine(minor):
    from packaging._manylinux import platform_tags

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packaging._manylinux._get_glibc_version", lambda: (2, minor))
        patch.setattr("packaging._manylinux._have_compatible_abi", lambda *_: True)
        expected = list(platform_tags(["x86_64"]))
    assert set(wheels.platforms("x86_64", ("glibc", f"2.{minor}"))) == set(expected)


@pytest.mark.parametrize("libc", [("", ""), ("musl", "1.2"), ("glibc", "")])
def test_a_board_of_another_c_library_is_refused(libc):
    with pytest.raises(BoardError, match="there are wheels for glibc"):
        wheels.platforms("aarch64", libc)


def test_a_board_cannot_name_a_folder_by_its_processor():
    with pytest.raises(BoardError, match="no wheels for a processor"):
        wheels.gather({**JETSON, "machine": "../../x"}, (), b"")


def test_what_only_an_older_python_needs_is_found_missing(tmp_path):
    own = a_wheel(
        tmp_path, "own", "one", 'backport>=2; python_version < "3.11"', 'later; python_version > "3.11"'
    )
    a_wheel(tmp_path, "one", 'deep; platform_machine == "aarch64"', 'other; platform_machine == "x86_64"')
    assert wheels._missing(tmp_path, own.read_bytes(), (), JETSON) == ["backport>=2", "deep"]


def test_what_an_extra_needs_is_found_missing_only_with_it(tmp_path):
    own = a_wheel(tmp_path, "own", 'drawing; extra == "plot"', 'edgecnn[ort]; extra == "plot"')
    assert wheels._missing(tmp_path, own.read_bytes(), ("plot",), JETSON) == ["drawing"]
    assert wheels._missing(tmp_path, own.read_bytes(), (), JETSON) == []


def test_wheels_are_gathered_once_with_what_the_boards_python_needs(tmp_path, monkeypatch):
    index = tmp_path / "index"
    index.mkdir()
    for name in ("pip", "numpy", "click", "pillow", "pyyaml", "rich", "backport"):
        a_wheel(index, name, *(['backport; python_version < "3.11"'] if name == "click" else []))
    own = wheel_that_requires("click", "numpy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    said = []
    found = wheels.gather(JETSON, (), own, said.append)
    assert {path.name.partition("-")[0] for path in found} == {"pip", "click", "numpy", "backport"}
    assert said == ["gathering wheels for aarch64, Python 3.10", "gathering wheels for aarch64: backport"]
    assert wheels.gather(JETSON, (), own, said.append) == found and len(said) == 2


def test_an_extra_that_the_installed_package_lacks_is_not_left_out_silently():
    with pytest.raises(BoardError, match="has no extra plot") as caught:
        wheels.gather(JETSON, ("plot",), wheel_that_requires("click"))
    assert "pip install" in caught.value.hint


def test_what_pip_says_is_the_error(tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    with pytest.raises(BoardError, match=r"aarch64 with Python 3.10.12: No matching distribution .* pip"):
        wheels.gather(JETSON, (), wheel_that_requires("click"))


def wheel_that_requires(*names):
    """edgecnn's wheel with other requirements."""
    packed = io.BytesIO()
    info = f"edgecnn-{edgecnn.__version__}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        lines = [f"Requires-Dist: {name}" for name in names]
        text = ["Metadata-Version: 2.1", "Name: edgecnn", f"Version: {edgecnn.__version__}", *lines, "", ""]
        archive.writestr(f"{info}/METADATA", "\n".join(text))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return packed.getvalue()
