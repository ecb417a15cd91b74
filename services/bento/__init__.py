"""Packs builds into bentos, and runs bentos as services: starts, probes, drains and stops them."""
