"""One machine: the process supervisor, what it runs, and the folder where all of it lives."""
