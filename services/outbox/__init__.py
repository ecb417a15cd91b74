"""Outbox: facts are told to the outside, at least once and in order. What waits to be sent is the ledger itself."""
