"""What every room stands on: errors, plain values, what is masked, shown, and how a process ends.

Knows nothing of the rooms above it.
"""
