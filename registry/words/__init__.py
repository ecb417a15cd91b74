"""The values that every room speaks in: builds, metrics, verdicts, units, settings, errors."""
