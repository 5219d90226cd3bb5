"""What only a class of one's own can get wrong is said before an engine starts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from objectives.target import Target
from objectives.types import Evaluation, ItemResult, Message, Request, Sampling, Score
from search.run.misfit import misfit, misfit_of_requests

TARGET = Target("quiz", "quiz", "quiz", item="right")
REQUEST = Request("Q", Sampling(1))
ITEM = ItemResult("quiz", "0", "Q", "", 0, "stop", {"right": False, "read": None})
FOUND = Evaluation({"quiz": Score(0.0, 0.0, 0.8, 1, 1)}, (ITEM,), None)


class Quiz:
    """An objective of which only its items' name is asked."""

    split_hash = "0"


def of(found: Any = FOUND, target: Target = TARGET) -> str | None:
    return misfit(Quiz(), found, [target])  # type: ignore[arg-type]


def saying(**verdict: Any) -> Evaluation:
    return replace(FOUND, items=(replace(ITEM, verdict=verdict),))


def drawn(**changes: Any) -> Request:
    return replace(REQUEST, sampling=replace(REQUEST.sampling, **changes))


def scoring(value: Any, name: Any = "quiz") -> Evaluation:
    return replace(FOUND, scores={name: Score(value, 0.0, 1.0, 1, 1)})


MEAN = replace(TARGET, kind="mean")
PARTS = replace(TARGET, kind="parts", item="")


@pytest.mark.parametrize(
    ("found", "target"),
    [
        (FOUND, TARGET),
        (replace(FOUND, scores={"quiz": Score(None, None, None, 0, 1)}), TARGET),
        (saying(right=1.0), TARGET),
        (saying(right=None), TARGET),
        (saying(right=0.5), MEAN),
        (saying(part="a", value=0.5, weight=2), PARTS),
        (replace(FOUND, items=()), replace(MEAN, item="")),
        (FOUND, Target("lcpr", "lcpr", "LCPR", kind="lcpr", item="other")),
        (FOUND, replace(TARGET, score="another objective's", objective="other")),
        (scoring(np.float64(0.5), "a task/acc_norm"), TARGET),
    ],
)
def test_what_is_right_has_no_fault(found: Evaluation, target: Target) -> None:
    assert of(found, target) is None


@pytest.mark.parametrize(
    ("found", "target", "fault"),
    [
        (None, TARGET, "gives a NoneType, and an objectives.types.Evaluation"),
        (replace(FOUND, scores={"quiz": 0.5}), TARGET, "quiz is a float"),
        (replace(FOUND, scores=[("quiz", 0.5)]), TARGET, "scores: Input should be a valid dict"),
        (scoring(float("nan")), TARGET, r"scores.quiz.value: .*finite number, not nan"),
        (scoring("0.5"), TARGET, r"scores.quiz.value: .*number, not '0.5'"),
        (scoring(np.float32(0.5)), TARGET, "have a numpy.float32, which no record holds"),
        (scoring(0.5, "quiz%"), TARGET, "'quiz%' is no name for MLflow"),
        (scoring(0.5, ""), TARGET, "'' is no name for MLflow"),
        (scoring(0.5, 3), TARGET, "scores.3.*should be a valid string"),
        (replace(FOUND, items=[ITEM]), TARGET, "items: Input should be a valid tuple"),
        (replace(FOUND, infeasible=True), TARGET, "infeasible: .*string, not True"),
        (replace(FOUND, items=(replace(ITEM, id=0),)), TARGET, "items.0.id: .*string, not 0"),
        (replace(FOUND, items=(ITEM, ITEM)), TARGET, "two of its items have the id '0'"),
        (saying(right=True, why=["a"]), TARGET, "items.0.verdict.why"),
        (saying(right=np.True_), TARGET, "have a numpy.bool.*, which no record holds"),
        (saying(right=0.5), TARGET, "'right' is 0.5: give it kind='mean'"),
        (saying(right="yes"), TARGET, "is of 'right', which is 'yes'"),
        (saying(right="yes"), MEAN, "is of 'right', which is 'yes'"),
        (saying(value=0.5, weight=2), PARTS, "is of 'part', and its verdicts have value, weight"),
        (FOUND, replace(TARGET, item="rigth"), "'rigth', and its verdicts have right, read"),
        (FOUND, replace(TARGET, objective="kwiz"), "of items of 'kwiz', and it gives items of qu"),
        (replace(FOUND, items=()), TARGET, "of items of 'quiz', and it gives items of nothing"),
        (FOUND, replace(TARGET, direction="up"), "direction: .*'maximize' or 'minimize', not 'up'"),
        (FOUND, replace(TARGET, kind="median"), "kind: Input should be 'share', .*not 'median'"),
        (FOUND, replace(TARGET, kind="lcpr"), "kind is 'lcpr': share and mean are allowed"),
        (FOUND, replace(TARGET, kind="worst"), "kind is 'worst': share and mean are allowed"),
    ],
)
def test_a_fault_is_named(found: Any, target: Target, fault: str) -> None:
    assert re.search(fault, of(found, target) or "")


@pytest.mark.parametrize(
    ("requests", "fault"),
    [
        ([REQUEST, drawn(temperature=0.5, beam_width=2)], None),
        ((replace(drawn(temperature=0.5), seed=0),), None),
        ([replace(REQUEST, continuation=" A")], None),
        (iter([REQUEST]), "gives a list_iterator, and a list is needed"),
        ("Q", "gives a str, and a list is needed"),
        (["Q"], "gives a str, and an objectives.types.Request is needed"),
        ([], r"requests\(\) gives none"),
        ([REQUEST, replace(REQUEST, prompt=5)], "prompt.str: .*string, not 5"),
        ([replace(REQUEST, prompt=[{"role": "user"}])], "prompt.str: .*valid string"),
        ([replace(REQUEST, prompt=(Message("user", "Q"),))], "set objective.chat=true"),
        ([replace(REQUEST, continuation=5)], "continuation: .*string, not 5"),
        ([drawn(max_tokens=0)], "max_tokens: .*greater than or equal to 1, not 0"),
        ([drawn(stop="\n")], "sampling.stop: .*tuple"),
        ([drawn(stop=("",))], "stop.0: .*at least 1 character"),
        ([drawn(temperature=-1.0)], "temperature: .*greater than or equal to 0, not -1.0"),
        ([drawn(top_p=0.0)], "top_p: .*greater than 0, not 0.0"),
        ([drawn(beam_width=0)], "beam_width: .*greater than or equal to 1, not 0"),
        ([drawn(temperature=0.5)], "has temperature 0.5 and no seed"),
    ],
)
def test_what_is_asked(requests: Any, fault: str | None) -> None:
    said = misfit_of_requests(requests, chat=False)
    assert said is None if fault is None else re.search(fault, said or "")


def test_turns_where_there_is_a_template() -> None:
    assert misfit_of_requests([replace(REQUEST, prompt=(Message("user", "Q"),))], chat=True) is None


def test_items_without_a_name() -> None:
    assert "no split_hash" in (misfit(object(), FOUND, [TARGET]) or "")  # type: ignore[arg-type]
