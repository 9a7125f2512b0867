"""A board for the tests: an SSH server on this machine with a home of its own, or a stand-in for one."""

from __future__ import annotations

import getpass
import io
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
#: Where `make test` puts OpenSSH's server if the machine has none.
_BUILT = REPOSITORY / "build/sshd"
#: What edgecnn needs on a board, and pip.
_NEEDED = ("click", "numpy", "pillow", "pyyaml", "rich", "onnxruntime", "matplotlib", "pip")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Board:
    """`home` is the user's there; `address` and `ssh` are what a desk needs to come in."""

    home: Path
    folder: Path
    address: str
    ssh: str
    #: Why it is none that is reached by SSH.
    without_ssh: str | None = None
    server: subprocess.Popen[bytes] | None = None

    @property
    def files(self) -> Path:
        return self.home / ".edgecnn"

    def own(self) -> list[int]:
        """Return the processes on this machine whose home is the board's, but for the server's own."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_bytes()
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if f"HOME={self.home}".encode() in environment and command:
                    found.append(int(entry.name))
        return found

    def quiet(self, seconds: float) -> bool:
        """Return whether nothing of ours runs there any more, within so many seconds."""
        end = time.monotonic() + seconds
        while self.own():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def cut(self) -> None:
        """Kill the server's processes for the connections that are open."""
        assert self.server is not None
        for pid in _children(self.server.pid):
            for process in (*_children(pid), pid):
                # The agent is a child of the privileged half's child, and is to find out by itself.
                if b"sshd" in (Path("/proc") / str(process) / "cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


def start(folder: Path) -> Iterator[Board]:
    """Yield a board whose files are in `folder`."""
    home = folder / "home"
    home.mkdir(parents=True)
    server = _server(folder)
    if isinstance(server, str):
        yield Board(home, folder, "stand-in", stand_in(folder, home), without_ssh=server)
        return
    port = free_port()
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nSetEnv HOME={home} PIP_NO_COMPILE=1\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"Host *\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n  UserKnownHostsFile"
        f" {folder}/known_hosts\n  GlobalKnownHostsFile none\n  IdentityAgent none\n"
        f"Host bench\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
    )
    program, environment = server
    checked = subprocess.run(
        [program, "-t", "-f", folder / "sshd_config"], env=environment, capture_output=True, text=True
    )
    if checked.returncode:
        yield Board(home, folder, "stand-in", stand_in(folder, home), without_ssh=checked.stderr.strip())
        return
    process = subprocess.Popen(
        [program, "-D", "-f", folder / "sshd_config", "-E", folder / "sshd.log"], env=environment
    )
    try:
        _wait_for(port, process, folder)
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        yield Board(home, folder, address, f"ssh -F {folder}/ssh_config", server=process)
    finally:
        process.terminate()
        process.wait(10)


def stand_in(folder: Path, home: Path, before: str = "") -> str:
    """Return a command that takes ssh's options, and runs a board's program here; `before` is shell.

    As on a board, the program knows nothing of the environment of the tests. On either kind of board pip
    compiles nothing, since most of it is never used.
    """
    path = folder / "stand-in"
    path.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nexport HOME={shlex.quote(str(home))}\n{before}\n'
        f'cd "$HOME" && exec env -i HOME="$HOME" PATH="$PATH" PIP_NO_COMPILE=1 sh -c "$3"\n'
    )
    path.chmod(0o755)
    return str(path)


def _server(folder: Path) -> tuple[str, dict[str, str]] | str:
    """Return sshd and its environment, or why there is none."""
    built = _BUILT / "usr/sbin/sshd"
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or (built.exists() and str(built))
    if not found or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "OpenSSH is not installed"
    libraries = ":".join(str(item.parent) for item in _BUILT.glob("usr/lib/*/libwrap.so.0"))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries} if libraries else dict(os.environ)
    return found, {**environment, **(_without_privileges(folder) if os.geteuid() == 0 else {})}


def _without_privileges(folder: Path) -> dict[str, str]:
    """Return what lets root's sshd find the user that its unprivileged half runs as; make the user's folder.

    Where the package is not installed there is no such user. sshd alone is shown one: the machine gets none.
    """
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    shims = [str(item) for item in _BUILT.glob("usr/lib/*/libnss_wrapper.so")]
    if not shims or "sshd" in [entry.pw_name for entry in pwd.getpwall()]:
        return {}
    nobody, users = pwd.getpwnam("nobody"), folder / "passwd"
    users.write_text(
        f"{Path('/etc/passwd').read_text()}\n"
        f"sshd:x:{nobody.pw_uid}:{nobody.pw_gid}::/run/sshd:/usr/sbin/nologin\n"
    )
    return {"LD_PRELOAD": shims[0], "NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": "/etc/group"}


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not start: {(folder / 'sshd.log').read_text()}")


def wheels(folder: Path) -> Path:
    """Write wheels of what is installed here and a board needs: the tests then ask no package index."""
    from packaging.requirements import Requirement

    folder.mkdir()
    left, done = list(_NEEDED), set()
    while left:
        name = left.pop()
        found = metadata.distribution(name)
        if found.metadata["Name"] in done:
            continue
        done.add(found.metadata["Name"])
        _write_wheel(found, folder)
        for text in found.requires or ():
            item = Requirement(text)
            if item.marker is None or item.marker.evaluate({"extra": ""}):
                left.append(item.name)
    return folder


def _write_wheel(found: metadata.Distribution, folder: Path) -> None:
    tags = [line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    # Several tags are written as one name.
    tag = "-".join(
        ".".join(dict.fromkeys(part)) for part in zip(*(tag.split("-") for tag in tags), strict=True)
    )
    stem = f"{found.metadata['Name'].replace('-', '_')}-{found.version}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        record = ""
        for item in found.files or ():
            if (
                ".." in item.parts
                or item.suffix == ".pyc"
                or item.name in ("RECORD", "INSTALLER", "REQUESTED")
            ):
                continue
            archive.write(item.locate(), str(item))
            record += f"{item},,\n"
            if item.name == "METADATA" and item.parent.name.endswith(".dist-info"):
                info = item.parent
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    (folder / f"{stem}-{tag}.whl").write_bytes(packed.getvalue())


def install_decoy(packages: Path) -> None:
    """Install a package that calls itself this edgecnn."""
    (packages / "edgecnn").mkdir(parents=True)
    (packages / "edgecnn/__init__.py").write_text("raise SystemExit('this is the board's own edgecnn')\n")
    info = packages / f"edgecnn-{metadata.version('edgecnn')}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata.distribution("edgecnn").read_text("METADATA") or "")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text(f"edgecnn/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")


def python() -> str:
    """Return the Python that makes environments for which `wheels` are."""
    return sys.executable
