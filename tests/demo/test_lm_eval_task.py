"""The demo's problems as a task of lm-evaluation-harness: the prompts and verdicts of MGSM."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.lm_eval_task import DATA, main
from objectives.langid import LanguageIdentifier
from objectives.lm_eval import LmEvalSettings
from objectives.mgsm import MgsmSettings
from objectives.settings import Shared
from objectives.types import Completion, Split
from search.config import compose

pytest.importorskip("lm_eval")


def answer(number: int, target: int) -> Completion:
    """Right, wrong, right in other words, or without a number."""
    text = [
        f" {target + 4} - 4 = {target}. సమాధానం {target}.",
        f" సమాధానం {target}. {target + 1}",
        f" The answer is {target} .",
        " The answer is not known",
    ]
    return Completion(text[number % 4], 9, "stop")


@pytest.mark.slow
def test_prompts_and_verdicts_are_mgsms(tmp_path: Path) -> None:
    lid = LanguageIdentifier()
    main(["te", "--out", str(tmp_path)])
    demo = MgsmSettings(**compose.load([], {"lang": "te"}).objective.mgsm.model_dump())
    settings = LmEvalSettings(
        tasks=("demo_te",),
        include_path=tmp_path,
        search_items=200,
        held_out_items=400,
        shuffle=False,
    )
    shared = Shared("te", 0, lid, None, 0.0, chat=False, trace=False)
    ours, theirs = demo.build(shared), settings.build(shared)
    lines = (DATA / "mgsm_te.tsv").read_text("utf-8").splitlines()
    targets = [int(line.split("\t")[1]) for line in lines]
    splits: tuple[Split, ...] = ("search", "held_out")
    for split, wanted in zip(splits, (targets[:200], targets[200:]), strict=True):
        asked = ours.requests(split)
        assert list(asked) == list(theirs.requests(split))
        answers = [answer(*pair) for pair in enumerate(wanted)]
        scores = ours.score(split, answers).scores, theirs.score(split, answers).scores
        assert scores[0]["accuracy"] == scores[1]["lm_eval"] == scores[1]["demo_te/exact_match"]
        assert scores[0]["accuracy"].value == 0.5
