"""Run the program under strace, and read where it connected to and what it wrote."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
#: Where `make test` puts strace if the machine has none.
_BUILT = REPOSITORY / "build/strace"
#: Calls that change a file's name or what is known of it; all their paths count.
_CHANGE = (
    *("mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *(
        "symlink",
        "symlinkat",
        "truncate",
        "chmod",
        "fchmodat",
        "chown",
        "lchown",
        "fchownat",
        "mknod",
        "mknodat",
    ),
    *("utime", "utimes", "utimensat", "setxattr"),
)
_OPEN, _NETWORK = ("open", "openat", "creat"), ("connect", "sendto", "sendmsg", "sendmmsg")
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_CALL = re.compile(r"^(?P<call>\w+)\((?P<arguments>.*)\)\s+= (?P<result>.*)$")
#: A folder that a path starts from, as strace's -y says it.
_FOLDER = re.compile(r'(?:AT_FDCWD|\d+)<([^>]*)>, "((?:[^"\\]|\\.)*)"')
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
#: Reading it is how a look-up of a name begins.
_RESOLVER = "/etc/resolv.conf"


@dataclass(frozen=True)
class Traced:
    """What a command did. `network`: calls that went out, or looked a name up; `written`: absolute paths."""

    returncode: int
    errors: str
    network: tuple[str, ...]
    written: frozenset[Path]

    def outside(self, *folders: Path) -> set[str]:
        """Return what was written outside of these folders; devices that keep nothing are none."""
        return {
            str(path)
            for path in self.written
            if not any(path.is_relative_to(folder) for folder in folders)
            and not str(path).startswith(_NOWHERE)
        }


#: What is written there is kept nowhere; semaphores have names for a moment, in memory.
_NOWHERE = ("/dev/null", "/dev/tty", "/dev/shm/sem.", "/proc/self/")


@cache
def command() -> tuple[str, ...] | str:
    """Return the words that start strace, or why it cannot be used."""
    built = _BUILT / "usr/bin/strace"
    found = shutil.which("strace") or (str(built) if built.exists() else None)
    if found is None:
        return "strace is not installed"
    words: tuple[str, ...] = (found,)
    if found == str(built):
        (library,) = built.parents[1].glob("lib/*/libunwind.so.8")
        loader = next(Path("/lib64").glob("ld-linux-x86-64.so.2"))
        words = (str(loader), "--library-path", str(library.parent), found)
    tried = subprocess.run([*words, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if tried.returncode:
        return f"strace cannot trace here: {(tried.stderr.strip().splitlines() or ['it says nothing'])[-1]}"
    return words


def trace(words: list[str], folder: Path, environment: dict[str, str]) -> Traced:
    """Run `edgecnn WORDS` in a folder; its log is beside that."""
    strace, log = command(), folder.parent / f"{folder.name}.strace"
    assert not isinstance(strace, str)
    calls = ",".join(f"?{name}" for name in (*_CHANGE, *_OPEN, *_NETWORK))
    done = subprocess.run(
        [
            *(*strace, "-f", "--seccomp-bpf", "-y", "-s", "4096", "-o", str(log)),
            *("-e", f"trace={calls}", "-e", "signal=none", sys.executable, "-m", "edgecnn", *words),
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    network, written = [], set()
    for line in _joined(log.read_text(errors="surrogateescape").splitlines()):
        call = _CALL.match(line)
        if call is None:
            continue
        name, arguments, result = call["call"], call["arguments"], call["result"]
        if name in _NETWORK:
            if "AF_INET" in arguments:
                network.append(line)
        elif _RESOLVER in arguments:
            network.append(line)
        elif not result.startswith("-1") and (name in (*_CHANGE, "creat") or _WRITING.search(arguments)):
            written.update(_paths(name, arguments, folder))
    return Traced(done.returncode, done.stderr, tuple(network), frozenset(written))


def _joined(lines: list[str]) -> list[str]:
    """Return whole calls: of a thread that was interrupted in one, strace writes two halves."""
    begun: dict[str, str] = {}
    whole = []
    for line in lines:
        process, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>").rstrip()
        elif call.startswith("<... "):
            whole.append(begun.pop(process, "") + call.partition("resumed>")[2])
        else:
            whole.append(call)
    return whole


def _paths(name: str, arguments: str, folder: Path) -> set[Path]:
    """Return the paths that a call names; of a link, both, and of a symbolic one only the new name."""
    pairs = _FOLDER.findall(arguments) or [("", path) for path in _PATH.findall(arguments)]
    if name in ("link", "linkat", "symlink", "symlinkat"):
        pairs = pairs[-1:]
    found = set()
    for start, path in pairs:
        text = path.encode().decode("unicode_escape")
        found.add(Path(os.path.normpath(Path(start or folder) / text)))
    return found
