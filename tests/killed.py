"""The program, killed at a named point by itself, as `kill -9` would: no clock decides where.

Points are "state N", right after the N-th state of a training is on the disk (one is then written after every
step), "look N", before the N-th time, counted from 0, that a file is opened to be read, and "change N",
before the N-th time that a file or folder within the run's own is opened to be written, made, renamed,
linked or removed. Each has its own count: how often a file is read can depend on the time, as in `compare`.
Pipes and what the kernel shows as files (/proc, /sys) do not count: that depends on the machine.

As a program, `killed.py POINT ARGUMENT...` is `edgecnn ARGUMENT...` with that end. Without arguments it
serves `Program`: it imports what commands need once, and forks for every run.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: What Python tells of files (docs.python.org/3/library/audit_events.html).
_EVENTS = {
    "open", "os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.truncate",
    "sqlite3.connect",
}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, or -9, what it printed, and the points that it passed.

    `points` says of each whether it is a change, rather than a look.
    """

    code: int
    out: str
    errors: str
    points: list[bool]


class Program:
    """Runs in folders of their own: files in work, temporary ones in tmp, caches and results in home."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, root: Path, *arguments: str, point: str = "") -> Ended:
        """Run `edgecnn ARGUMENTS` in `root`/work, to its end or to a point."""
        for name in ("work", "tmp", "home"):
            (root / name).mkdir(parents=True, exist_ok=True)
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin and stdout
        print(json.dumps([str(root), point, arguments]), file=stdin, flush=True)
        return Ended(**json.loads(stdout.readline()))

    def close(self) -> None:
        """End the server."""
        self._server.communicate()


def _serve() -> None:
    import accelerate  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    import edgecnn.compile
    import edgecnn.compress.qat.train_quantized
    import edgecnn.recipe.run_recipe  # noqa: F401

    for line in sys.stdin:
        root, point, arguments = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder)
            if not (child := os.fork()):
                _child(Path(root), own, point, arguments)
            _, status = os.waitpid(child, 0)
            passed = own / "points"
            ended = {
                "code": os.waitstatus_to_exitcode(status),
                "out": (own / "out").read_text(),
                "errors": (own / "errors").read_text(),
                "points": json.loads(passed.read_text()) if passed.exists() else [],
            }
        print(json.dumps(ended), flush=True)


def _child(root: Path, own: Path, point: str, arguments: list[str]) -> None:
    """Run the program in a forked process, and end it."""
    for descriptor, name in ((1, "out"), (2, "errors")):
        os.dup2(os.open(own / name, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(
        TMPDIR=str(root / "tmp"), HOME=str(root / "home"), XDG_CACHE_HOME=str(root / "home" / "cache"),
        EDGECNN_RESULTS=str(root / "home" / "results.sqlite"), COLUMNS="200",
    )  # fmt: skip
    tempfile.tempdir = None
    os.chdir(root / "work")
    passed = _watch(root, point)
    code = 1
    try:
        sys.argv = ["edgecnn", *arguments]
        from edgecnn.cli import main

        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        (own / "points").write_text(json.dumps(passed))
        os._exit(code)


def _watch(root: Path, point: str) -> list[bool]:
    """Be killed at a point; return those passed, which become more and more."""
    kind, _, number = point.partition(" ")
    passed: list[bool] = []
    inside = str(root)

    def look(event: str, arguments: tuple) -> None:
        if event not in _EVENTS:
            return
        looks = event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING)
        paths = arguments[:1] if event == "open" else arguments
        places = [os.fsdecode(item) for item in paths if isinstance(item, str | bytes | os.PathLike)]
        if looks and (not places or os.path.abspath(places[0]).startswith(("/proc/", "/sys/"))):
            return
        if looks or any(os.path.abspath(place).startswith(inside) for place in places):
            passed.append(not looks)
            if kind == ("look" if looks else "change") and passed.count(not looks) > int(number):
                os.kill(os.getpid(), signal.SIGKILL)

    if kind == "state":
        _stop_after_state(int(number))
    sys.addaudithook(look)
    return passed


def _stop_after_state(number: int) -> None:
    from edgecnn.compress.train import resume_state, training_loop

    training_loop.SAVE_SECONDS = 0.0
    write, written = resume_state.TrainingState.write, itertools.count(1)

    def write_and_stop(self: resume_state.TrainingState, path: Path) -> None:
        write(self, path)
        if next(written) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    resume_state.TrainingState.write = write_and_stop


if __name__ == "__main__":
    if len(sys.argv) == 1:
        _serve()
    else:
        from edgecnn.cli import main

        _watch(Path.cwd(), sys.argv.pop(1))
        main()
