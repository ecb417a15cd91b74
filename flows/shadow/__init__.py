"""What the pairs of a shadow say, for reports and for the collector."""
