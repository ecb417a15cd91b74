"""What other processes read of the telemetry while the collector writes."""
