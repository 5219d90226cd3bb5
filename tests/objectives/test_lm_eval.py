"""lm-evaluation-harness's tasks: our scores of the same answers are the harness's own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from objectives import targets
from objectives.errors import SettingError
from objectives.lm_eval import LmEvalObjective, LmEvalSettings, _request
from objectives.lm_eval_tasks import Ask, Tasks, load
from objectives.types import Completion, Request, Split
from tests.objectives.lm_eval_yamls import NAMES, SUMS, write

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def tasks(folder: Path) -> Tasks:
    return load(NAMES, folder, code=False, fetch=False)


def draw(model: str, *parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr((model, *parts)).encode()).digest()[:4], "big")


def answer(model: str, request: Request) -> Completion:
    drawn = draw(model, request.prompt, request.continuation)
    if request.continuation is not None:
        return Completion("", 0, "stop", logprob=-(drawn % 999) / 7 - 1, greedy=drawn % 3 == 0)
    return Completion(f" It is {drawn % 4}, or {drawn % 7}.", 5, "stop")


def harness_model(model: str) -> Any:
    """The same answers, behind the harness's own interface."""
    from lm_eval.api.model import LM

    class Same(LM):
        def loglikelihood(self, requests: Any) -> Any:
            found = [draw(model, *r.args) for r in requests]
            return [(-(x % 999) / 7 - 1, x % 3 == 0) for x in found]

        def loglikelihood_rolling(self, requests: Any) -> Any:
            return [-(draw(model, "", r.args[0]) % 999) / 7 - 1 for r in requests]

        def generate_until(self, requests: Any) -> Any:
            found = [draw(model, r.args[0], None) for r in requests]
            return [f" It is {x % 4}, or {x % 7}." for x in found]

    return Same()


def evaluate(objective: LmEvalObjective, model: str, split: Split = "search") -> Any:
    asked = objective.requests(split)
    return objective.score(split, [answer(model, request) for request in asked])


@pytest.mark.slow
def test_scores_are_the_harnesss_to_the_last_digit(folder: Path, tasks: Tasks) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    n = len(tasks.items)
    objective = LmEvalObjective(tasks, n - 1, 1, seed=0)
    both = [*evaluate(objective, "m").items, *evaluate(objective, "m", "held_out").items]
    assert len({i.id for i in both}) == n == 7 * len(SUMS)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    theirs = simple_evaluate(
        harness_model("m"), tasks=list(NAMES), task_manager=manager, bootstrap_iters=0
    )["results"]
    found = 0
    for name in tasks.main:
        mine = [i for i in both if i.verdict["task"] == name]
        for key, value in theirs[name].items():
            metric, _, _ = key.partition(",")
            if metric not in mine[0].verdict:
                continue
            rows = [tasks_worth(tasks, i.id, metric) for i in mine]
            mean = sum(v for v, _ in rows) / sum(w for _, w in rows)
            assert tasks.figure(name, metric, mean) == pytest.approx(value, rel=1e-12), name
            found += 1
    assert found == 10
    pair = [i for i in both if i.verdict["part"] == "pair"]
    mean = sum(float(i.verdict["value"] or 0) for i in pair) / len(pair)
    assert mean == pytest.approx(theirs["pair"]["acc,none"], rel=1e-12)


def tasks_worth(tasks: Tasks, item_id: str, metric: str) -> tuple[float, float]:
    (item,) = (item for item in tasks.items if item.id == item_id)
    from objectives.lm_eval import _answer, _request

    answers = [_answer(ask, answer("m", _request(ask))) for ask in item.asks]
    worth = tasks.worth(item, answers)[metric]
    return worth.value, worth.weight


def test_parts_are_disjoint_seeded_and_stratified(tasks: Tasks) -> None:
    objective = LmEvalObjective(tasks, 28, 28, seed=3)
    ids: dict[Split, list[str]] = {
        split: [i.id for i in evaluate(objective, "m", split).items]
        for split in ("search", "held_out")
    }
    assert not set(ids["search"]) & set(ids["held_out"])
    for each in ids.values():
        assert {sum(i.startswith(f"{name}/") for i in each) for name in tasks.main} == {4}
    assert LmEvalObjective(tasks, 28, 28, seed=3).split_hash == objective.split_hash
    assert LmEvalObjective(tasks, 28, 28, seed=4).split_hash != objective.split_hash


def test_the_score_is_the_mean_over_what_was_named(tasks: Tasks) -> None:
    found = evaluate(LmEvalObjective(tasks, 70, 14, seed=0), "m").scores
    score = found["lm_eval"]
    assert score.low < score.value < score.high and score.n_scored == 70
    assert found["sums/exact_match"].n_scored == 10
    assert found["prose/bits_per_byte"].low < found["prose/bits_per_byte"].value


def test_the_first_requests_are_whole_items(tasks: Tasks) -> None:
    objective = LmEvalObjective(tasks, 70, 14, seed=0)
    asked = [answer("m", request) for request in objective.requests("search")]
    whole = objective.score("search", asked).items
    for first in (0, 1, 2, 7, 20):
        items = objective.score("search", asked[:first], first=first).items
        assert items == whole[: len(items)] and len(items) <= first
    with pytest.raises(ValueError, match="completions for"):
        objective.score("search", asked[:-1])


def test_two_models_are_compared_on_the_same_items(tasks: Tasks) -> None:
    objective = LmEvalObjective(tasks, 70, 14, seed=0)
    one, other = evaluate(objective, "m"), evaluate(objective, "n")
    found = LmEvalSettings.target.compare(one.items, other.items, "te")
    assert found is not None and found.n == 70 and found.low < found.difference < found.high
    assert found.difference == pytest.approx(
        one.scores["lm_eval"].value - other.scores["lm_eval"].value
    )
    same = LmEvalSettings.target.compare(one.items, one.items, "te")
    assert same is not None and same.difference == 0 and same.p_value == 1
    assert LmEvalSettings.target.compare(one.items, [], "te") is None


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("sums",), "share"),
        (("pick_norm",), "share"),
        (("pair",), "share"),  # a group's score is that of all its items
        (("sums", "pick"), "parts"),
        (("cloze",), "parts"),
        (("prose",), "parts"),
    ],
)
def test_a_share_of_items_is_known_as_one(folder: Path, names: tuple[str, ...], kind: str) -> None:
    tasks = load(names, folder, code=False, fetch=False)
    objective = LmEvalObjective(tasks, 8, 4, seed=0)
    (target, lcpr) = targets.known((LmEvalSettings.target, targets.DEFAULT[1]), [objective])
    assert (target.kind, lcpr) == (kind, targets.DEFAULT[1])
    if kind == "share":
        found = evaluate(objective, "m")
        share = sum(target.marks(found.items).values()) / 8
        assert found.scores["lm_eval"].value == share


def test_what_a_yamls_own_code_says_may_be_any_number(folder: Path, tmp_path: Path) -> None:
    task = json.loads((folder / "sums.yaml").read_text("utf-8")) | {"task": "half"}
    (tmp_path / "code.py").write_text("def half(doc, results):\n    return {'exact_match': 0.5}\n")
    text = json.dumps(task)[:-1] + ', "process_results": !function code.half}'
    (tmp_path / "half.yaml").write_text(text, "utf-8")
    tasks = load(["half"], tmp_path, code=True, fetch=False)
    assert (
        not tasks.yes_or_no
        and not targets.known([LmEvalSettings.target], [LmEvalObjective(tasks, 8, 4, seed=0)])[
            0
        ].won
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"until": 3}, "until is 3, no text and no list of texts"),
        ({"until": ["\n", 3]}, "until is .*no list of texts"),
        ({"until": [], "max_gen_toks": "12"}, "new tokens is '12', no whole number"),
        ({"max_gen_toks": -1}, "new tokens is -1"),
        ({"until": "x", "do_sample": True, "temperature": 0.7}, "only greedy ones"),
    ],
)
def test_what_a_task_cannot_ask_for(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        _request(Ask("generate_until", ("1 + 1 =", asked)))


def test_a_task_is_named_once() -> None:
    with pytest.raises(ValueError, match="sums is named more than once"):
        LmEvalSettings(tasks=("sums", "prose", "sums"))
