"""Weighted sums in words and numbers."""

from __future__ import annotations

import torch

from search.merging.methods.linear import LINEAR, terms_in_words
from search.merging.mix import Mix, Term

MIX = Mix("linear", (Term("task/0", 0.25), Term("lang/0", 0.75)))


def test_words() -> None:
    assert LINEAR.words(MIX) == terms_in_words(MIX) == "0.25 task/0 + 0.75 lang/0"
    assert LINEAR.words(Mix("linear", (Term("base", 1.0),))) == "base"


def test_the_sum_is_fused() -> None:
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([4.0, -2.0])]
    merged = LINEAR.merge(MIX, "w", ())(parts, 0)
    assert merged.tolist() == [3.25, -1.0]
