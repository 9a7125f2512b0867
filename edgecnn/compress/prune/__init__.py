"""Structured pruning: fewer channels, in layers that stay dense, so that every engine gets faster."""
