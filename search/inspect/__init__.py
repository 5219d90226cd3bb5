"""Where did the experts change: `python -m search.inspect`.

Owns what is measured of expert vectors, the heat map, and the search space that follows from it.
Does not know of studies, engines or scores.
"""
