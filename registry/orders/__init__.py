"""Orders of people and triggers: checked against the present state, then appended to the ledger."""
