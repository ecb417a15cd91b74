"""The `sluice` command: one file for each command group; `conformance` holds the steps of `sluice cluster conform`."""
