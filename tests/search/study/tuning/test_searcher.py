"""What Tune asks and is told; what is behind it is in tests/search/study/test_dispatcher.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from search.merging.recipe import to_dict
from search.records.writer import RecordsWriter
from search.study.proposing.phase import Phase
from search.study.tuning.searcher import StudySearcher
from tests.search.study.test_dispatcher import Bench, outcome


def test_a_proposal_is_json_for_the_actor(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s")
    config: Any = bench.searcher.suggest("a")
    assert set(config) == {
        "study",
        "recipe",
        "split",
        "threshold",
        "excluded_nodes",
    } and json.dumps(config)
    running = bench.dispatcher._running["a"]
    assert json.loads(config["recipe"]) == to_dict(running.candidate.recipe)


def test_not_now_is_none_and_no_more_is_finished(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=1, baselines=())
    assert isinstance(bench.searcher.suggest("a"), dict)
    assert bench.searcher.suggest("b") is None
    bench.searcher.on_trial_complete("a", {"outcome": outcome()})
    bench.run()
    assert bench.searcher.suggest("c") == Searcher.FINISHED


def test_between_two_studies_tune_waits(tmp_path: Path) -> None:
    first = Bench(tmp_path / "a", trials=1, baselines=())
    second = Bench(tmp_path / "b", trials=1, baselines=())
    searcher = first.searcher
    searcher.turn(first.dispatcher, study="a", last=False)
    first.run()
    assert first.dispatcher.finished and searcher.suggest("x") is None
    searcher.turn(second.dispatcher, study="b", last=False)
    config: Any = searcher.suggest("y")
    assert config["study"] == "b" and list(second.dispatcher._running) == ["y"]
    searcher.on_trial_complete("y", {"outcome": outcome()})
    assert len(second.records.trials) == 1
    second.dispatcher.stop(RuntimeError("odd"))
    assert searcher.suggest("z") == Searcher.FINISHED  # a fault ends Tune, whoever follows


def test_none_follows(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=1, baselines=())
    bench.searcher.turn(bench.dispatcher, study="s", last=False)
    bench.run()
    assert bench.searcher.suggest("x") is None
    bench.searcher.release()
    assert bench.searcher.suggest("x") == Searcher.FINISHED


def test_a_trial_that_nobody_knows_changes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s")
    bench.searcher.on_trial_complete("nobody", {"outcome": outcome()})
    bench.searcher.on_trial_complete("nobody", error=True)
    assert bench.records.trials == [] and bench.dispatcher.fault is None


@pytest.mark.parametrize(("owner", "name"), [(Phase, "propose"), (RecordsWriter, "append")])
def test_nothing_is_raised_into_tune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    bench = Bench(tmp_path / "s")

    def fail(*arguments: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(owner, name, fail)
    bench.run()
    assert "RuntimeError: odd" in str(bench.dispatcher.fault)
    assert bench.searcher.suggest("x") == Searcher.FINISHED


def test_tune_may_pickle_it_but_gets_nothing(tmp_path: Path) -> None:
    searcher: StudySearcher = Bench(tmp_path / "s").searcher
    assert searcher.__getstate__() == {}
    searcher.save(str(tmp_path / "state"))
    assert (tmp_path / "state").read_bytes() == b""
