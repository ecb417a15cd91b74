"""Splits requests between builds: the route table, and the data planes that apply it."""
