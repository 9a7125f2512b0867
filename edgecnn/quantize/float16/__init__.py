"""Float16 graphs, and float16 layers of an int8 graph."""
