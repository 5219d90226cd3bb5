"""Automatic search for the best layer-swap merge of language models.

Rooms and doors: `docs/map.md` says what each owns, `tests/test_architecture.py` who may use whom.
"""
