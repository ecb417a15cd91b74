"""Reads the compared pairs of a shadow for reports, and tells the collector what to compare."""
