"""Backup: copies everything that cannot be recreated to a folder, and restores it."""
