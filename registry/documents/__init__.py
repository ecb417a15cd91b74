"""Documents of every kind that people apply: read from YAML, compared with what is applied."""
