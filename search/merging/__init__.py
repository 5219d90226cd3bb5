"""Recipes and their arithmetic: recipe, canonical form, plan, merged tensors.

Owns what a merge is. Pure but for the arithmetic, which needs torch; knows nothing of engines,
files or the search.
"""
