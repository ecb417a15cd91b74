"""Envoy as the data plane: watched files in, statistics back."""
