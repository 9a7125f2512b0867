"""OpenVINO reports nothing, and leaves nothing in the home folder: its system calls are watched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from program import SMALL

pytest.importorskip("openvino_telemetry", reason="OpenVINO's package for reports is not installed")

TRACED = "connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink"
#: Every way by which the package imports the library in one process: building, running, looking.
PROGRAM = """
import sys
from pathlib import Path
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.runtime import openvino_probe
from edgecnn.runtime import load
done = compile_file(CompileRequest(Path(sys.argv[1]), Path(sys.argv[2]), "openvino", threads=1))
load(done.path, threads=1).close()
openvino_probe.probe()
assert "openvino" in sys.modules
"""


class Traced:
    """Runs a program with an empty home folder, and keeps what it asked of the network and wrote there."""

    def __init__(self, folder: Path) -> None:
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("strace is missing: apt install strace")
        self.strace, self.log, self.home = strace, folder / "strace.log", folder / "home"
        self.cache = folder / "cache"
        self.home.mkdir()

    def run(self, *command: str) -> tuple[list[str], list[str]]:
        """Return the calls that address somebody, and those that change the home folder."""
        # CI says so itself, and hushes it.
        plain = {key: value for key, value in os.environ.items() if key != "CI"}
        done = subprocess.run(
            [self.strace, "-f", "-qq", "-s", "200", "-e", f"trace={TRACED}", "-o", str(self.log), *command],
            env={**plain, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.cache)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if "PTRACE" in done.stderr and done.returncode:
            pytest.skip("strace may not trace here: " + done.stderr.strip())
        assert done.returncode == 0, done.stderr
        lines = self.log.read_text(errors="replace").splitlines()
        asked = [line for line in lines if re.search(r" (connect|send\w+)\(", line)]
        changes = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|(mkdir|rename|unlink|creat)\w*\(")
        written = [line for line in lines if f'"{self.home}' in line and changes.search(line)]
        return asked, [*written, *map(str, self.home.rglob("*"))]


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    return Traced(tmp_path)


@pytest.mark.slow
def test_the_library_by_itself_does(traced):
    _, written = traced.run(sys.executable, "-c", "import openvino")
    assert any("intel" in line for line in written), "what the others look for would not be seen"


def test_nothing_is_reported_or_written(traced, exported, tmp_path):
    output = str(tmp_path / "l.xml")
    assert traced.run(sys.executable, "-c", PROGRAM, str(exported("lenet5")), output) == ([], [])


@pytest.mark.slow
def test_no_command_reports_anything(traced, exported, tmp_path, coffee):
    program = [sys.executable, "-m", "edgecnn"]
    source = str(exported(*SMALL))
    engine = str(tmp_path / "m.xml")
    for command in (
        ["compile", source, "--backend", "openvino", "-o", engine],
        ["predict", engine, str(coffee)],
        ["doctor"],
    ):
        asked, written = traced.run(*program, *command)
        assert (command, asked, written) == (command, [], [])
