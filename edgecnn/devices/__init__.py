"""Machines: this one, what it is and what works on it."""
