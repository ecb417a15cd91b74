"""Reads the telemetry from any process while the collector writes."""
