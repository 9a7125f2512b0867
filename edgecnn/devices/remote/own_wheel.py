"""The installed edgecnn as a wheel, also where it is installed from its source folder.

Source: the Python packaging user guide's "Binary distribution format".
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import edgecnn

#: The earliest time that a zip file can say: the wheel's bytes depend on its content alone.
_TIME = (1980, 1, 1, 0, 0, 0)


def name() -> str:
    """Return the wheel's file name, which any Python 3 on any machine takes."""
    return f"edgecnn-{edgecnn.__version__}-py3-none-any.whl"


def build() -> bytes:
    """Return the wheel of the package that runs, as bytes."""
    package = Path(edgecnn.__file__).parent
    found = metadata.distribution("edgecnn")
    info = f"edgecnn-{edgecnn.__version__}.dist-info"
    content = {
        f"edgecnn/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    content[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    content[f"{info}/entry_points.txt"] = (found.read_text("entry_points.txt") or "").encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: edgecnn\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items()]
    content[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, _TIME), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
