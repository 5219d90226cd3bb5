"""How good a search is, replayed on recorded landscapes: without an engine, in seconds.

Owns the replay (`replay`), its peers (`peers`) and the tables. The search itself is the product's:
its order, its sampler, its choice. Knows no vLLM and no Ray.
"""
