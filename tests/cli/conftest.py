import pytest


@pytest.fixture(autouse=True)
def briefly(short_warm_up):
    """Of all commands here."""
