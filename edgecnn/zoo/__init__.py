"""The networks: one file per family, a catalogue that needs no torch, and one way to make any of them.

from edgecnn import zoo

network = zoo.create("mobilenet_v1", alpha=0.5)
"""

from edgecnn.zoo.architecture import Architecture
from edgecnn.zoo.catalog import ARCHITECTURES, architecture
from edgecnn.zoo.create import build, create
from edgecnn.zoo.spec import NetworkSpec

__all__ = ["ARCHITECTURES", "Architecture", "NetworkSpec", "architecture", "build", "create"]
