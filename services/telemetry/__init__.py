"""Telemetry: access logs to exposures and tallies, exactly once; outcomes joined to them later; what others read."""
