"""Batches on their way from the loader to the network: uint8 until they are where the network is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing


class InputBatch:
    """Makes a network's input of frames, on its device.

    A quarter of the bytes of float32 cross to a GPU, and nobody waits for them; what comes out is
    `prepare.normalize`'s to the bit.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._device, self._format = torch.device(device), memory_format
        scale, offset = (
            torch.from_numpy(values)[:, None, None]
            for values in prepare.affine(
                preprocessing,
            )
        )
        self._scale, self._offset = scale.to(self._device), offset.to(self._device)

    def __call__(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Return frames, (N, H, W, C) uint8, as the network's input, (N, C, H, W) float32."""
        moved = to_device(frames, self._device).permute(0, 3, 1, 2)
        # A product and a sum of their own: together they would be rounded once, on some devices.
        return moved.to(torch.float32, memory_format=self._format).mul_(self._scale).add_(self._offset)


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device.

    To a GPU it goes through pinned memory: a copy out of other memory waits for all that the GPU has to do.
    """
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
