"""The telemetry database: its tables, its transactions, its additive writes."""
