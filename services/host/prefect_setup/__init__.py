"""What Prefect is told about our flows: the work pool and the deployments."""
