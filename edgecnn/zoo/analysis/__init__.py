"""A network taken apart: layer by layer, its totals, its plot."""
