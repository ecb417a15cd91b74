"""The acts behind the API and the command line: check, order, answer; no HTTP."""
