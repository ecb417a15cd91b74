"""Computes exposures, scores and sums from requests."""
