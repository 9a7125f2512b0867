"""From a float ONNX graph and real images to an int8 graph with Q/DQ pairs."""
