"""Registers our flows in Prefect: the work pool and the deployments."""
