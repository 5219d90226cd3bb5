"""One trial's answers, judged as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from objectives import targets
from objectives.lm_eval import LmEvalObjective, LmEvalSettings
from objectives.lm_eval_tasks import load
from objectives.stats import proportion
from objectives.types import Completion, Decoding, Evaluation, ItemResult, Request, Sampling, Split
from search.merging.recipe import Single
from search.records.items import unpack_items
from search.study.race import Rules, Threshold
from search.study.tuning.judging import Judging
from tests.objectives.lm_eval_yamls import write


@dataclass(frozen=True)
class Said:
    """Twenty items (or another number), right where the completion says so."""

    name: str
    metric: str
    n: int = 20
    fails_after: int = 10**9

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        return [Request(f"{self.name} {i}", Sampling(8)) for i in range(self.n)]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        if len(completions) != (self.n if first is None else first):
            raise ValueError("one completion for each request")
        if len(completions) > self.fails_after:
            raise KeyError("no such item")
        right = [c.text == "right" for c in completions]
        items = tuple(
            ItemResult(
                self.name,
                str(i),
                "",
                c.text,
                1,
                "stop",
                {"correct": ok, "outcome": "PASS" if ok else "LINE_ERROR", "source": "a"},
            )
            for i, (c, ok) in enumerate(zip(completions, right, strict=True))
        )
        score = proportion(sum(right), len(right), len(right))
        return Evaluation({self.metric: score}, items, "" if any(right) else "all wrong")


MATH, WORDS = Said("mgsm", "accuracy"), Said("lcpr", "lcpr", n=8)
THRESHOLD = Threshold(
    Rules((0.5, 0.75), 0.1), "best", (True,) * 18 + (False,) * 2, {"lcpr": 0.7}, "te"
)


def judging(*objectives: Any) -> Judging:
    found = Judging(objectives or (MATH, WORDS), Single("base"), "search")
    found.begin()
    return found


def answer(
    judged: Judging, share: float, right: str = "", threshold: Threshold | None = THRESHOLD
) -> Any:
    """Answer what is asked; requests of the objectives named in `right` rightly."""
    asked = judged.asked(share)
    said = ["right" if r.prompt.split()[0] in right else "wrong" for r in asked]  # type: ignore[union-attr]
    return judged.answered([Completion(text, 3, "stop") for text in said], share, threshold)


def test_each_look_asks_what_was_not_asked_yet() -> None:
    found = judging()
    asked = []
    for share in (0.5, 0.75, 1.0):
        asked.append([request.prompt for request in found.asked(share)])
        outcome = answer(found, share, "mgsm lcpr")
    assert [len(part) for part in asked] == [10 + 4, 5 + 2, 5 + 2]
    assert asked[1] == [f"mgsm {n}" for n in range(10, 15)] + ["lcpr 4", "lcpr 5"]
    assert outcome.state == "scored" and outcome.stopped is None and outcome.tokens == 3 * 28
    assert outcome.scores["accuracy"].n_total == 20
    items = unpack_items(outcome.items)
    assert [i.id for i in items if i.objective == "mgsm"] == [str(n) for n in range(20)]


def test_a_trial_that_is_as_good_has_no_outcome_yet() -> None:
    assert answer(judging(), 0.5, "mgsm lcpr") is None


def test_a_hopeless_trial_is_stopped_with_what_it_has() -> None:
    outcome = answer(judging(), 0.5, "lcpr")
    assert outcome.state == "stopped" and outcome.stopped.incumbent == "best"
    assert outcome.reason.startswith("after 10 of 20 items its chance to be as good as the best")
    assert (outcome.scores["accuracy"].value, outcome.scores["accuracy"].n_total) == (0.0, 10)
    assert len(unpack_items(outcome.items)) == 14 and outcome.tokens == 3 * 14


def test_a_trial_below_the_floor_is_stopped_with_that_reason() -> None:
    outcome = answer(judging(), 0.5, "mgsm")
    assert outcome.state == "stopped" and outcome.stopped.incumbent == ""
    assert "its chance to keep its floor was 0.0" in outcome.reason


def test_what_is_infeasible_so_far_may_yet_be_scored() -> None:
    """Only of all answers it is said, as a few may hold nothing that can be scored."""
    free = Threshold(THRESHOLD.rules, "best", (False,) * 20)
    found = judging()
    assert answer(found, 0.5, "", free) is None
    assert answer(found, 1.0, "", None).reason == "all wrong; all wrong"


def test_without_a_bar_all_is_asked_at_once() -> None:
    found = judging()
    assert len(found.asked(1.0)) == 28
    assert answer(found, 1.0, "mgsm lcpr", None).state == "scored"


def test_another_engine_begins_anew() -> None:
    found = judging()
    answer(found, 0.5, "mgsm lcpr")
    found.begin()
    assert len(found.asked(0.5)) == 14


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_items_are_asked_one_at_least(n: int) -> None:
    found = judging(Said("mgsm", "accuracy", n=n), WORDS)
    asked = [len(found.asked(0.25)) - 2]
    answer(found, 0.25, "mgsm lcpr", Threshold(THRESHOLD.rules, "best", (True,) * n))
    asked.append(len(found.asked(1.0)) - 6)
    assert asked == [1, n - 1]


def test_an_objective_that_fails_at_a_look_is_the_scorers_fault() -> None:
    found = judging(Said("mgsm", "accuracy", fails_after=9), WORDS)
    outcome = answer(found, 0.5, "mgsm lcpr")
    assert (outcome.state, outcome.cause) == ("failed", "scorer")
    assert "KeyError: 'no such item'" in outcome.reason


def test_a_task_of_multiple_choice_is_looked_at_by_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three choices are three requests; of the lone last ones nothing is judged yet."""
    pytest.importorskip("lm_eval")
    tasks = load(["pick"], write(tmp_path / "tasks"), code=False, fetch=False)
    objective = LmEvalObjective(tasks, 11, 1, seed=0)
    monkeypatch.setattr(targets, "TARGETS", targets.known([LmEvalSettings.target], [objective]))

    def look(right: bool) -> Any:
        found = judging(objective)
        asked = found.asked(0.5)
        assert len(asked) == 16  # of 33
        likely = [(n % 3 == 0) == right for n in range(16)]  # the first choice is the right one
        said = [Completion("", 0, "stop", (), -1.0 if one else -9.0, one) for one in likely]
        return found.answered(said, 0.5, Threshold(THRESHOLD.rules, "best", (True,) * 11))

    assert look(right=True) is None
    outcome = look(right=False)
    assert outcome.state == "stopped" and outcome.stopped.items == 5
    assert outcome.scores["lm_eval"].value == 0.0 and outcome.scores["lm_eval"].n_total == 5
