"""One namespace of a Kubernetes cluster: what runs, splits and answers there, by the cluster's own HTTP API."""
