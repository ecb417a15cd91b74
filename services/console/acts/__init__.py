"""The acts behind the API: check, order, answer. No HTTP here: the command line calls the same acts."""
