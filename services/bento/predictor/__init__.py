"""The service that goes into every bento: one MLflow model behind BentoML, and nothing of Sluicegate's own to import.

Read and edit it freely: a changed predictor gives bentos with new tags. `service.py` is the entry.
"""
