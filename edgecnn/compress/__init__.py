"""From a data set to a small network: training, pruning, distillation, quantization-aware training."""
