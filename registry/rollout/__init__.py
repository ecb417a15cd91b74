"""One attempt to make a candidate stable: its facts, its state, and what may follow."""
