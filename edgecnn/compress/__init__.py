"""From a data set to a small accurate network: training, pruning, distillation, quantization-aware."""
