"""The caps' replay: what is made smaller is there, and the table says differences."""

from __future__ import annotations

import numpy as np

from benchmarks.search_quality.caps import CAPS, LANGS, TRIALS, Task, table
from search.study.proposing import model


def test_every_cap_is_one_of_the_model_and_made_smaller() -> None:
    for cap in CAPS.values():
        for name, value in cap.smaller.items():
            assert value < getattr(model, name)


def test_the_table_says_what_a_cap_costs_on_the_same_seeds() -> None:
    names = list(CAPS)
    found = {
        Task(lang, name, seed): np.full(TRIALS, 0.8 + 0.01 * seed - 0.001 * names.index(name))
        for lang in LANGS
        for name in names
        for seed in range(3)
    }
    rows = [line.split(" | ") for line in table(found)][2:]
    assert [row[1] for row in rows] == names * len(LANGS)
    assert rows[0][2].startswith("81.00 (")
    assert rows[1][2] == "-0.10 (-0.10 to -0.10)"  # the seeds' own differences cancel
    eighth = names.index("no cap, 8 engines")
    assert rows[eighth + 1][-1].startswith("-0.10 (-0.10 to -0.10)")
