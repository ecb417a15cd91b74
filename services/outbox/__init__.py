"""Outbox: sends facts to other systems, at least once and in order; the ledger itself is the queue."""
