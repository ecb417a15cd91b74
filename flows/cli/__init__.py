"""The `sluice` command: one file a command group, no logic."""
