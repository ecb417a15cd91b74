"""What an installation on Kubernetes consists of: its manifests, its chart and its image, made from one value."""
