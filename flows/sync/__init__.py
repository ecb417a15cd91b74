"""Documents in Git: what a commit says, what counts here, and what is done about the difference."""
