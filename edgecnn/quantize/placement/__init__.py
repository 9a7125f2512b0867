"""Which tensors carry Q/DQ pairs, and how the pairs get into a graph and out of it."""
