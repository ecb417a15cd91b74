"""The document that a rollout follows: its fields, its rules, and how people write it."""
