"""Training a small network with a large one's help."""
