"""The MLflow model registry behind a port: builds come out, aliases, stages and tags go back."""
