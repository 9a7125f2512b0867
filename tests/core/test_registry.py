import pytest

from edgecnn.errors import MissingPackageError, UnknownNameError
from edgecnn.optional_packages import EXTRA, require
from edgecnn.registry import Registry


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    registry.add("crimson", 1, aliases=("red",))
    registry.add("azure", 2)
    return registry


def test_names_and_aliases_lead_to_values(colours):
    assert (colours.get("crimson"), colours.get("red"), colours.get("azure")) == (1, 1, 2)
    assert colours.names() == ["crimson", "azure"]


@pytest.mark.parametrize("name", ["crimson", "red"])
def test_a_name_or_alias_cannot_be_registered_twice(colours, name):
    with pytest.raises(ValueError, match="registered twice"):
        colours.add(name, 3)


def test_an_unknown_name_suggests_its_neighbours(colours):
    with pytest.raises(UnknownNameError, match="unknown colour 'crimsom'") as caught:
        colours.get("crimsom")
    assert caught.value.hint == "did you mean crimson?"


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(EXTRA, "no_such_package", "export")
    with pytest.raises(MissingPackageError, match="counting needs no_such_package") as caught:
        require("no_such_package", "counting")
    assert caught.value.hint == 'pip install "edgecnn[export]"'


def test_a_missing_package_of_no_extra_is_named_by_its_own_name():
    with pytest.raises(MissingPackageError, match="counting needs no_such_package") as caught:
        require("no_such_package.inner", "counting")
    assert caught.value.hint == "pip install no_such_package"
