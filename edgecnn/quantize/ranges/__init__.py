"""From calibration images to the range of each tensor."""
