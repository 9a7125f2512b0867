"""No command asks the network for anything, or writes but where it was told to: as the system sees it.

Cache, store and temporary files have places of their own; the user's home folder stays empty.
"""

import os
import shutil
from pathlib import Path

import pytest
import strace
from small_classifier import classifier

from edgecnn import cli

_TRAINING = "--data digits --epochs 1"
COMMANDS = {
    "models": "models",
    "targets": "targets",
    "info": "info m.onnx",
    "profile": "profile m.onnx --seconds 0.1",
    "devices": "devices add board ssh://user@192.0.2.1 --no-check",
    "predict": "predict known.onnx picture.jpg",
    "compare": "compare m.onnx known.onnx --seconds 0.1",
    "eval": "eval known.onnx --data digits --plot plot.png",
    "report": "report -o page.html",
    "doctor": "doctor",
    "compile": "compile m.onnx",
    "compile openvino": "compile known.onnx --backend openvino -o e.xml",
    "predict openvino": "predict e.xml picture.jpg",
    "export": "export lenet5 --int8 -o x.onnx",
    "quantize": "quantize known.onnx -o q.onnx --plot plot.png",
    "describe": "describe m.onnx --prepare half -o described.onnx",
    "train": f"train lenet5 {_TRAINING} -o t.safetensors",
    "prune": f"prune lenet5 --weights random --ratio 0.3 {_TRAINING} --seconds 0.1 -o p.safetensors",
    "distill": f"distill lenet5 --teacher t.safetensors {_TRAINING} -o d.safetensors",
    "run": "run recipe.yaml -o folder",
    "verify": "verify x.onnx",
}
#: Commands that need what another has made.
_NEEDED = {
    "report": "profile",
    "distill": "train",
    "verify": "export",
    "predict openvino": "compile openvino",
}
#: Those that take less than a second and import neither PyTorch nor a library that they do not need.
_QUICK = ("models", "targets", "info", "profile", "devices")
_RECIPE = """
name: small
steps:
  - train: {network: lenet5, data: digits, epochs: 1}
  - export: {network: "@train"}
"""


@pytest.fixture
def place(tmp_path, exported):
    """A folder with what the commands read, beside those of the user."""
    if isinstance(strace.command(), str):
        pytest.skip(strace.command())
    for name in ("work", "home", "cache", "store", "tmp"):
        (tmp_path / name).mkdir()
    work = tmp_path / "work"
    classifier(work / "m.onnx")
    (work / "recipe.yaml").write_text(_RECIPE)
    return tmp_path


def run(place: Path, words: str) -> strace.Traced:
    said = ("XDG_", "MPL", "CI", "ORT_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(said)}
    return strace.trace(
        words.split(),
        place / "work",
        {
            **kept,
            "HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
            "XDG_CACHE_HOME": str(place / "cache"),
            "EDGECNN_RESULTS": str(place / "store/results.sqlite"),
            "EDGECNN_DEVICES": str(place / "work/devices.toml"),
            # What Python keeps of its own sources is written by whoever runs it first.
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def check(place: Path, done: strace.Traced) -> None:
    assert done.returncode == 0, done.errors
    assert done.network == ()
    assert done.outside(*(place / name for name in ("work", "cache", "store", "tmp"))) == set()
    assert list((place / "home").iterdir()) == []
    # PyTorch keeps what it compiles in a folder of its own there.
    left = [path.name for path in (place / "tmp").iterdir() if not path.name.startswith("torchinductor_")]
    assert left == [], "temporary files are gone"


@pytest.mark.parametrize("name", _QUICK)
def test_a_quick_command_keeps_to_its_place(name, place):
    check(place, run(place, COMMANDS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in _QUICK])
def test_a_command_keeps_to_its_place(name, place, exported):
    from edgecnn.runtime import preprocessing

    shutil.copy(exported("lenet5"), place / "work/known.onnx")
    shutil.copy(Path(preprocessing.__file__).with_name("espresso.jpg"), place / "work/picture.jpg")
    if name in _NEEDED:
        check(place, run(place, COMMANDS[_NEEDED[name]]))
    check(place, run(place, COMMANDS[name]))


def test_every_command_is_among_them():
    assert {name.split()[0] for name in COMMANDS} == set(cli.COMMANDS)


def test_what_goes_out_is_seen(place, monkeypatch):
    """The test can fail: a program that looks a name up, connects, and writes into the home folder."""
    (place / "work/sitecustomize.py").write_text(
        "import pathlib, socket\n"
        "try:\n    socket.create_connection(('192.0.2.1', 9), 0.1)\nexcept OSError:\n    pass\n"
        "(pathlib.Path.home() / 'left').mkdir()\n"
        "(pathlib.Path.home() / 'left/file').write_text('x')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place / "work"))
    done = run(place, "--version")
    assert any("192.0.2.1" in call for call in done.network)
    assert done.outside(place / "work") == {str(place / "home/left"), str(place / "home/left/file")}
