"""Latency and accuracy, with the conditions under which they were measured."""
