"""Which audiences overlap, shadow one another or can never be met, each proved with a request that shows it."""
