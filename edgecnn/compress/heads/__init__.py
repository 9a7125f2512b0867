"""What detectors and segmenters minimise: a file for each loss."""
