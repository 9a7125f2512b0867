"""edgecnn: convolutional networks from their PyTorch definition to fast, verified engines on edge devices.

Importing the package does no work: `edgecnn.runtime` opens and runs artifacts on a device,
`edgecnn.zoo` builds networks, `edgecnn.export` writes artifacts.
"""

__version__ = "0.1.0"
