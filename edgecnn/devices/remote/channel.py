"""A program at the other end of ssh: what it sends is taken in by frames, of bounded size and number."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

from edgecnn.devices.remote.board import frames

Frame = tuple[dict[str, Any], bytes]

#: Bytes that a shell's start-up files may print before the agent's first word.
_NOISE = 1 << 20
#: Bytes of a line on standard error, and lines that are remembered.
_LINE, _LINES = 1000, 200
#: Frames that wait to be read; the other end has to wait with more.
_WAITING = 16
#: Seconds that ssh has to end after its input has.
_LEAVING = 5.0


class Silent(Exception):
    """Nothing came, or nothing was taken, within the time."""


class Closed(Exception):
    """The other end is gone."""


class Channel:
    """Frames to and from what `command` runs.

    Whatever the other end does, a call returns or raises within its time: `Silent`, `Closed`, or `Damaged`
    where what comes is no frame.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # ^C ends the program on the board first, over this connection.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        self._sink = _pipe(self._process.stdin)
        os.set_blocking(self._sink.fileno(), False)
        # Not a Queue: an interrupt while it waits leaves that one broken.
        self._frames: queue.SimpleQueue[Frame | Exception] = queue.SimpleQueue()
        self._room = threading.Semaphore(_WAITING)
        self._writing = threading.Lock()
        self._said: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._closing = threading.Event()
        self._errors = threading.Thread(target=self._listen_to_errors, daemon=True)
        self._errors.start()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, content: bytes, seconds: float) -> None:
        """Write bytes; raises Silent where they are not taken within so many seconds, or Closed."""
        deadline = time.monotonic() + seconds
        if not self._writing.acquire(timeout=seconds):
            raise Silent
        try:
            ready = select.poll()
            ready.register(self._sink, select.POLLOUT)
            view = memoryview(content)
            while view:
                left = deadline - time.monotonic()
                if left <= 0 or not ready.poll(left * 1000):
                    raise Silent
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._sink.fileno(), view) :]
        except (OSError, ValueError) as error:  # ValueError: it is closed here
            raise Closed from error
        finally:
            self._writing.release()

    def receive(self, seconds: float) -> Frame:
        """Return the next frame; raises Silent if none comes within so many seconds, Closed or Damaged."""
        try:
            found = self._frames.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            raise Silent from None
        if isinstance(found, Exception):
            self._frames.put(found)
            raise found
        self._room.release()
        return found

    def close(self) -> None:
        """End the other end's input, and ssh if it does not end by that."""
        self._closing.set()
        if self._writing.acquire(timeout=_LEAVING):
            with contextlib.suppress(OSError):
                self._sink.close()
            self._writing.release()
        try:
            self._process.wait(_LEAVING)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End ssh at once."""
        self._process.kill()
        self._process.wait()

    def last_words(self) -> tuple[int | None, list[str]]:
        """Return ssh's exit code, None if it still runs, and the last lines of standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVING)
        self._errors.join(1)
        return self._process.returncode, list(self._said)

    def _listen(self) -> None:
        """Take frames in until there are no more; however that ends, whoever waits for one is told."""
        ended: Exception = Closed()
        try:
            stream = _pipe(self._process.stdout)
            if _greeted(stream):
                while (found := frames.read_frame(stream, frames.HEADER)) and self._has_room():
                    self._frames.put(found)
        except frames.Damaged as error:
            ended = error
        finally:
            self._frames.put(ended)

    def _has_room(self) -> bool:
        while not self._room.acquire(timeout=0.5):
            if self._closing.is_set():
                return False
        return True

    def _listen_to_errors(self) -> None:
        stream = _pipe(self._process.stderr)
        while line := stream.readline(_LINE):
            self._said.append(line.decode(errors="replace").strip())


def _greeted(stream: IO[bytes]) -> bool:
    """Read on to the agent's first word, and return whether it came. What is before it is a shell's."""
    left = _NOISE
    while line := stream.readline(left):
        if line.endswith(frames.HELLO):
            return True
        left -= len(line)
        if left <= 0:
            raise frames.Damaged(f"more than {_NOISE} bytes before its agent's first word")
    return False


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
