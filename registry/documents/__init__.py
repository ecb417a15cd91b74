"""Documents of every kind that users apply: read from YAML, compared with what is in force."""
