"""Documents in Git: compares a commit with the documents applied here, and acts on the differences."""
