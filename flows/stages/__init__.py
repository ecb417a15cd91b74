"""The stages of a rollout: launch, tick, settle, and what only shadows and experiments do."""
