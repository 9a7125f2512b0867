"""Machines: what this one is and what works on it, and boards over SSH."""
