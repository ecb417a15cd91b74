"""The service in every bento: serves one MLflow model with BentoML, without importing anything of Sluicegate.

Read and edit it freely: a changed predictor gives bentos with new tags. The entry point is `service.py`.
"""
