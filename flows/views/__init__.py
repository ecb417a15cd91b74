"""What people look at that needs both the record and the telemetry."""
