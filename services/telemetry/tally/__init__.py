"""What one request adds up to: exposures, scores and sums."""
