"""One desk at a time on a board. Runs there, so it needs nothing but Python 3.6."""

import contextlib
import fcntl
import json
import os
import re
import signal
import time

#: Seconds that a lock is good for after it was last renewed: an agent that hangs does not keep it.
EXPIRY = 80.0


class Busy(Exception):
    """Another desk has the board."""


class Lock:
    """Held by the system's own lock, so that it ends with the agent, however that ends."""

    def __init__(self, path, owner):
        self.stream = open(str(path), "a+")  # noqa: SIM115 - as long as the process
        try:
            self.take()
        except OSError:
            holder = self.holder()
            if holder.get("expires", time.time()) >= time.time():
                since = time.strftime("%H:%M:%S", time.localtime(holder.get("since", time.time())))
                raise Busy(f"it is in use by {holder.get('owner', 'somebody')} since {since}") from None
            # An agent that renews its lock no longer hangs; the lock is free once it is gone.
            for kill, process in ((os.kill, holder.get("agent")), (os.killpg, holder.get("child"))):
                if process:
                    with contextlib.suppress(OSError):
                        kill(process, signal.SIGKILL)
            time.sleep(0.5)
            self.take()
        self.state = {"owner": owner, "since": time.time(), "agent": os.getpid()}
        self.renew()

    def take(self):
        """Take the system's lock, or raise OSError."""
        fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def owner(path):
        """Return who has the board now, or None."""
        try:
            with open(str(path)) as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except OSError:
            with open(str(path)) as stream:
                found = re.search('"owner": "([^"]*)"', stream.read())
                return found.group(1) if found else "somebody"
        return None

    def holder(self):
        """Return what its holder wrote."""
        self.stream.seek(0)
        try:
            return json.loads(self.stream.read())
        except ValueError:  # just being written
            return {}

    def renew(self, child=None):
        """Move the expiry ahead."""
        if child is not None:
            self.state["child"] = child
        self.stream.seek(0)
        self.stream.truncate()
        self.stream.write(json.dumps(dict(self.state, expires=time.time() + EXPIRY)))
        self.stream.flush()
