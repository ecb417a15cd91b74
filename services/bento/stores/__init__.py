"""Stores: where packed bentos are shared between machines, which is a folder, MLflow's artifacts, or a bucket."""
