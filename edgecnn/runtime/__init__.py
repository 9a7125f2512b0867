"""Open an artifact and run it. Needs numpy, pillow and one engine library; neither torch nor onnx.

from edgecnn.runtime import load

with load("m.onnx") as engine:
    logits = engine(batch)                          # arrays in, arrays out
    best = engine.predict("photo.jpg", top=5)[0]    # images in, classes with probabilities out
"""

from edgecnn.runtime.engine import Engine, Prediction
from edgecnn.runtime.load_engine import load
from edgecnn.runtime.preprocessing import Preprocessing, open_image

__all__ = ["Engine", "Prediction", "Preprocessing", "load", "open_image"]
