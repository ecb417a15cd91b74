"""The document that a rollout follows: its fields, its rules, and how users write it."""
