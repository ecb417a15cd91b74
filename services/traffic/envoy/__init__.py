"""Envoy as the data plane: controlled by watched files, observed by statistics."""
