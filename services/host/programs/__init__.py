"""Keeps programs running: the supervisor, the definitions of programs, and the identification of our processes."""
