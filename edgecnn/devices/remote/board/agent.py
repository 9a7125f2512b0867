"""What runs on a board: it keeps files by their content, and runs programs, for the desk.

Its source is sent whenever a connection is made, so that it needs nothing but Python 3.6 and is never of
another version than the desk's. Everything it writes is in one folder.

It ends, with what it runs, when its input ends, and when it hears nothing for `SILENCE` seconds: a connection
that breaks without a word leaves no process behind and no lock.
"""

import contextlib
import errno
import hashlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from edgecnn.devices.remote.board.facts import facts
from edgecnn.devices.remote.board.frames import FRAME, HELLO, SILENCE, read_frame, write_frame
from edgecnn.devices.remote.board.lock import Busy, Lock

#: Seconds that a program has to end by itself, which is when it puts clocks and governors back.
GRACE = 20.0
#: Makes the program that follows end if the agent is killed, which then cannot end it; and heed SIGINT, which
#: is ignored where the SSH server was started in the background of a script.
_TIED = (
    "import ctypes, os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "ctypes.CDLL(None).prctl(1, 15); os.getppid() == int(sys.argv[1]) or sys.exit(1);"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


class Refusal(Exception):
    """What was asked cannot be done; the desk says so to its user, with a way out."""


class Agent:
    """Answers each frame {"do": NAME, ...} by the method `do_NAME`, one after the other.

    "ping" and "stop" are heard at any time. `home` is the folder of everything; `libraries` are what the desk
    asks after.
    """

    def __init__(self, home, source, sink, libraries):
        self.libraries = libraries
        self.home, self.source, self.sink = Path(os.path.realpath(home)), source, sink
        self.requests: queue.Queue[tuple[dict, bytes]] = queue.Queue()
        self.writing = threading.Lock()
        self.leaving, self.ending = threading.Lock(), threading.Lock()
        self.child = None
        self.stopped = threading.Event()
        self.heard = time.monotonic()
        self.lock = None
        self.wanted = {}  # bytes that are to come of each file that the desk has named

    def serve(self):
        """Answer until the desk is gone."""
        self.sink.write(HELLO)
        self.send(facts(self.home, self.libraries))
        for loop in (self.listen, self.watch):
            threading.Thread(target=loop, daemon=True).start()
        while True:
            header, body = self.requests.get()
            try:
                answer = getattr(self, "do_" + header["do"])(header, body)
            except Busy as busy:
                answer = {"refused": str(busy), "hint": "try again when it is free"}
            except Refusal as refusal:
                answer = {"refused": refusal.args[0], "hint": refusal.args[1]}
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                hint = "free some space there" if full else None
                answer = {"refused": describe(error, self.home), "hint": hint}
            if answer is not None:
                self.send(answer)

    def send(self, header, body=b""):
        """Write a frame; whoever cannot be written to is gone."""
        try:
            with self.writing:
                write_frame(self.sink, header, body)
        except OSError:
            self.leave()

    def listen(self):
        """Take frames in, and hear what is not to wait."""
        while True:
            frame = read_frame(self.source)
            self.heard = time.monotonic()
            if frame is None:
                self.leave()
            elif frame[0]["do"] == "stop":
                self.stopped.set()
            elif frame[0]["do"] == "ping":
                self.send({"pong": True})
            else:
                if frame[0]["do"] == "run":
                    self.stopped.clear()  # here, in the order in which they come
                self.requests.put(frame)

    def watch(self):
        """Keep the lock's expiry ahead, and leave when the desk falls silent."""
        while time.monotonic() - self.heard < SILENCE:
            if self.lock is not None:
                with contextlib.suppress(OSError):
                    self.lock.renew()
            time.sleep(min(1.0, SILENCE / 10))
        self.leave()

    def leave(self):
        """End what runs, and this process; the lock goes with it."""
        with self.leaving:
            self.stopped.set()
            self.end_child()
            if self.lock is not None:
                shutil.rmtree(str(self.home / "jobs"), ignore_errors=True)
            os._exit(1)

    def end_child(self):
        """End what runs, by one SIGINT only: a second one would cut short what it puts back."""
        with self.ending:
            if self.child is not None:
                end(self.child)

    def do_lock(self, header, body):
        """Take the board for one desk, whose name is "owner"."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = Lock(self.home / "lock", header["owner"])
        # What a killed agent left there; nobody else works now.
        shutil.rmtree(str(self.home / "jobs"), ignore_errors=True)
        (self.home / "jobs").mkdir()
        return {}

    def do_have(self, header, body):
        """Say what is missing of "files" (size by SHA-256): how many bytes of each are there.

        What was used longest ago goes, as far as all files together would be more than "limit" bytes. A desk
        names many files in parts, and says which is the "first".
        """
        kept, partial = self.home / "files", self.home / "partial"
        for folder in (kept, partial):
            folder.mkdir(exist_ok=True)
        missing = {}
        if header.get("first", True):
            self.wanted = {}
        for name, size in header["files"].items():
            self.wanted[name] = 0
            if (kept / name).is_file():
                os.utime(str(kept / name))
            else:
                there = (partial / name).stat().st_size if (partial / name).is_file() else 0
                missing[name] = min(there, size)
                self.wanted[name] = size - missing[name]
        wanted = sum(self.wanted.values())
        self.make_room(header.get("limit"), wanted)
        free = shutil.disk_usage(str(self.home)).free
        if wanted > free:
            raise Refusal(
                f"no room in {self.home}: {wanted / 1e6:.0f} MB are needed, {free / 1e6:.0f} are free",
                "free some space there",
            )
        return {"missing": missing}

    def make_room(self, limit, wanted):
        """Delete files that are not wanted, oldest first, until `wanted` bytes more stay within `limit`."""
        folders = (self.home / "files", self.home / "partial")
        there = [(item.stat(), item) for folder in folders for item in folder.iterdir()]
        total = wanted + sum(stat.st_size for stat, _ in there)
        for stat, item in sorted(there, key=lambda pair: pair[0].st_mtime):
            if limit is None or total <= limit:
                return
            if item.name not in self.wanted:
                item.unlink()
                total -= stat.st_size

    def do_put(self, header, body):
        """Add to files: "parts" are [SHA-256, offset, bytes here, bytes in all], one after the other."""
        start = 0
        for name, offset, size, whole in header["parts"]:
            partial = self.home / "partial" / name
            try:
                with open(str(partial), "r+b" if offset else "wb") as stream:
                    stream.seek(offset)
                    stream.write(body[start : start + size])
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    with contextlib.suppress(OSError):
                        partial.unlink()  # rather no file than a full disk
                raise
            start += size
            if offset + size == whole:
                if digest(partial) != name:
                    partial.unlink()
                    raise Refusal("a file arrived damaged", "try again")
                os.replace(str(partial), str(self.home / "files" / name))
        return {}

    def do_link(self, header, body):
        """Make "folder" with "files": SHA-256 by name.

        The content is shared: a program may replace such a file, and must not write into it.
        """
        folder = self.home / header["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        for name in header.get("folders", ()):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, content in header["files"].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(str(self.home / "files" / content), str(folder / name))
        return {}

    def do_run(self, header, body):
        """Run "argv" in "folder" with "env" for at most "seconds", and send what it prints as it comes."""
        if self.lock is None:
            raise Refusal("it is not locked", None)
        environment = dict(os.environ, **header["env"])
        self.child = subprocess.Popen(
            [sys.executable, "-c", _TIED, str(os.getpid())] + header["argv"],
            cwd=str(self.home / header["folder"]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.lock.renew(child=self.child.pid)
        pumps = [
            threading.Thread(target=self.pump, args=(name, getattr(self.child, name)), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for thread in pumps:
            thread.start()
        deadline = time.monotonic() + header["seconds"]
        why = None
        while self.child.poll() is None and why is None:
            if self.stopped.wait(0.05):
                why = "stopped"
            elif time.monotonic() > deadline:
                why = "late"
        self.end_child()
        for thread in pumps:
            thread.join()
        code, self.child = self.child.returncode, None
        self.lock.renew(child=None)
        return {"exit": code, "why": why}

    def pump(self, name, stream):
        """Send what a program prints."""
        for body in iter(lambda: os.read(stream.fileno(), 1 << 16), b""):
            self.send({"of": name}, body)

    def do_list(self, header, body):
        """Return [name, bytes, SHA-256] of the "names" under "folder" that are files of the program's own.

        What the desk put there is none, nor is a link.
        """
        folder, kept = self.home / header["folder"], self.home / "files"
        given = {(item.stat().st_ino) for item in kept.iterdir()}
        found = []
        for name in header["names"]:
            path = folder / name
            if path.is_file() and not path.is_symlink() and path.stat().st_ino not in given:
                found.append([name, path.stat().st_size, digest(path)])
        return {"files": found}

    def do_get(self, header, body):
        """Send a frame of the file "path" from "offset" on."""
        with open(str(self.home / header["path"]), "rb") as stream:
            stream.seek(header["offset"])
            self.send({"of": "file"}, stream.read(FRAME))

    def do_remove(self, header, body):
        """Delete "paths", files or folders, where they are there; "" is everything."""
        for name in header["paths"]:
            path = self.home / name
            if path.is_dir():
                shutil.rmtree(str(path))
            elif path.exists():
                path.unlink()
        return {}


def end(child):
    """End a program and all that it started: by SIGINT, as ^C would, then by force."""
    if child.poll() is None:
        signal_group(child, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    signal_group(child, signal.SIGKILL)
    child.wait()


def signal_group(child, number):
    """Send a signal to a program and to what it started."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, number)


def digest(path):
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with open(str(path), "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def describe(error, home):
    """Return what an error of the system means, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {home} is full"
    return f"{error.filename or home}: {(error.strerror or str(error)).lower()}"


def main(libraries):
    """Serve the desk that sent this source; it asks which of some libraries the board has."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    home = os.path.join(os.path.expanduser("~"), ".edgecnn")
    try:
        Agent(home, source, sink, libraries).serve()
    except OSError as error:
        sys.exit(describe(error, home))
