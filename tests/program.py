"""Run the program as a user does, and read what it printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def report(path: Path) -> dict:
    """What the export of a shared file printed."""
    return json.loads(Path(f"{path}.report").read_text())


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "edgecnn", *arguments], capture_output=True, text=True, timeout=300, **options
    )
