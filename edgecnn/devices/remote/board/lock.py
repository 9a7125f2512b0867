"""One desk at a time on a board. Runs there, so it needs nothing but Python 3.6."""

import contextlib
import json
import os
import signal
import time

#: Seconds that a lock is good for after it was last renewed: an agent that hangs does not keep it.
EXPIRY = 80.0
#: Seconds to wait for a lock: whoever only asks who has it takes it for a moment.
_PATIENCE = 1.0
#: Bytes of the file: it is written over in place, so that a full disk or a reader meanwhile does no harm.
_SIZE = 512


class Busy(Exception):
    """Another desk has the board."""


class Lock:
    """Held by the system's own lock, so that it ends with the agent, however that ends."""

    def __init__(self, path, owner):
        self.file = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600)  # as long as the process
        if not self.take():
            holder = read(self.file)
            hangs = holder.get("expires", time.monotonic()) < time.monotonic()
            if hangs:  # the lock is free once its holder is gone
                for kill, process in ((os.kill, holder.get("agent")), (os.killpg, holder.get("child"))):
                    if process:
                        with contextlib.suppress(OSError):
                            kill(process, signal.SIGKILL)
            if not (hangs and self.take()):
                os.close(self.file)
                since = time.strftime("%H:%M:%S", time.localtime(holder.get("since", time.time())))
                raise Busy(f"it is in use by {holder.get('owner', 'somebody')} since {since}")
        self.state = {"owner": owner[:200], "since": time.time(), "agent": os.getpid()}
        self.renew()

    def take(self):
        """Take the system's lock; return whether it could be had."""
        import fcntl  # the desk's system, which imports this module too, may have none

        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > end:
                    return False
                time.sleep(0.05)
            else:
                return True

    def renew(self, **changes):
        """Move the expiry ahead; `changes` are the "child" that works now, by its process group."""
        self.state.update(changes)
        # Not the time of day, which jumps where a board without a battery learns it from the network.
        state = dict(self.state, expires=time.monotonic() + EXPIRY)
        os.pwrite(self.file, json.dumps(state).encode().ljust(_SIZE), 0)


def owner(path):
    """Return who has the board now, or None."""
    import fcntl

    try:
        file = os.open(str(path), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return read(file).get("owner", "somebody")
    else:
        return None
    finally:
        os.close(file)


def read(file):
    """Return what its holder wrote into a lock, {} before that."""
    try:
        return json.loads(os.pread(file, _SIZE, 0).decode())
    except ValueError:
        return {}
