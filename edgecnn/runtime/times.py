"""How long the parts of one inference took, where it has parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Seconds of one inference on a GPU."""

    #: From the input array to the logits, on the processor's clock.
    host: float
    #: The input's way to the GPU, the network, the logits' way back. TensorRT's are on the GPU's clock, by
    #: CUDA events; of ONNX Runtime each part ends when the GPU is done, so that the processor's clock tells.
    copy_in: float
    device: float
    copy_out: float
