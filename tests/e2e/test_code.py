"""A search for programs: what the models write is run in the sandbox, in the engines' processes.

The demo's models write no Python. A problem's head is the beginning of a text, the model goes on
with it, and the tests read its last number.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from objectives import sandbox
from objectives.errors import SettingError
from tests.e2e.commands import ROOT, SMALL, run, trials

TEST = '''"""
import re

def check(text):
    assert int(re.findall(r"-?[0-9]+", text)[-1]) == {answer}
'''


def write_problems(file: Path) -> None:
    """The demo's problems in HumanEval's form."""
    lines = (ROOT / "demo/data/mgsm/mgsm_te.tsv").read_text("utf-8").splitlines()[:120]
    with file.open("w", encoding="utf-8") as out:
        for number, (question, answer) in enumerate(line.split("\t") for line in lines):
            row = {"task_id": f"demo/{number}", "entry_point": "__doc__"}
            row |= {"prompt": f'"""Q: {question} A:', "test": TEST.format(answer=answer)}
            out.write(json.dumps(row) + "\n")


@pytest.mark.long
def test_programs_are_searched_for(tmp_path: Path) -> None:
    try:
        sandbox.check()
    except SettingError as error:
        pytest.skip(str(error))
    write_problems(tmp_path / "humaneval_te.jsonl")
    small = [setting for setting in SMALL if not setting.startswith("objective.")]
    output = run(
        *("--lang", "te", f"--out={tmp_path}", "--study=code", "--trials=3", *small),
        *(
            "objective=code",
            f"objective.code.data_dir={tmp_path}",
            "objective.code.allow_code=true",
        ),
        *("objective.code.max_tokens=96", "objective.code.stop=['Q:', '\"']"),
        *("objective.code.search_items=60", "objective.code.held_out_items=40"),
        *("search.baselines={}", "space.pairs=[[1,1]]"),
    )
    assert "pass@1" in output
    found = trials(tmp_path / "code")
    assert {trial["state"] for trial in found} <= {"scored", "stopped"}
    shares = {
        trial["label"]: trial["scores"]["pass_at_1"]["value"]
        for trial in found
        if trial["split"] == "search" and trial["state"] == "scored"
    }
    assert len(set(shares.values())) > 2 and max(shares.values()) > 0.4 > min(shares.values())
