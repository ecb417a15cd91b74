"""Stores that share packed bentos between machines: a folder, MLflow's artifacts, or a bucket."""
