"""All that a GPU must show, in one command: `python -m benchmarks.gpu`.

Owns the order of the steps, the time that each may take, and the table. Each step runs in a process
of its own, whose children end with it.
"""
