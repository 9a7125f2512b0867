"""Detectors and segmenters: one file for each head, over any backbone of the zoo."""
