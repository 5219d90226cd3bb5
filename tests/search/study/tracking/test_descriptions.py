"""What a person reads of a study and of a trial, and where its links lead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from search.merging.recipe import Single, Ties
from search.records.record import Record
from search.results.choose import DEFAULT, RECOMMENDED
from search.results.comparison import Report, ReportLine
from search.study.tracking.descriptions import (
    LENGTH,
    Where,
    fitted,
    layers,
    of_running,
    of_study,
    of_trial,
)
from tests.search.study.tracking.sent import L, poor_base, trial


def where(records: Sequence[Record]) -> Where:
    runs = {(record.key, record.split): f"run{i}" for i, record in enumerate(records)}
    return Where("s", "runs/a b", "7", "par", lambda record: runs.get((record.key, record.split)))


def report(lines: Sequence[ReportLine], why_not: str = "") -> Report:
    notes = ("Recommended: it. It is best.", "A note | with a bar.")
    return Report("demo / te", "te", "held_out", tuple(lines), notes, (), why_not)


def test_layers_in_words() -> None:
    assert list(layers(trial(2), L)) == [
        ("layers 0–1", "language expert 1"),
        ("layer 2", "40% task expert 0 + 60% language expert 1"),
        ("layers 3–8", "task expert 0"),
        ("layer 9", "language expert 1"),
        ("embeddings, final norm, head", "50% task expert 0 + 50% language expert 1"),
    ]
    assert list(layers(replace(trial(2), recipe=Single("base")), L))[0] == ("layers 0–9", "base")
    ties = replace(trial(2), recipe=Ties(("task/0", "lang/1"), 0.9, (0.4, 0.6)))
    assert dict(layers(ties, L))["layers 0–9"].startswith("ties of task expert 0 (0.667), ")


def test_a_trial_says_what_it_is() -> None:
    text = of_trial(trial(2, "failed", "held_out"), L)
    assert text.startswith(f"**{trial(2).label}**, scored on held-out items.")
    assert "- layer 9: language expert 1" in text
    assert text.endswith("Failed: engine died: out of memory")
    assert "layer 9" not in of_trial(trial(2), 0)  # L is not known yet


def test_a_running_study_names_the_best_so_far() -> None:
    records = [trial(1), poor_base(2), trial(3, "failed")]
    text = of_running(where(records), records, L, 0.02)
    assert text.startswith(f"## Best so far: [{trial(1).label}](#/experiments/7/runs/run0?")
    assert "3 trials have ended" in text
    assert "| 58.0 (50.0–66.0) | 97.0 (94.0–99.0) |" in text
    assert text.index("run0") < text.index("run1")  # best first
    assert "Best so far" not in of_running(where([]), [], L, 0.02)


def test_a_study_begins_with_what_it_recommends() -> None:
    best, base = trial(1, split="held_out"), replace(poor_base(2), split="held_out")
    lines = [ReportLine((RECOMMENDED,), best, {}), ReportLine((DEFAULT,), base, {})]
    text = of_study(where([best, base]), report(lines), L)
    assert text.startswith(f"## Recommended: [{best.label}](#/experiments/7/runs/run0?")
    assert text.splitlines()[2] == "Recommended: it. It is best."
    assert "Held out: **accuracy 58.0 (50.0–66.0)**" in text
    assert "against default recipe 10.0 (" in text
    assert "python -m search.export --study 'runs/a b' --recommended" in text
    assert "- A note \\| with a bar." in text
    links = re.findall(r"\]\((.*?)\)", text)
    assert all(link.startswith("#/experiments/7/runs") for link in links) and len(links) == 7
    none = of_study(where([]), report(lines, "all are alike"), L)
    assert none.startswith("## No recommendation\n\nall are alike") and "search.export" not in none


@pytest.mark.parametrize("size", [10, 40_000])
def test_a_description_is_cut_at_a_line(size: int) -> None:
    text = fitted(["# Head", *(f"line {n}" for n in range(size // 10))])
    assert len(text) <= LENGTH and text.startswith("# Head")
    assert re.fullmatch(r"line \d+|", text.splitlines()[-1])
