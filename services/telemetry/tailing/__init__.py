"""Access logs are read to their end, each line exactly once."""
