"""Open an artifact and run it. Needs numpy, pillow and one engine library; neither torch nor onnx.

from edgecnn.runtime import load

with load("m.onnx") as engine:
    logits = engine(batch)                          # an array in, the output out: of several, a dictionary
    best = engine.predict("photo.jpg", top=5)[0]    # images in, the task's answers out
"""

from typing import TYPE_CHECKING

from edgecnn.on_demand import exports

if TYPE_CHECKING:
    from edgecnn.runtime.engine import Engine
    from edgecnn.runtime.image_files import open_image
    from edgecnn.runtime.load_engine import load
    from edgecnn.runtime.preprocessing import Preprocessing
    from edgecnn.tasks.classification import Prediction

__all__ = ["Engine", "Prediction", "Preprocessing", "load", "open_image"]
__getattr__ = exports(
    __name__,
    {
        "edgecnn.runtime.engine": ("Engine",),
        "edgecnn.runtime.image_files": ("open_image",),
        "edgecnn.runtime.load_engine": ("load",),
        "edgecnn.runtime.preprocessing": ("Preprocessing",),
        "edgecnn.tasks.classification": ("Prediction",),
    },
)
