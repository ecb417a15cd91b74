"""The Prefect flows: those that drive a rollout, and those that give an order."""
