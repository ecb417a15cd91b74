"""Reads access logs to their end, each line exactly once."""
