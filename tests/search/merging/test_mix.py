"""Mixes as plain data."""

from __future__ import annotations

import json

import pytest

from search.merging.mix import Mix, Term, linear

TERMS = (Term("task/0", 0.25), Term("lang/1", 0.75))


@pytest.mark.parametrize(
    ("mix", "sources"),
    [
        (Mix("linear", TERMS), "task/0 lang/1"),
        (Mix("ties", TERMS, 0.2, 0.8), "base task/0 lang/1"),
        (Mix("slerp", TERMS, base=""), "task/0 lang/1"),
        (Mix("other", TERMS, seed=3, more=(0.1, 2.0)), "base task/0 lang/1"),
        (Mix("linear", TERMS, rows=((3, "base"), (4, "lang/1"))), "task/0 lang/1 base"),
    ],
)
def test_sources_and_plain_form(mix: Mix, sources: str) -> None:
    assert " ".join(mix.sources) == sources
    assert mix.merged == tuple(sources.split())[: len(mix.merged)]
    assert Mix.of(json.loads(json.dumps(mix.plain()))) == Mix.of(mix.plain()) == mix


def test_linear_leaves_out_what_is_not_taken() -> None:
    assert linear([("task/0", 0.25), ("base", 0.0), ("lang/1", 0.75)]) == Mix("linear", TERMS)
