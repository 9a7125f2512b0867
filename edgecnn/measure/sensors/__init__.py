"""What a machine says of itself: clocks, temperatures, power, load. One file for each source.

Every reader takes `root`, the folder that stands for "/", so that it reads a recorded machine as well as this
one. A value that cannot be read is None, never a guess.
"""
