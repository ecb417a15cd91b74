"""What people and triggers ask for: checked against the present state, then appended to the ledger."""
