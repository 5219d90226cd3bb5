"""Where checkpoints come from, as people have them: hub, URLs, LoRA adapters, pickled weights.

Owns fetching and reading each kind; what comes out is an ordinary checkpoint.
"""
