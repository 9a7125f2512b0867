"""What commands, recipes and the Python API do alike, where it takes several layers: one file per verb."""
