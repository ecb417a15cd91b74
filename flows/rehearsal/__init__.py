"""Gates without a running system: data replayed, plans certified, durations forecast."""
