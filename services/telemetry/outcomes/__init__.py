"""Outcomes, which are measured after a prediction: taken in, joined to their exposures, and deleted by age."""
