"""A whole search on two tasks, one of them constrained as well: each is recorded on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.lm_eval_task import main
from tests.e2e.commands import SMALL, run, trials

pytest.importorskip("lm_eval")


def test_the_worst_of_two_tasks_is_optimised(tmp_path: Path) -> None:
    """MGSM in Telugu, and the harness's task of the same kind in Swahili."""
    main(["sw", "--out", str(tmp_path / "tasks")])
    harness = f"tasks: [demo_sw], include_path: {tmp_path / 'tasks'}"
    output = run(
        *("--lang", "te", f"--out={tmp_path}", "--study=two", "--trials=2", *SMALL),
        *("objective.task=[mgsm,lm_eval]", "objective.combine=worst"),
        f"objective.lm_eval={{{harness}, search_items: 30, held_out_items: 20}}",
        "objective.constraints={accuracy: 0.01}",
        *("search.baselines={}", "space.pairs=[[0,0]]"),
    )
    assert "worst task" in output
    assert "no trial is stopped early (search.race): worst task is no share of items" in output
    assert "differences), p is by a paired bootstrap" in output
    found = trials(tmp_path / "two")
    assert {trial["state"] for trial in found} == {"scored"}  # nothing is raced on a worst
    for trial in found:
        scores = trial["scores"]
        both = scores["accuracy"], scores["lm_eval"]
        assert scores["combined"]["value"] == pytest.approx(min(s["value"] for s in both))
        assert scores["combined"]["n_scored"] == sum(s["n_scored"] for s in both)
        assert scores["combined"]["low"] <= scores["combined"]["high"]
    page = (tmp_path / "two" / "report.md").read_text("utf-8")
    (head,) = (line for line in page.splitlines() if line.startswith("| role"))
    for words in ("worst task %", "LCPR %", "accuracy %", "lm_eval %", "vs best soup"):
        assert words in head
    assert "accuracy is at least 1.0% (objective.constraints" in page
    assert "| - |" not in next(x for x in page.splitlines() if "default" in x)
