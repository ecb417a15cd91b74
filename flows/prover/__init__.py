"""Proves which audiences overlap, hide one another or can never match, each with a request that shows it."""
