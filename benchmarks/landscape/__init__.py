"""A recorded landscape: what each of many recipes of the demo family answers, item by item.

Owns which recipes are recorded (`design`), how (`recorder`), and the packed file that a replay
reads (`packed`). Knows nothing of samplers.
"""
