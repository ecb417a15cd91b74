"""The operations behind the API and the command line, without HTTP."""
