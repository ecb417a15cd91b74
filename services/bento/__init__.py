"""Builds become bentos, and bentos running services: packed, started, probed, drained, stopped."""
