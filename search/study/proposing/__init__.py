"""Optuna's side of a study.

Owns what Optuna is asked and told, where its studies are kept, their samplers, and that it knows
what the records hold. Does not know of Ray, engines or MLflow.
"""
