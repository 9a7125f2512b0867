"""One board for each worker of the tests, with its environment made once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ssh_board
from filelock import FileLock
from program import run_here
from small_classifier import classifier
from ssh_board import Board


@pytest.fixture(scope="session")
def bare_board(tmp_path_factory) -> Iterator[Board]:
    """A board on which nothing of ours is yet."""
    yield from ssh_board.start(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="session")
def desk(bare_board: Board, tmp_path_factory) -> Iterator[Path]:
    """What a desk has: the board in its list, ssh's options, wheels. Returns the list."""
    folder = tmp_path_factory.mktemp("desk")
    listed = folder / "devices.toml"
    listed.write_text(f'[board]\naddress = "{bare_board.address}"\npython = "{ssh_board.python()}"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECNN_SSH", bare_board.ssh)
        patch.setenv("EDGECNN_DEVICES", str(listed))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(ssh_board.wheels(folder / "wheels")))
        yield listed


@pytest.fixture(scope="session")
def made(bare_board: Board, desk: Path, shared: Path) -> Board:
    """The board, with its environment; its user has an edgecnn of the same version, which does not work.

    The first worker lets one be made; the boards of the others have it already.
    """
    version = "python{}.{}".format(*sys.version_info)
    packages = bare_board.home / ".local/lib" / version / "site-packages"
    ssh_board.install_decoy(packages)
    kept = shared / "environment of boards"
    with FileLock(f"{kept}.lock"):
        if kept.exists():
            _copy(kept, bare_board.files)
            (bare_board.files / "files").mkdir()  # a board that has an environment has been sent files
        done = run_here("doctor", "--on", "board")
        assert done.returncode == 0, done.stderr
        if not kept.exists():
            (environment,) = bare_board.files.glob("environment-*")
            _copy(environment, kept / environment.name)
    _measure_at_once(bare_board)
    return bare_board


def _copy(source: Path, target: Path) -> None:
    """Copy a folder: edgecnn's files, which tests change, and other names for the rest."""

    def copy(name: str, other: str) -> None:
        (shutil.copy2 if "edgecnn" in Path(name).parts else os.link)(name, other)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def _measure_at_once(board: Board) -> None:
    """Let engines there be measured without warming up: beside other tests they are never stable."""
    (path,) = board.files.glob(
        "environment-*/lib/python*/site-packages/edgecnn/measure/latency/profile_engines.py"
    )
    text = path.read_text()
    assert "\n_WARM_LIMIT = 8.0\n" in text
    path.write_text(text.replace("\n_WARM_LIMIT = 8.0\n", "\n_WARM_LIMIT = 0.05\n"))


@pytest.fixture
def board(made: Board, desk: Path, tmp_path: Path, monkeypatch) -> Board:
    """The board with its environment; the test runs in a folder of its own, with a store of its own."""
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "store" / "results.sqlite"))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def ssh(board: Board) -> Board:
    """The board, reached by SSH."""
    if board.without_ssh:
        pytest.skip(board.without_ssh)
    return board


@pytest.fixture
def program(board: Board, tmp_path: Path) -> Callable[[str], None]:
    """Return what lets the environment on the board run this Python instead of edgecnn, for one test."""
    (environment,) = board.files.glob("environment-*")
    (package,) = environment.glob("lib/python*/site-packages/edgecnn/__main__.py")
    original = package.read_text()

    def replace(source: str) -> None:
        package.write_text(source)

    yield replace
    package.write_text(original)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of a few kilobytes, in the folder of the test."""
    return classifier(tmp_path / "m.onnx")


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """What a test that opens no board would find of the user's."""
    if "EDGECNN_DEVICES" not in os.environ:
        monkeypatch.setenv("EDGECNN_DEVICES", str(tmp_path / "devices.toml"))
