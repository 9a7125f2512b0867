"""Boards reached over SSH: a connection, their own environment there, and commands that run in it."""
