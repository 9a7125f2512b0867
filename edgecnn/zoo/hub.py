"""Checkpoints of the Hugging Face hub, at a revision that is written down."""

from __future__ import annotations

import os
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import WeightsError
from edgecnn.optional_packages import require

_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Downloaded:
    """A file in the hub's cache, and the commit that it is of."""

    path: Path
    #: 40 hexadecimal digits.
    commit: str | None


def download(name: str) -> Downloaded:
    """Return the weights of `OWNER/REPO` or `OWNER/REPO@REVISION`: a branch, a tag or a commit.

    What the cache holds is used where the hub cannot be reached. Raises WeightsError.
    """
    repository, _, revision = name.partition("@")
    hub = require("huggingface_hub", f"`weights` hf:{name}")
    errors = require("huggingface_hub.errors", f"`weights` hf:{name}")
    for file in _FILES:
        try:
            path = Path(hub.hf_hub_download(repository, file, revision=revision or None))
        except errors.RevisionNotFoundError as error:
            raise WeightsError(
                f"hf:{repository} has no revision {revision}", hint="a branch, a tag or a commit of it"
            ) from error
        except errors.RemoteEntryNotFoundError:
            continue
        except (errors.EntryNotFoundError, errors.HfHubHTTPError, OSError, ValueError) as error:
            endpoint = os.environ.get("HF_ENDPOINT", "the Hugging Face hub")
            reason = textwrap.shorten(str(error), 160, placeholder=" ...")
            raise WeightsError(
                f"cannot get hf:{name} from {endpoint}: {reason}",
                hint="check the name and the network; HF_ENDPOINT and HF_HOME are respected",
            ) from error
        return Downloaded(path, _commit(path))
    raise WeightsError(
        f"hf:{name} has none of {', '.join(_FILES)}", hint="download the file and give its path"
    )


def _commit(path: Path) -> str | None:
    """Return the commit under whose name the hub's library keeps a file: .../snapshots/COMMIT/FILE."""
    name = path.parent.name
    return name if path.parent.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", name) else None
