"""Telemetry: turns access logs into exposures and tallies exactly once, and joins outcomes to them later."""
