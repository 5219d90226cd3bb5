"""Base and experts on disk: opened, compared, kept.

Owns what a checkpoint is, whether a family's members fit together, and what an engine can rewrite.
Does not know of recipes beyond the names of layers.
"""
