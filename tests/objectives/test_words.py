"""Numbers with their nouns, and what a mistyped name may have been."""

from __future__ import annotations

import pytest

from objectives.words import counted, did_you_mean, guess, nearest, scaled


def test_one_is_not_several() -> None:
    assert [counted(n, "fault") for n in (0, 1, 2, 1200)] == [
        *("0 faults", "1 fault", "2 faults", "1,200 faults")
    ]
    assert [counted(n, "one is", "others are") for n in (1, 2)] == ["1 one is", "2 others are"]


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_080_000, "2.08 MB"), (3e13, "30 TB")],
)
def test_units(number: float, said: str) -> None:
    assert scaled(number) == said
    assert scaled(8.03e9, ("", "k", "M", "B")) == "8.03 B"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        *(("trails", "trials"), ("TRIALS", "trials"), ("sampller", "sampler"), ("x", "")),
        *((3, ""), ("trials" * 10**5, "")),
    ],
)
def test_the_nearest_name_whatever_the_case(given: object, meant: str) -> None:
    known = ("sampler", "trials", "Trial")[:2]
    assert nearest(given, known) == meant
    assert did_you_mean(given, known) == (f" (did you mean {meant}?)" if meant else "")
    assert guess("") == ""
