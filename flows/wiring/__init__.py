"""The composition root: the one place that names concrete classes and holds the clock."""
