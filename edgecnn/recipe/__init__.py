"""Recipes: a whole pipeline as a YAML file, run step by step and resumed where it was cut off."""
