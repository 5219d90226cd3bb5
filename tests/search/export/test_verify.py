"""What a fresh engine is asked, and what is made of its answers; a real one is in tests/e2e."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from objectives.types import Decoding, ItemResult, Message, Prompt, Request, Sampling
from search.checkpoints.family import Family
from search.common.errors import EngineError
from search.config import compose
from search.config.schema import Config
from search.config.scored import build_objectives
from search.engine.contract import EngineOptions
from search.export import verify
from search.export.verify import Greedy, Question, answer_differences, engine_options
from search.merging.recipe import LayerSwap, Recipe, Single
from search.records.record import Record
from search.study.tuning.judging import Judging
from tests.engine_options import engine_options as options
from tests.objectives.lm_eval_yamls import write

TURNS = (Message("system", "Reply."), Message("user", "ఎన్ని?"))


def item(number: int, objective: str = "mgsm", prompt: Prompt = "p") -> ItemResult:
    return ItemResult(objective, f"q{number}", prompt, f"a{number}", 3, "stop", {})


def test_the_first_greedy_items_of_each_objective_are_asked_again() -> None:
    """Those that are sampled have no sampling here: another engine need not draw the same."""
    one, other = Sampling(8), Sampling(9)
    known = {"mgsm": {"p": one, TURNS: one}, "lm_eval": {"p": other}}
    items = [item(0, "lcpr"), item(1), item(2, prompt=TURNS), item(3, prompt="new"), item(4)]
    items += [item(5, "lm_eval")]
    first = [Question("q1", "p", "a1", one), Question("q5", "p", "a5", other)]
    assert verify.questions(items, known, 2) == first
    assert [q.id for q in verify.questions(items, known, 99)] == ["q1", "q5", "q2", "q4"]
    assert verify.questions(items[:1], known, 5) == []


def asked_of(recipe: Recipe, *overrides: str) -> Greedy:
    record = Record(0, "k", "held_out", "scored", "search", "x", recipe)
    return verify.greedy(verify.requests(config(*overrides), record))


def test_what_objectives_answer_greedily() -> None:
    """LCPR's answers are drawn, unless the recipe says otherwise."""
    plain = Single("base")
    known = asked_of(plain)
    assert [(name, len(own)) for name, own in known.items()] == [("mgsm", 400), ("lcpr", 0)]
    assert {s.stop for s in known["mgsm"].values()} == {("Q:",)}
    assert {s.stop for s in asked_of(plain, "objective.mgsm.stop=[]")["mgsm"].values()} == {()}
    varied = LayerSwap(0, 0, 1, 1, 0, 0, decoding=Decoding(temperature=0.0))
    assert len(asked_of(varied)["lcpr"]) == 100


def test_of_the_harnesss_tasks_those_that_generate(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    folder = write(tmp_path / "tasks")
    section = (
        f"{{tasks: [sums, pick], include_path: {folder}, search_items: 4, held_out_items: 20}}"
    )
    more = ("objective.task=lm_eval", "objective.language=none", f"objective.lm_eval={section}")
    known = asked_of(Single("base"), *more)["lm_eval"]
    assert len(known) == 10  # of 10 and 10
    assert {(s.max_tokens, s.stop) for s in known.values()} == {(12, ("\n",))}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The jobs that reach the engine's process, which answers `a0`, `a1`, ... to each batch."""
    jobs: list[Any] = []

    def answer(job: Any) -> list[list[str]]:
        jobs.append(json.loads(json.dumps(job)))
        return [[f"a{i}" for i in range(len(batch))] for batch in job["batches"]]

    monkeypatch.setattr(verify, "_run", answer)
    return jobs


@pytest.mark.parametrize(
    ("recorded", "difference"),
    [
        ("a0", None),
        ("a1", "q: from character 1 on '1' is on record, the export says '0'"),
        ("", "q: from character 0 on '' is on record, the export says 'a0'"),
        (
            "a0 and more" + "e" * 50,
            f"on {' and more' + 'e' * 21!r} is on record, the export says ''",
        ),
    ],
)
def test_a_difference_is_shown_from_where_it_begins(
    asked: list[Any], recorded: str, difference: str | None
) -> None:
    question = Question("q", "p", recorded, Sampling(8))
    found = answer_differences(Path("out"), [question], [[Request("p", Sampling(8))]], options())
    assert len(found) == (difference is not None)
    assert difference is None or difference in found[0]


def test_what_was_asked_together_is_asked_together(asked: list[Any]) -> None:
    """Whole batches, up to the last that holds what is compared, as they were."""
    sampling = Sampling(8, stop=("Q:",))
    drawn = Request("p", Sampling(8, temperature=0.5), seed=3)
    measured = Request("p", sampling, continuation=" x")  # nothing is generated
    batches = [
        [measured, Request("p", sampling), drawn],
        [Request("other", sampling)],
        [Request(TURNS, Sampling(9), trace=True), Request("p", sampling)],
        [Request("later", sampling)],
    ]
    questions = [Question("q0", "p", "a1", sampling), Question("q1", TURNS, "a0", Sampling(9))]
    assert answer_differences(Path("out"), questions, batches, options()) == []
    (job,) = asked
    assert [[verify._request(**one) for one in batch] for batch in job["batches"]] == batches[:3]
    assert EngineOptions(**job["options"]) == options()
    assert job["folder"] == "out"


@pytest.mark.parametrize(
    ("split", "origin", "sizes"),
    [
        ("held_out", "final", [500]),
        ("search", "baseline", [260]),
        ("search", "search", [130, 65, 65]),
        ("search", "ties", [130, 65, 65]),
    ],
)
def test_batches_are_the_trials(split: Any, origin: Any, sizes: list[int]) -> None:
    record = Record(0, "k", split, "scored", origin, "x", Single("base"))
    asked = verify.requests(config(), record)
    found = verify.batches(config("search=laptop"), record, asked)
    assert [len(batch) for batch in found] == sizes
    chosen = config()
    objectives = build_objectives(chosen.objective, chosen.lang)
    judging = Judging(list(objectives.values()), record.recipe, split)
    judging.begin()
    assert judging.asked(0.5 if len(sizes) > 1 else 1.0) == found[0]
    (whole,) = verify.batches(config("search.race=null"), record, asked)
    assert Counter(whole) == Counter(request for batch in found for request in batch)


def config(*overrides: str) -> Config:
    return compose.load(["objective=demo", *overrides], {"lang": "te"})


def test_the_engine_is_built_as_the_trials_was() -> None:
    found = engine_options(
        config(
            *("search.seed=7", "search.engine.max_num_seqs=3"),
            "objective.chat_template_kwargs.enable_thinking=false",
        )
    )
    assert (found.seed, found.max_num_seqs) == (7, 3)
    assert found.chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.slow
def test_an_export_that_cannot_be_read(tiny_llama: Family, tmp_path: Path) -> None:
    """The engine's process says why it ended."""
    question = Question("q", "p", "a", Sampling(8))
    with pytest.raises(EngineError, match=r"(?s)no engine could answer.*config.json is missing"):
        answer_differences(tmp_path, [question], [[Request("p", Sampling(8))]], options())
