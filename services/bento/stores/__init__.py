"""Stores: where packed bentos are shared between machines. A folder, MLflow's artifacts, or a bucket."""
