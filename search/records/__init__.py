"""The records of a study: the truth that it is resumed, reported and exported from.

Owns their format, where they are kept (a folder, an object store), that an ended trial survives a
crash, and that one driver at a time writes. Does not know what the scores mean, nor Ray, Optuna or
MLflow.
"""
