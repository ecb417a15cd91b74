"""What a rollout did and why, as values that every page, command and message shows."""
