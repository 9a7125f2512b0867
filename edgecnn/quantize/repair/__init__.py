"""Ways to make up for what rounding takes away, each one small file that can be run alone."""
