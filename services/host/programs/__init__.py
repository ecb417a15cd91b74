"""Programs that are kept running: the supervisor, what it is told, and whose processes are ours."""
