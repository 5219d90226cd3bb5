"""What a fresh engine is asked, and what is made of its answers; a real one is in tests/e2e."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from objectives.types import ItemResult, Message, Prompt, Sampling
from search.checkpoints.family import Family
from search.common.errors import EngineError
from search.config import compose
from search.config.schema import Config
from search.engine.contract import EngineOptions
from search.export import verify
from search.export.verify import Question, answer_differences, engine_options, mgsm_sampling
from tests.engine_options import engine_options as options

TURNS = (Message("system", "Reply."), Message("user", "ఎన్ని?"))


def item(number: int, objective: str = "mgsm", prompt: Prompt = "p") -> ItemResult:
    return ItemResult(objective, f"q{number}", prompt, f"a{number}", 3, "stop", {})


def test_the_first_greedy_items_are_asked_again() -> None:
    """LCPR's are sampled: another engine need not draw the same."""
    items = [item(0, "lcpr"), item(1), item(2, prompt=TURNS), item(3, "lcpr"), item(4)]
    assert verify.questions(items, 2) == [Question("q1", "p", "a1"), Question("q2", TURNS, "a2")]
    assert [q.id for q in verify.questions(items, 99)] == ["q1", "q2", "q4"]
    assert verify.questions(items[:1], 5) == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The jobs that reach the engine's process, which answers `a0`, `a1`, ..."""
    jobs: list[Any] = []

    def answer(job: Any) -> list[str]:
        jobs.append(json.loads(json.dumps(job)))
        return [f"a{i}" for i in range(len(job["prompts"]))]

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
    question = Question("q", "p", recorded)
    found = answer_differences(Path("out"), [question], options(), Sampling(8))
    assert len(found) == (difference is not None)
    assert difference is None or difference in found[0]


def test_turns_options_and_sampling_reach_the_process(asked: list[Any]) -> None:
    sampling = Sampling(8, stop=("Q:",))
    questions = [Question("q0", "p", "a0"), Question("q1", TURNS, "a1")]
    assert answer_differences(Path("out"), questions, options(), sampling) == []
    (job,) = asked
    assert job["prompts"] == ["p", [asdict(turn) for turn in TURNS]]
    assert EngineOptions(**job["options"]) == options()
    assert Sampling(**{**job["sampling"], "stop": tuple(job["sampling"]["stop"])}) == sampling
    assert job["folder"] == "out"


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


@pytest.mark.parametrize(
    ("overrides", "stop"),
    [
        ([], ("Q:",)),
        (["objective.mgsm.stop=[]"], ()),
        (
            ["objective.mgsm.stop=null", "objective.mgsm.template=null"],
            ("ప్రశ్న:", "</s>", "<|im_end|>"),
        ),
    ],
)
def test_answers_end_where_the_trials_did(overrides: list[str], stop: tuple[str, ...]) -> None:
    found = mgsm_sampling(config(*overrides))
    assert (found.stop, found.temperature, found.max_tokens) == (stop, 0.0, 96)


@pytest.mark.slow
def test_an_export_that_cannot_be_read(tiny_llama: Family, tmp_path: Path) -> None:
    """The engine's process says why it ended."""
    question = Question("q", "p", "a")
    with pytest.raises(EngineError, match=r"(?s)no engine could answer.*config.json is missing"):
        answer_differences(tmp_path, [question], options(), Sampling(8))
