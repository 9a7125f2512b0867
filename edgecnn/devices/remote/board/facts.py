"""What a board is. Runs there, so it needs nothing but Python 3.6."""

import getpass
import importlib.machinery
import os
import platform
import shutil
import site
import socket
import sys
from pathlib import Path

from edgecnn.devices.remote.board.lock import owner


def facts(home, libraries):
    """Return what the desk must know to make an environment, and how much room there is.

    Of each of `libraries`, names of modules, whether the board has its own.
    """
    folder = Path(home)
    there = next(item for item in (folder, *folder.parents) if item.exists())
    return {
        "home": str(folder),
        "user": user(),
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "libc": platform.libc_ver(),
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "user_base": site.getuserbase(),
        "venv": has("venv"),
        **{name: has(name) for name in libraries},
        "free": shutil.disk_usage(str(there)).free,
        "in_use": owner(folder / "lock"),
        # Whether each has the last file that is put there: without it, it was never finished.
        "environments": {item.name: (item / "complete").exists() for item in folder.glob("environment-*")},
    }


def user():
    """Return the user's name; some have a number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def has(module):
    """Return whether an environment made by this Python would find a module: not one of this Python's own."""
    own = sys.prefix if sys.prefix != sys.base_prefix else None
    paths = [path for path in sys.path if path and not (own and path.startswith(own + os.sep))]
    return importlib.machinery.PathFinder.find_spec(module, paths) is not None
