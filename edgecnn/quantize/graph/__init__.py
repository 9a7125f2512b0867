"""ONNX graphs: made fit for quantization, looked up by tensor and node, and run."""
