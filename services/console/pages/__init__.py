"""The console's pages, rendered on the server without a build step or files from other hosts."""
