"""The prover: which audiences overlap, shadow one another or can never be met, each with a request that shows it."""
