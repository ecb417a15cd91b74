"""What was measured after a prediction: taken in, joined to its exposure, kept, deleted."""
