"""Code of a user's own: how it is named, loaded and called, and that nothing else makes it run."""

import sys

import own_code
import pytest
import torch
from torch import nn

from edgecnn.errors import ArtifactError, CodeError, InvalidValueError
from edgecnn.zoo import checkpoint, user_code
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.reference import Reference, read_arguments
from edgecnn.zoo.spec import NetworkSpec

NET = "from torch import nn\ndef net(width=4, *, num_classes=3):\n    return nn.Sequential(nn.Flatten(), "
NET += "nn.Linear(192, width), nn.Linear(width, num_classes))\n"


def written(folder, text, name="nets.py"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize(
    ("text", "place", "function"),
    [
        ("a/b.py:net", "a/b.py", "net"),
        ("C:\\nets\\b.py:Nets.make", "C:\\nets\\b.py", "Nets.make"),
        ("package.module:Net", "package.module", "Net"),
        ("timm:resnet18.a1_in1k", "timm", "resnet18.a1_in1k"),
    ],
)
def test_a_reference_is_a_place_and_a_function(text, place, function):
    assert Reference.parse(text) == Reference(place, function)


@pytest.mark.parametrize(
    "text", ["b.py:", ":net", "b.py:two words", "not-a-module:net", "timm:hf-hub:x/y", "timm:../x"]
)
def test_what_names_no_function_is_refused(text):
    with pytest.raises(InvalidValueError):
        Reference.parse(text)


def test_a_file_without_a_function_is_answered_with_those_that_it_has(tmp_path):
    path = written(tmp_path, "raise SystemExit\ndef small(): pass\nclass Large: pass\ndef _private(): pass\n")
    with pytest.raises(InvalidValueError, match="which function") as caught:
        NetworkSpec(path, resolution=8)
    assert caught.value.hint == f"{path}:small or {path}:Large"


def test_arguments_are_read_as_yaml_reads_scalars():
    given = ["a=8", "b=0.5", "c=true", "d=no", "e=", "f='8'", "g=[1, 2]", "h=x=y"]
    assert read_arguments(given) == {
        "a": 8, "b": 0.5, "c": True, "d": "no", "e": None, "f": "8", "g": [1, 2], "h": "x=y",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["width", "=8", "a b=1", "a={b: 1}", "a=[[1]]", "a=[1"])
def test_what_is_no_argument_is_refused(text):
    with pytest.raises(InvalidValueError, match=r"argument|`arg` a"):
        read_arguments([text])
    with pytest.raises(InvalidValueError, match="given twice"):
        read_arguments(["a=1", "a=2"])


def test_what_a_function_takes_is_passed(tmp_path):
    path = written(tmp_path, NET)
    spec = NetworkSpec(f"{path}:net", resolution=8, num_classes=7, args=("width=6",))
    opened = open_network(spec)
    assert opened.network[2].weight.shape == (7, 6) and not opened.network.training
    built = opened.lineage[0].parameters
    assert built["arguments"] == {"width": 6, "num_classes": 7} and built["architecture"] == "nets.py:net"
    assert len(built["code_sha256"]) == 64


@pytest.mark.parametrize(
    ("options", "reason", "hint"),
    [
        ({"args": ("widht=6",)}, "nets.py:net takes no argument 'widht'", "did you mean width?"),
        ({"in_channels": 1}, "does not take channels", "leave out `channels`"),
        ({"alpha": 0.5}, "does not take alpha", "leave out `alpha`"),
    ],
)
def test_what_a_function_does_not_take_is_one_line(options, reason, hint, tmp_path):
    with pytest.raises(InvalidValueError, match=reason) as caught:
        open_network(NetworkSpec(f"{written(tmp_path, NET)}:net", resolution=8, **options))
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import torch\nx = nothing\n", "nets.py, line 2: NameError: name 'nothing' is not defined"),
        ("def net(:\n", "nets.py, line 1: SyntaxError: "),
        ("import nowhere_at_all\n", "nets.py, line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit(0)\n", "nets.py, line 2: it ends the program"),
        ("def net():\n    return 1 / 0\n", "nets.py, line 2: ZeroDivisionError"),
        ("def net():\n    return {}\n", "gives a dict, not a network"),
        ("from broken import net\n", "broken.py, line 1: NameError"),
    ],
)
def test_an_error_in_the_code_is_one_line_with_its_place(text, reason, tmp_path):
    (tmp_path / "broken.py").write_text("also_nothing\n")
    code = Reference(written(tmp_path, text), "net")
    with pytest.raises(CodeError) as caught:
        user_code.load(code).build({}, 0)
    assert reason in str(caught.value) and caught.value.hint and "\n" not in str(caught.value)


def test_an_error_in_a_forward_says_where(tmp_path):
    text = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x.no\n"
    from edgecnn.zoo import cost

    network = user_code.load(Reference(written(tmp_path, text), "Net")).build({}, 0)
    with pytest.raises(CodeError, match=r"nets\.py, line 4: AttributeError"):
        cost.count(network, 3, 8)


def test_there_has_to_be_such_a_function_and_such_a_module(tmp_path, monkeypatch):
    path = written(tmp_path, NET)
    with pytest.raises(InvalidValueError, match="has no nett") as caught:
        user_code.load(Reference(path, "nett"))
    assert caught.value.hint == "did you mean net?"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match="there is no module package_that_is_not"):
        user_code.load(Reference("package_that_is_not.nets", "net"))
    assert user_code.load(Reference("nets", "net")).function.__module__ == "nets"  # of the current folder
    del sys.modules["nets"]


def test_each_file_finds_its_own_neighbours_and_leaves_no_path(tmp_path, capsys):
    before = list(sys.path)
    for name in ("one", "two"):
        written(tmp_path / name, f"print('noise')\nNAME = '{name}'\n", "beside.py")
        path = written(
            tmp_path / name,
            "import beside\nfrom torch import nn\nclass Net(nn.Identity):\n    at = beside.NAME\n",
        )
        assert user_code.load(Reference(path, "Net")).function.at == name
    assert sys.path == before and capsys.readouterr().out == ""
    del sys.modules["beside"]


def test_whether_weights_are_new_is_seen_by_other_seeds(tmp_path):
    head = "import torch\nfrom torch import nn\ndef net(num_classes=2):\n"
    new = "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(8, 2))\n"
    known = (
        new.replace("return", "found =") + "    nn.init.constant_(found[0].weight, 0.1)\n    return found\n"
    )
    opened = open_network(NetworkSpec(f"{written(tmp_path, head + new)}:net", resolution=8))
    assert opened.origin == "random" and opened.new_layers == ()
    opened = open_network(NetworkSpec(f"{written(tmp_path, head + known)}:net", resolution=8))
    assert opened.origin == "its own" and opened.new_layers == ("3",)


# -- no file makes code run --------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A checkpoint whose code says that it ran."""
    text = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n{NET}"
    reference = f"{written(tmp_path, text)}:net"
    spec = NetworkSpec(reference, resolution=8, args=("width=6",))
    opened = open_network(spec)
    manifest = checkpoint.describe(
        spec, opened.network, opened.lineage, preprocessing=spec.preprocessing, labels=None, weights="data"
    )
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, opened.network, manifest)
    (tmp_path / "ran").unlink()
    return path, reference, opened.network


def test_a_checkpoint_does_not_make_its_code_run(saved, tmp_path, monkeypatch):
    path, reference, network = saved
    monkeypatch.chdir(tmp_path)  # where its name alone would find it
    with pytest.raises(ArtifactError, match="no file makes edgecnn run code") as caught:
        NetworkSpec(str(path))
    assert caught.value.hint.endswith("`code` nets.py:net") and not (tmp_path / "ran").exists()
    loaded = checkpoint.load(path, code=reference)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded.network(images), network(images)) and loaded.notes == []


def test_code_that_is_not_what_it_was_is_said(saved, tmp_path):
    path, reference, _ = saved
    written(tmp_path, NET)
    (note,) = checkpoint.load(path, code=reference).notes
    assert "nets.py:net is not what this was made with" in note


def test_with_other_classes_the_function_is_told(saved):
    loaded = checkpoint.load(saved[0], code=saved[1], num_classes=5)
    assert loaded.network[2].weight.shape == (5, 6) and "starts anew" in loaded.notes[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"code": "nets.py"}, "does not say which function"),
        ({"code": "timm:resnet18"}, "names no code of yours"),
        ({"args": ("width=6",)}, "says itself"),
    ],
)
def test_what_is_no_code_of_a_checkpoint_is_refused(saved, options, reason):
    with pytest.raises(InvalidValueError, match=reason):
        NetworkSpec(str(saved[0]), **options)
    with pytest.raises(InvalidValueError, match="needs no `code`"):
        NetworkSpec("lenet5", code=saved[1])
    with pytest.raises(InvalidValueError, match="takes no `arg`"):
        NetworkSpec("lenet5", args=("width=6",))


def test_neighbours_are_found(tmp_path):
    spec = NetworkSpec(f"{own_code.write(tmp_path)}:TwoHeads", image_size="16x24")
    assert tuple(spec.size) == (16, 24) and spec.stem == "TwoHeads"
    assert isinstance(open_network(spec).network.body[0].norm, nn.BatchNorm2d)
