"""The append-only record of facts and looks, behind a port, with its adapters."""
