"""The kinds of merge, one module each, and the one registry of them.

Owns all that is particular to a kind: its data, faults, canonical form, mixes, words, axes and
arithmetic. `method` is the contract, `registry` the list; docs/methods.md says how to add one.
"""
