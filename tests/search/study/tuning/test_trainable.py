"""What becomes of a trial in the actor, with a hand-written engine that fails on demand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Request,
    Sampling,
    Score,
    Split,
)
from search.checkpoints.family import Family, FittedFamily
from search.common.errors import EngineDeadError, MaterialiseError
from search.engine.contract import Materialised, NonFinite
from search.merging.plan import Plan
from search.merging.recipe import LayerSwap, Single
from search.study.race import Rules, Threshold
from search.study.tuning.trainable import Job, TrialRunner
from tests.engine_options import engine_options


@dataclass(frozen=True)
class Echo:
    """An objective whose score is the share of completions that say its name."""

    name: str
    metric: str
    infeasible: str | None = None

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        return [Request(f"{self.name} {split} {decoding} {i}", Sampling(8)) for i in range(3)]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        right = [c.text.startswith(f"{self.name} {split} {decoding} ") for c in completions]
        share = sum(right) / len(right)
        items = tuple(
            ItemResult(self.name, str(i), "", c.text, c.n_tokens, "stop", {"correct": ok})
            for i, (c, ok) in enumerate(zip(completions, right, strict=True))
        )
        score = Score(share, share, share, len(right), len(right))
        return Evaluation({self.metric: score}, items, self.infeasible)


class FakeEngine:
    """Echoes prompts; `script` says what the next calls of materialise and generate do."""

    script: ClassVar[list[Any]] = []
    built: ClassVar[int] = 0
    closed: ClassVar[int] = 0
    adopted: ClassVar[list[str]] = []

    def __init__(self, family: FittedFamily, options: object) -> None:
        self.base = family.paths["base"]
        type(self).built += 1

    def _next(self) -> Any:
        act = self.script.pop(0) if self.script else None
        if isinstance(act, Exception):
            raise act
        return act

    def materialise(self, wanted: Plan) -> Materialised | NonFinite:
        return self._next() or Materialised(100, 2, len(wanted), 0.01)

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        return self._next() or [Completion(r.prompt, 4, "stop") for r in requests]

    def adopt(self, family: FittedFamily) -> bool:
        type(self).adopted.append(family.paths["lang/0"])
        return bool(self._next() or True) and family.paths["base"] == self.base

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def runner(tiny_llama: Family) -> TrialRunner:
    FakeEngine.script, FakeEngine.built, FakeEngine.closed = [], 0, 0
    FakeEngine.adopted = []
    return make_runner(tiny_llama, Echo("math", "accuracy"), Echo("words", "lcpr"))


def make_runner(family: Family, *objectives: Echo) -> TrialRunner:
    sources = {name: str(path) for name, path in family.sources("te").items()}
    return TrialRunner(Job(sources, engine_options(), objectives, engine=FakeEngine))


def test_scored(runner: TrialRunner) -> None:
    """Each objective gets its own part of one joint generation."""
    found = runner.run(LayerSwap(0, 1, 1, 1, 0, 0), "held_out")
    assert (found.state, found.reason, found.attempts) == ("scored", "", 1)
    assert {name: score.value for name, score in found.scores.items()} == {"accuracy": 1, "lcpr": 1}
    assert (found.tokens, found.written, found.layers) == (24, 100, 2)
    assert set(found.seconds) == {"materialise", "generate", "score", "total"}
    items = [json.loads(line) for line in gzip.decompress(found.items).decode().splitlines()]
    assert [item["objective"] for item in items] == ["math"] * 3 + ["words"] * 3


def test_decoding_of_the_recipe_reaches_prompts_and_scores(runner: TrialRunner) -> None:
    found = runner.run(Single("base", Decoding(temperature=0.7)), "search")
    items = [json.loads(line) for line in gzip.decompress(found.items).decode().splitlines()]
    assert all("temperature=0.7" in item["completion"] for item in items)
    assert found.scores["accuracy"].value == 1


def test_engine_is_built_once(runner: TrialRunner) -> None:
    for split in ("search", "search", "held_out"):
        assert runner.run(Single("base"), split).state == "scored"  # type: ignore[arg-type]
    assert FakeEngine.built == 1


@pytest.mark.parametrize(
    "script", [[MaterialiseError("torn")], [None, EngineDeadError("gone")]], ids=["write", "die"]
)
def test_tried_again_on_a_new_engine(runner: TrialRunner, script: list[Any]) -> None:
    FakeEngine.script = script
    found = runner.run(Single("base"), "search")
    assert (found.state, found.attempts) == ("scored", 2)
    assert (FakeEngine.built, FakeEngine.closed) == (2, 1)


def test_failed_with_its_causes_and_the_next_trial_is_clean(runner: TrialRunner) -> None:
    FakeEngine.script = [MaterialiseError("torn"), EngineDeadError("gone")]
    found = runner.run(Single("base"), "search")
    assert found.state == "failed" and not found.scores
    assert "MaterialiseError: torn" in found.reason and "EngineDeadError: gone" in found.reason
    assert runner.run(Single("base"), "search").state == "scored"
    assert FakeEngine.built == 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [([NonFinite("NaN in w")], "NaN in w"), ([None, NonFinite("NaN in logits")], "NaN in logits")],
)
def test_non_finite_is_infeasible(runner: TrialRunner, script: list[Any], reason: str) -> None:
    FakeEngine.script = script
    found = runner.run(Single("base"), "search")
    assert (found.state, found.reason, found.attempts) == ("infeasible", reason, 1)
    assert FakeEngine.built == 1


def test_an_objective_may_call_it_infeasible(tiny_llama: Family) -> None:
    FakeEngine.script = []
    runner = make_runner(
        tiny_llama, Echo("m", "accuracy"), Echo("w", "lcpr", infeasible="coverage 0 is too low")
    )
    found = runner.run(Single("base"), "search")
    assert (found.state, found.reason) == ("infeasible", "coverage 0 is too low")
    assert found.scores["accuracy"].value == 1


@dataclass(frozen=True)
class Broken(Echo):
    """An objective that fails where it is told to."""

    where: str = "score"

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        if self.where == "requests":
            raise KeyError("no such item")
        return super().requests(split, decoding)

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        raise KeyError("no such item")


@pytest.mark.parametrize(("where", "generated"), [("requests", 0), ("score", 1)])
def test_a_scorer_that_fails_is_no_fault_of_the_engine(
    tiny_llama: Family, where: str, generated: int
) -> None:
    """It is not tried again on a new engine, which stays for the next trial."""
    FakeEngine.script, FakeEngine.built, FakeEngine.closed = [], 0, 0
    broken = Broken("w", "lcpr", where=where)
    found = make_runner(tiny_llama, Echo("m", "accuracy"), broken).run(Single("base"), "search")
    assert (found.state, found.cause, found.attempts) == ("failed", "scorer", 1)
    assert "scoring failed: KeyError: 'no such item'" in found.reason
    assert (FakeEngine.built, FakeEngine.closed) == (generated, 0)
    assert ("generate" in found.seconds) == bool(generated)


def test_a_failure_says_its_cause(runner: TrialRunner, tiny_llama: Family) -> None:
    FakeEngine.script = [MaterialiseError("torn"), EngineDeadError("gone")]
    assert runner.run(Single("base"), "search").cause == "engine"
    assert runner.run(Single("base"), "search").cause == ""
    sources = {name: str(path) for name, path in tiny_llama.sources("te").items()}
    job = Job(sources | {"task/0": "/nowhere"}, engine_options(), (), engine=FakeEngine)
    assert TrialRunner(job).run(Single("base"), "search").cause == "expert"


def test_a_raced_trial_is_asked_in_parts_and_begins_anew_on_another_engine(
    tiny_llama: Family,
) -> None:
    """The second engine is asked from the first item on: what the first said is forgotten."""
    FakeEngine.script, FakeEngine.built = [None, None, EngineDeadError("gone")], 0
    runner = make_runner(tiny_llama, Echo("mgsm", "accuracy"), Echo("lcpr", "lcpr"))
    threshold = Threshold(Rules((0.5,), 0.1), "best", (True,) * 3)
    found = runner.run(LayerSwap(0, 1, 1, 1, 0, 0), "search", threshold)
    assert (found.state, found.attempts, FakeEngine.built) == ("scored", 2, 2)
    assert (found.tokens, found.scores["accuracy"].n_total) == (24, 3)


def test_a_trial_is_stopped_where_its_bar_says_so(tiny_llama: Family) -> None:
    FakeEngine.script = [None, [Completion("nothing", 4, "stop")] * 4]
    runner = make_runner(tiny_llama, Echo("mgsm", "accuracy"), Echo("lcpr", "lcpr"))
    threshold = Threshold(Rules((0.5,), 0.5), "best", (True,) * 3)
    found = runner.run(LayerSwap(0, 1, 1, 1, 0, 0), "search", threshold)
    assert (found.state, found.tokens, found.written) == ("stopped", 16, 100)
    assert found.stopped and (found.stopped.items, found.stopped.total) == (2, 3)
    assert set(found.seconds) == {"materialise", "generate", "score", "total"}


@pytest.mark.parametrize(
    ("changed", "fails", "adopted", "built", "attempts"),
    [
        ({}, False, True, 1, 1),
        ({}, True, True, 2, 2),  # an engine that failed serves nobody
        ({"base": "task/0"}, False, True, 2, 1),
        ({"seed": 1}, False, False, 2, 1),
    ],
    ids=["other experts", "that cannot be opened", "another base", "other settings"],
)
def test_an_engine_goes_on_with_another_study(
    runner: TrialRunner,
    tiny_llama: Family,
    changed: dict[str, Any],
    fails: bool,
    adopted: bool,
    built: int,
    attempts: int,
) -> None:
    recipe = LayerSwap(0, 0, 1, 1, 0, 0)
    assert runner.run(recipe, "search").state == "scored"
    sources = dict(runner._job.sources)
    sources["lang/0"], sources["lang/1"] = sources["lang/1"], sources["lang/0"]
    sources["base"] = sources[changed.get("base", "base")]
    options = engine_options(seed=changed.get("seed", 0))
    echoes = Echo("other", "accuracy"), Echo("words", "lcpr")
    runner.take(Job(sources, options, echoes, engine=FakeEngine))
    FakeEngine.script = [EngineDeadError("the disk is gone")] if fails else []
    for _ in range(2):
        found = runner.run(recipe, "search")
        assert (found.state, found.attempts) == ("scored", attempts)
        assert b'"other"' in gzip.decompress(found.items)
        attempts = 1
    assert FakeEngine.adopted == ([sources["lang/0"]] if adopted else [])
    assert (FakeEngine.built, FakeEngine.closed) == (built, built - 1)
