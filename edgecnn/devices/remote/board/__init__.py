"""What runs on a board before anything of ours is there: the standard library, and Python 3.6, are enough."""
