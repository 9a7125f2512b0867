"""The option that says how outputs become boxes or masks: one group, of every verb that takes foreign files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecnn.options import Request, option
from edgecnn.tasks.decoders import DECODERS


@dataclass(frozen=True, kw_only=True)
class DecoderOptions(Request):
    """What is said of a network's outputs. Raises UnknownNameError."""

    decoder: str | None = option(
        None,
        f"Layout of a detector's or segmenter's outputs: {', '.join(DECODERS.names())}.",
        unset="the manifest's, or what the outputs tell",
        choices=DECODERS.names,
    )

    @property
    def settings(self) -> dict[str, Any] | None:
        """What is said, as it stands in a manifest; None for nothing."""
        return None if self.decoder is None else {"name": self.decoder}
