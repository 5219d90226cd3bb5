"""Recipes and their arithmetic: recipe, canonical form, plan, merged tensors.

Owns what a merge is; each kind of merge is a module of `search.merging.methods`, and which recipes
are searched says `search.merging.space`. Pure but for the arithmetic, which needs torch; knows
nothing of engines, files or the search.
"""
