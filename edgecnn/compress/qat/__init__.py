"""Quantization-aware training on the graph that is exported: the network in training is the int8 file."""
