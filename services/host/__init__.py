"""One machine: the process supervisor, the programs that it runs, and the state folder."""
