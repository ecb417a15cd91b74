"""Console: the HTTP API over the ledger, the pages, the outcome intake and the receiver of MLflow's webhooks."""
