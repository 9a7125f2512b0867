"""Checkpoints of other programs: which weights are taken, and files that were made to harm."""

import io
import pickle
import resource
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from edgecnn.errors import WeightsError
from edgecnn.zoo import create, pickle_scan
from edgecnn.zoo.state_file import memory_limit, read_state

MOST = 1 << 30
PLAIN, AVERAGED = {"a.weight": torch.ones(2)}, {"a.weight": torch.full((2,), 2.0)}


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("plain", ["state_dict", "model", "net"])
def test_averaged_weights_are_offered_beside_the_others(tmp_path, plain, key):
    path = saved(tmp_path / "w.pth", {"epoch": 3, key: AVERAGED, plain: PLAIN})
    state = read_state(path, MOST)
    assert torch.equal(state.tensors["a.weight"], PLAIN["a.weight"])
    assert f"`weights` {path}#{key}" in state.notes[0]
    assert torch.equal(read_state(path, MOST, key).tensors["a.weight"], AVERAGED["a.weight"])


def test_averaged_weights_alone_are_loaded_and_said(tmp_path):
    state = read_state(saved(tmp_path / "w.pth", {"ema": {"module": AVERAGED}, "epoch": 1}), MOST)
    assert torch.equal(state.tensors["a.weight"], AVERAGED["a.weight"])
    assert "under ema" in state.notes[0]


def test_an_optimizers_state_is_no_network(tmp_path):
    moments = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2)}},
        "param_groups": [{"lr": 0.1}],
    }
    content = {"optimizer": moments, "weights": PLAIN}
    assert read_state(saved(tmp_path / "w.pth", content), MOST).tensors.keys() == PLAIN.keys()


def test_of_several_networks_one_has_to_be_named(tmp_path):
    path = saved(tmp_path / "w.pth", {"generator": PLAIN, "discriminator": AVERAGED})
    with pytest.raises(WeightsError, match="several networks' weights: generator, discriminator") as caught:
        read_state(path, MOST)
    assert f"{path}#generator" in caught.value.hint
    with pytest.raises(WeightsError, match="no weights called 'other'"):
        read_state(path, MOST, "other")


def test_a_dictionary_that_holds_itself_is_no_state(tmp_path):
    content: dict = {"epoch": 1}
    content["model"] = content
    with pytest.raises(WeightsError, match="not a state dictionary"):
        read_state(saved(tmp_path / "w.pth", content), MOST)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before 1.6"])
def test_a_whole_pickled_network_is_named_as_such(tmp_path, archive):
    path = tmp_path / "w.pth"
    saved(path, torch.nn.Sequential(torch.nn.Linear(2, 2)), _use_new_zipfile_serialization=archive)
    with pytest.raises(WeightsError, match=r"whole pickled network \(torch\.nn\.modules\.\w+") as caught:
        read_state(path, MOST)
    assert "state_dict(), 'weights.pth'" in caught.value.hint and "edgecnn quantize" in caught.value.hint


def test_a_torchscript_program_is_named_as_such(tmp_path):
    path = tmp_path / "w.pth"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(WeightsError, match="TorchScript program"):
        read_state(path, MOST)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before 1.6"])
def test_views_tied_and_half_tensors_load(tmp_path, archive):
    whole = torch.arange(12.0).reshape(3, 4)
    content = {
        "part": whole[1:, ::2],
        "tied": whole,
        "half": whole.half(),
        "none": torch.empty(0, 3),
        "one": torch.tensor(1),
    }
    path = saved(tmp_path / "w.pth", content, _use_new_zipfile_serialization=archive)
    tensors = read_state(path, MOST).tensors
    assert all(torch.equal(tensors[key], value) for key, value in content.items())


# -- made to harm ------------------------------------------------------------------------------------------


def rewritten(path, change, compress=zipfile.ZIP_STORED):
    """Write an archive of torch.save anew: `change` gives each record's bytes from its name and bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", compress) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    path.write_bytes(out.getvalue())
    return path


def lying(size: int, elements: int) -> bytes:
    """A pickle of one tensor of `size` floats on a storage that is said to hold `elements`."""

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (storage, 0, (size,), (1,), False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", torch.FloatStorage, "0", "cpu", elements) if thing is storage else None

    storage, stream = object(), io.BytesIO()
    Pickler(stream, protocol=2).dump({"a": Tensor()})
    return stream.getvalue()


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(1000)})
    grown = rewritten(
        path, lambda name, old: bytes(8 << 20) if name.endswith("data/0") else old, zipfile.ZIP_DEFLATED
    )
    assert grown.stat().st_size < 20_000
    with pytest.raises(WeightsError, match=r"would take 0\.00839 GB of memory"):
        read_state(path, 1 << 20)


@pytest.mark.parametrize("size, elements", [(4, 1 << 40), (1 << 40, 4), (8, 4), (1 << 40, 1 << 40)])
def test_a_tensor_that_is_larger_than_its_record_is_refused(tmp_path, size, elements):
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(4)})
    assert lying(4, 4)  # the honest one loads:
    rewritten(path, lambda name, old: lying(4, 4) if name.endswith("data.pkl") else old)
    assert read_state(path, MOST).tensors["a"].shape == (4,)
    rewritten(path, lambda name, old: lying(size, elements) if name.endswith("data.pkl") else old)
    with pytest.raises(WeightsError, match=r"not a readable|would take"):
        read_state(path, MOST)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x02\x85R.",  # bytearray(2**33)
        b"\x80\x02" + b"]" * 30_000 + b".",
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
    ],
    ids=["bytearray", "lists", "tuples", "memo", "string"],
)
@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before 1.6"])
def test_a_pickle_that_takes_memory_is_refused(tmp_path, monkeypatch, content, archive):
    monkeypatch.setattr(pickle_scan, "_MOST_OPCODES", 20_000)
    path = saved(tmp_path / "w.pth", PLAIN, _use_new_zipfile_serialization=archive)
    if archive:
        rewritten(path, lambda name, old: content if name.endswith("data.pkl") else old)
    else:
        path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError):
        read_state(path, MOST)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_a_file_of_holes_is_refused_by_its_size(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(PLAIN, path)
    with open(path, "r+b") as stream:
        stream.truncate(9 << 30)
    with pytest.raises(WeightsError, match=r"would take 9\.66 GB"):
        read_state(path, memory_limit(create("lenet5")))


def test_a_header_that_lies_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        read_state(path, MOST)
