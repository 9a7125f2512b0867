"""The training loop, its options, and what a run that was cut off needs to go on."""
