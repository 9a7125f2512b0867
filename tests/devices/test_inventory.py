"""The list of devices."""

import pytest

from edgecnn.devices import inventory
from edgecnn.devices.inventory import Device
from edgecnn.errors import InvalidValueError, UnknownNameError

WRITTEN = """\
# The bench.
[orin1]
address = "ssh://nvidia@192.168.1.20"  # on the shelf
target = "jetson-orin-nano"
max_mb = 500

[orin2]
address = "orin2"
"""


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    path = tmp_path / "config" / "devices.toml"
    monkeypatch.setenv("EDGECNN_DEVICES", str(path))
    return path


@pytest.fixture
def written(path):
    path.parent.mkdir()
    path.write_text(WRITTEN)
    return path


def test_a_device_is_read_with_what_is_left_out_at_its_default(written):
    found = inventory.devices()
    assert list(found) == ["orin1", "orin2"]
    assert found["orin1"].max_mb == 500 and found["orin1"].max_seconds == 3600
    assert found["orin2"] == Device("orin2", "orin2")


def test_without_a_list_there_are_no_devices():
    assert inventory.devices() == {}


def test_the_list_is_in_the_folder_of_the_users_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGECNN_DEVICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert inventory.place() == tmp_path / "edgecnn" / "devices.toml"


@pytest.mark.parametrize(
    "text",
    ["ssh://me@host", "ssh://host:2222", "ssh://me@[fe80::1]:22", "ssh://a.b+c@host/", "bench", "me@host"],
)
def test_an_address_or_an_alias_is_a_device_of_its_own(text):
    assert inventory.find(text) == Device(text, text)


def test_a_name_of_the_list_comes_before_an_alias(written):
    assert inventory.find("orin1").address == "ssh://nvidia@192.168.1.20"


@pytest.mark.parametrize("text", ["-oProxyCommand=x", "a b", "ssh://me@host/path", "ssh://", "x;y", "local"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidValueError, match="is no"):
        inventory.find(text)


def test_no_name_at_all_is_refused_with_those_there_are(written):
    with pytest.raises(UnknownNameError) as caught:
        inventory.find("")
    assert "orin1" in caught.value.hint


def test_a_device_that_is_added_leaves_comments_and_others_as_they_are(written):
    inventory.add(Device("thor", "ssh://nvidia@thor", target="jetson-agx-thor"))
    assert written.read_text().startswith(WRITTEN)
    assert inventory.devices()["thor"] == Device("thor", "ssh://nvidia@thor", target="jetson-agx-thor")


def test_the_first_device_makes_the_list(path):
    inventory.add(Device("orin1", "ssh://nvidia@host", max_seconds=60))
    assert inventory.devices() == {"orin1": Device("orin1", "ssh://nvidia@host", max_seconds=60)}


def test_a_device_that_is_added_again_is_replaced(written):
    inventory.add(Device("orin1", "elsewhere"))
    assert inventory.devices()["orin1"] == Device("orin1", "elsewhere")


def test_a_removed_device_is_gone_and_comments_stay(written):
    inventory.remove("orin2")
    assert list(inventory.devices()) == ["orin1"] and "# on the shelf" in written.read_text()


def test_an_unknown_device_is_not_removed_and_the_nearest_is_named(written):
    with pytest.raises(UnknownNameError, match="no device 'orni1'") as caught:
        inventory.remove("orni1")
    assert "orin1" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a]\ntarget = 'jetson-orin-nano'", "a has no address"),
        ("[a]\naddress = 'b'\nadress = 'c'", "unknown key 'adress'"),
        ("[a]\naddress = 5", "address cannot be 5"),
        ("[a]\naddress = 'b'\nmax_mb = 'much'", "max_mb cannot be 'much'"),
        ("[a]\naddress = 'b'\nmax_mb = true", "max_mb cannot be True"),
        ("[a]\naddress = 'b'\nmax_seconds = 0", "limits of a must be above 0"),
        ("[a]\naddress = 'b'\nmax_seconds = nan", "limits of a must be above 0"),
        ("[a]\naddress = 'b c'", "'b c' is no address"),
        ("['a b']\naddress = 'b'", "'a b' is no name"),
        ("[local]\naddress = 'b'", "'local' is no name"),
        ("a = 5", "a is no device"),
        ("[a", "is no TOML"),
    ],
)
def test_a_wrong_list_is_refused_in_one_line(path, text, says):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InvalidValueError) as caught:
        inventory.devices()
    assert says in str(caught.value) and "\n" not in str(caught.value) and caught.value.hint


def test_a_misspelt_key_is_told_the_nearest(path):
    path.parent.mkdir()
    path.write_text("[a]\naddress = 'b'\ntagret = 'c'")
    with pytest.raises(InvalidValueError) as caught:
        inventory.devices()
    assert "target" in caught.value.hint


def test_an_unknown_target_is_told_the_nearest(path):
    with pytest.raises(UnknownNameError) as caught:
        Device("a", "b", target="jetson-orin-nan")
    assert "jetson-orin-nano" in caught.value.hint


def test_a_list_that_cannot_be_read_is_one_line(path):
    path.mkdir(parents=True)
    with pytest.raises(InvalidValueError, match="cannot be read"):
        inventory.devices()
