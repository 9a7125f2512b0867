"""Open an artifact and run it. Needs numpy, pillow and one engine library; neither torch nor onnx.

from edgecnn.runtime import load

with load("m.onnx") as engine:
    logits = engine(batch)                          # an array in, the output out: of several, a dictionary
    best = engine.predict("photo.jpg", top=5)[0]    # images in, the task's answers out
"""

from edgecnn.runtime.engine import Engine
from edgecnn.runtime.load_engine import load
from edgecnn.runtime.preprocessing import Preprocessing, open_image
from edgecnn.tasks.classification import Prediction

__all__ = ["Engine", "Prediction", "Preprocessing", "load", "open_image"]
