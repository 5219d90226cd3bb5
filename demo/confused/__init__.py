"""The second family: a math expert that answers Telugu questions in English.

Owns its settings and weights. Base, Telugu experts, test problems and training loop are the first
family's.
"""
