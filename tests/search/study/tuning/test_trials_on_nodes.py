"""A trial on a node of a cluster: experts that are missing there, answers too large to send."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    Step,
)
from search.checkpoints.family import Family
from search.merging.recipe import Single
from search.records.items import unpack_items
from search.study.tuning import judging
from search.study.tuning.trainable import Job, TrialRunner
from tests.engine_options import engine_options
from tests.fake_engine import FakeEngine


@dataclass(frozen=True)
class Long:
    """An objective of 20 answers that do not compress, each of 1,000 letters with a trace."""

    name: str = "long"

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        return [Request(f"{split} {i}", Sampling(8)) for i in range(20)]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        draw = random.Random(0)
        letters = [chr(c) for c in range(0x4E00, 0x9000)]
        steps = [tuple(Step("x", draw.random(), 1) for _ in range(300)) for _ in completions]
        items = tuple(
            ItemResult("long", str(i), "p", "".join(draw.choices(letters, k=1000)), 1, "stop",
                       {"correct": True}, steps[i])
            for i in range(len(completions))
        )  # fmt: skip
        score = Score(1.0, 1.0, 1.0, 20, 20)
        return Evaluation({"accuracy": score, "lcpr": score}, items, None)


def job(sources: dict[str, str]) -> Job:
    return Job(sources, engine_options(), [Long()], engine=FakeEngine)


def slots(family: Family) -> dict[str, str]:
    return {name: str(place) for name, place in family.sources("te").items()}


@pytest.mark.parametrize(
    ("limit", "note", "traces", "texts"),
    [
        (10**9, "", True, True),
        (50_000, "MiB of answers are more than 0: kept without traces", False, True),
        (5_000, "kept without prompts and completions", False, False),
    ],
)
def test_answers_that_are_sent_are_bounded(
    tiny_llama: Family,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    note: str,
    traces: bool,
    texts: bool,
) -> None:
    monkeypatch.setattr(judging, "ITEMS_LIMIT", limit)
    found = TrialRunner(job(slots(tiny_llama))).run(Single("base"), "search")
    assert found.state == "scored" and len(found.items) <= limit
    assert found.note.endswith(note) and bool(found.note) == bool(note)
    items = unpack_items(found.items)
    assert [item.verdict for item in items] == [{"correct": True}] * 20
    assert all(bool(item.steps) == traces for item in items)
    assert all(bool(item.completion) == texts for item in items)


def test_a_node_that_lacks_an_expert_says_so(tiny_llama: Family, tmp_path: Path) -> None:
    n_dead = tmp_path / "models" / "te-0"
    runner = TrialRunner(job(slots(tiny_llama) | {"lang/0": str(n_dead)}))
    for _ in range(2):  # the actor lives on, and looks again
        found = runner.run(Single("base"), "search")
        assert (found.state, found.attempts) == ("failed", 1)
        assert found.reason.startswith(f"node {socket.gethostname()}: 1 checkpoint that cannot")
        assert f"lang/0: {n_dead}/config.json is missing" in found.reason
        assert "put them at the same path there or on a shared filesystem" in found.reason
    n_dead.parent.mkdir()
    n_dead.symlink_to(tiny_llama.language["te"][0])
    assert runner.run(Single("base"), "search").state == "scored"


def test_experts_in_the_jobs_working_directory(
    tiny_llama: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's copy of the job's folder is at another path than the node's."""
    node = tmp_path / "node"
    node.mkdir()
    sources = {}
    for name, place in slots(tiny_llama).items():
        (node / name.replace("/", "-")).symlink_to(place)
        sources[name] = f"/driver/copy/{name.replace('/', '-')}"
    monkeypatch.chdir(node)
    there = Job(
        sources, engine_options(), [Long()], driver_folder="/driver/copy", engine=FakeEngine
    )
    assert TrialRunner(there).run(Single("base"), "search").state == "scored"
    lost = Job(sources, engine_options(), [Long()], driver_folder="/other", engine=FakeEngine)
    assert TrialRunner(lost).run(Single("base"), "search").state == "failed"
