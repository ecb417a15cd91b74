"""Outbox: facts are told to the outside, at least once and in order; what waits to be sent is the ledger itself."""
