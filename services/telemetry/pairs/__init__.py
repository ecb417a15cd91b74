"""Pairs of answers to one request, stable's and the shadow's: matched, compared and summed up."""
