"""The order of things in a study, driven by hand: real Optuna, no Ray actors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from objectives.targets import TARGETS
from objectives.types import Score
from search.merging.recipe import LayerSwap, Recipe, Single, Slerp, Ties, from_dict, key, to_dict
from search.merging.space.proposal import BASELINE
from search.merging.space.rivals import RivalSpace
from search.merging.space.swap import Space, make_space
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.writer import RecordsWriter
from search.study.dispatcher import Dispatcher
from search.study.order import Order
from search.study.outcome import ActorExit, TrialOutcome
from search.study.proposing.phase import Phase
from search.study.retries import FAILURES, FAILURES_IN_ALL, finished_trials
from search.study.tuning.searcher import StudySearcher

L = 3
FINAL = [Single("base"), LayerSwap(0, 0, 1, 0, 0, 0)]


SCORES = tuple(target.score for target in TARGETS)


def outcome(value: float = 0.5, **fields: Any) -> TrialOutcome:
    score = Score(value, value, value, 10, 10)
    return TrialOutcome(**({"state": "scored", "scores": dict.fromkeys(SCORES, score)} | fields))


class Nodes:
    """A cluster of named nodes; which of them are gone, and what ran where, is set by the test."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.lost: set[str] = set()
        self.n_dead = 0
        self.next = ActorExit(names[0])
        self.excluded_nodes: tuple[str, ...] = ()
        self.stopping = False
        self.engines: int | None = 1

    def max_running(self) -> int:
        return self.engines or 10_000

    def actor_exit(self, trial_id: str, reported: bool) -> ActorExit:
        return self.next

    def dead(self) -> set[str]:
        return self.lost

    def exclude(self, node: str) -> None:
        self.excluded_nodes = (*self.excluded_nodes, node)

    def has_room(self) -> bool:
        return bool({*self.names} - {*self.excluded_nodes} - self.lost)

    def stop(self) -> None:
        self.stopping = True


class Log:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, name: str, origin: str) -> None:
        self.events.append(("started", origin))

    def ended(self, record: Record) -> None:
        self.events.append(("ended", record.key))

    def repeated(self) -> None:
        self.events.append(("repeated", ""))


class Bench:
    """A searcher with what is around it."""

    def __init__(
        self,
        folder: Path,
        *,
        trials: int = 5,
        engines: int | None = 1,
        baselines: Iterable[Recipe] = (Single("base"),),
        space: Space | None = None,
        rivals: Mapping[str, int] | None = None,
        nodes: Nodes | None = None,
        lag: int = 0,
    ) -> None:
        self.space = space or make_space(lang="te", n_layers=L, n_task=1, n_lang=1)
        exists = (folder / "study.yaml").exists()
        self.records = (
            RecordsWriter.open(folder)
            if exists
            else RecordsWriter.create(folder, StudyHead("s", {}))
        )
        self.log = Log()
        self.nodes = nodes or Nodes("a")
        self.nodes.engines = engines
        phases = [self.phase("search", self.space, trials)]
        for recipe in baselines:
            phases[0].queue.append({BASELINE: json.dumps(to_dict(recipe))})
        for method, budget in (rivals or {}).items():
            rival = RivalSpace(method, "te", L, self.space.pairs, self.space.seen)
            phases.append(self.phase(method, rival, budget))
        self.study, self.phases = phases[0].study, phases
        self.order = Order(
            phases, self.records.trials, L, lambda: FINAL, lag=lag, repeated=self.log.repeated
        )
        self.dispatcher = Dispatcher(
            self.order, self.records, self.nodes, [self.log], lang="te", n_layers=L
        )
        self.searcher = StudySearcher(self.dispatcher, self.nodes)
        self.asked = 0

    def phase(self, origin: str, space: Space | RivalSpace, trials: int) -> Phase:
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(directions=["maximize"] * 2, study_name=origin, sampler=sampler)
        return Phase(origin, space, study, trials)

    def ask(self) -> tuple[str, Recipe, str] | None:
        """One proposal: its id, recipe and split."""
        self.asked += 1
        name = f"t{self.asked}"
        config = self.searcher.suggest(name)
        if not isinstance(config, dict):
            assert config in (None, Searcher.FINISHED)
            return None
        return name, from_dict(json.loads(config["recipe"])), config["split"]

    def run(self, answer: Callable[[Recipe], TrialOutcome] = lambda recipe: outcome()) -> None:
        """Until it has nothing more to propose, one trial after another."""
        while (proposal := self.ask()) is not None:
            name, recipe, _ = proposal
            self.searcher.on_trial_complete(name, {"outcome": answer(recipe)})


def test_order_and_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=5)
    bench.run()
    origins = [r.origin for r in bench.records.trials]
    assert origins == ["baseline"] + ["search"] * 5 + ["final"] * 2
    assert [r.split for r in bench.records.trials[-2:]] == ["held_out"] * 2
    assert len(bench.records.ended("search")) == 6
    assert bench.dispatcher.finished


def test_each_rival_has_its_budget_and_hears_of_its_own_trials(tmp_path: Path) -> None:
    rivals = {"soup": 20, "ties": 4, "slerp": 3}
    bench = Bench(tmp_path / "s", trials=2, rivals=rivals)
    phases = bench.phases
    bench.run()
    found = Counter(r.origin for r in bench.records.trials)
    # the space of soups has nine points only
    assert found == {"baseline": 1, "search": 2, "soup": 9, "ties": 4, "slerp": 3, "final": 2}
    assert len({(r.key, r.split) for r in bench.records.trials}) == len(bench.records.trials)
    kinds = {r.origin: type(r.recipe) for r in bench.records.trials if r.origin in rivals}
    assert kinds == {"soup": LayerSwap, "ties": Ties, "slerp": Slerp}
    reported = {phase.origin: len(phase.study.trials) for phase in phases}
    assert reported["ties"] == 4 and reported["slerp"] == 3 and reported["soup"] >= 9
    states = {t.state.name for phase in phases for t in phase.study.trials}
    assert states <= {"COMPLETE", "WAITING"}


def test_recorded_before_anyone_hears(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s")
    name, recipe, _ = bench.ask() or pytest.fail("nothing proposed")

    def ended(record: Record) -> None:
        lines = (tmp_path / "s" / "trials.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["key"] == record.key == key(recipe, L)
        heard.append(record)

    heard: list[Record] = []
    bench.log.ended = ended  # type: ignore[method-assign]
    bench.searcher.on_trial_complete(name, {"outcome": outcome()})
    assert len(heard) == 1


@pytest.mark.slow
def test_a_recipe_is_generated_for_once(tmp_path: Path) -> None:
    """The whole of a small space: repetitions are answered, the search ends by itself."""
    bench = Bench(tmp_path / "s", trials=10_000)
    bench.run(lambda recipe: outcome(0.25 if isinstance(recipe, LayerSwap) and recipe.b else 0.75))
    found = [r.key for r in bench.records.trials if r.origin == "search"]
    assert sorted(found) == sorted({key(r, L) for r in bench.space.recipes()})
    repeats = [t for t in bench.study.trials if t.user_attrs.get("repeated")]
    assert len(repeats) == sum(event == ("repeated", "") for event in bench.log.events) > 0
    values = {r.key: r.value("accuracy") for r in bench.records.trials if r.split == "search"}
    for trial in bench.study.trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert trial.values[0] == values[trial.user_attrs["key"]]


def test_repeat_of_a_running_recipe_waits_for_it(tmp_path: Path) -> None:
    space = make_space(lang="te", n_layers=2, n_task=1, n_lang=1, shares=(0.5, 0.5, 0.1))
    bench = Bench(tmp_path / "s", trials=100, engines=None, baselines=(), space=space)
    running = []
    while (proposal := bench.ask()) is not None:
        running.append(proposal)
    assert len({key(recipe, 2) for _, recipe, _ in running}) == len(running)
    held = [t for t in bench.study.trials if t.state == optuna.trial.TrialState.RUNNING]
    assert len(held) > len(running)
    for name, _, _ in running:
        bench.searcher.on_trial_complete(name, {"outcome": outcome()})
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in bench.study.trials)


def test_no_more_than_the_engines(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", engines=2)
    first = bench.ask()
    assert first and bench.ask() and bench.ask() is None
    bench.searcher.on_trial_complete(first[0], {"outcome": outcome()})
    assert bench.ask()


def test_final_waits_for_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=1, engines=None, baselines=())
    name, _, split = bench.ask() or pytest.fail("nothing proposed")
    assert split == "search" and bench.ask() is None
    bench.searcher.on_trial_complete(name, {"outcome": outcome()})
    assert (bench.ask() or pytest.fail("no final trial"))[2] == "held_out"


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        (outcome(state="infeasible", reason="coverage 0.1"), "infeasible", "coverage 0.1"),
        (TrialOutcome("failed", "the engine burnt"), "failed", "the engine burnt"),
    ],
)
def test_not_scored_is_not_the_worst(
    tmp_path: Path, ended: TrialOutcome, state: str, reason: str
) -> None:
    bench = Bench(tmp_path / "s", baselines=())
    name, _, _ = bench.ask() or pytest.fail("nothing proposed")
    bench.searcher.on_trial_complete(name, {"outcome": ended})
    (record,) = bench.records.trials
    assert record.state == state and reason in record.reason
    (trial,) = bench.study.trials
    assert trial.state == optuna.trial.TrialState.FAIL and trial.values is None


def lose(bench: Bench, node: str | None) -> Recipe:
    """The next trial loses its engine on this node."""
    name, recipe, _ = bench.ask() or pytest.fail("nothing proposed")
    bench.nodes.next = ActorExit(node)
    bench.searcher.on_trial_complete(name, error=True)
    return recipe


def test_a_trial_whose_engine_died_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=4)
    lost = lose(bench, "a")
    assert not bench.records.trials
    name, again, _ = bench.ask() or pytest.fail("nothing proposed")
    assert again == lost and bench.log.events == [("started", "baseline")]
    bench.searcher.on_trial_complete(name, {"outcome": outcome()})
    assert [r.attempts for r in bench.records.trials] == [2]
    bench.run()
    assert len(bench.records.trials) == 7 and bench.dispatcher.finished


def test_a_trial_whose_engine_dies_again_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.fate.SURE_SECONDS", 0.0)
    bench = Bench(tmp_path / "s", trials=4)
    assert lose(bench, "a") == lose(bench, "a")
    bench.nodes.next = ActorExit("a")
    bench.run()
    first = bench.records.trials[0]
    assert (first.state, first.attempts) == ("failed", 2) and "died 2 times" in first.reason
    assert len(bench.records.trials) == 7 and bench.dispatcher.finished


def test_a_lost_node_costs_no_retry_and_no_budget(tmp_path: Path) -> None:
    """Preemption: the trial is proposed again, however often its node goes."""
    bench = Bench(tmp_path / "s", trials=4, nodes=Nodes("a", "b", "c", "d", "e"))
    lost = []
    for node in ("a", "b", "c", "d"):
        lost.append(lose(bench, node))
        bench.nodes.lost.add(node)
    bench.nodes.next = ActorExit("e")
    bench.run()
    assert lost == [lost[0]] * 4 and len(bench.records.trials) == 7
    assert {(r.state, r.attempts) for r in bench.records.trials} == {("scored", 1)}


@pytest.mark.parametrize("node", ["a", None])
def test_a_trial_is_announced_once_however_often_it_is_tried(
    tmp_path: Path, node: str | None
) -> None:
    """The display counts what runs: as many starts as ends."""
    bench = Bench(tmp_path / "s", trials=3, nodes=Nodes("a", "b"))
    for number in range(3):
        lose(bench, node)
        if node:
            bench.nodes.lost.add(node)
        bench.nodes.n_dead = number % 2
    bench.nodes.next = ActorExit("b")
    bench.run()
    kinds = Counter(event for event, _ in bench.log.events)
    assert bench.dispatcher.finished and kinds["started"] == kinds["ended"] == 6


def test_a_scorer_that_fails_excludes_no_node_but_ends_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=50, nodes=Nodes("a", "b"))
    bench.run(lambda recipe: TrialOutcome("failed", "scoring failed: KeyError", "scorer"))
    assert bench.nodes.excluded_nodes == () and len(bench.records.trials) == FAILURES_IN_ALL
    assert {record.cause for record in bench.records.trials} == {"scorer"}
    assert "trials fail wherever they run" in str(bench.dispatcher.fault)


def test_the_same_recipes_whoever_ends_first(tmp_path: Path) -> None:
    """Optuna's own sampler, two engines, trials that end in another order."""
    orders = []
    for number, pick in enumerate((0, -1)):
        folder = tmp_path / str(number)
        bench = Bench(folder, trials=12, engines=2, lag=2, rivals={"ties": 3})
        running: list[tuple[str, Recipe, str]] = []
        while not bench.dispatcher.over:
            while len(running) < 2 and (proposal := bench.ask()):
                running.append(proposal)
            if running:
                name, recipe, _ = running.pop(pick)
                value = int(key(recipe, L), 16) % 100 / 100
                bench.searcher.on_trial_complete(name, {"outcome": outcome(value)})
        assert bench.dispatcher.finished
        trials = [t for phase in bench.phases for t in phase.study.trials]
        orders.append([(t.user_attrs.get("key"), t.params, t.values) for t in trials])
    assert orders[0] == orders[1]


def test_what_is_lost_is_waited_for(tmp_path: Path) -> None:
    """A node's death is known late: until then the trial is neither failed nor proposed again."""
    bench = Bench(tmp_path / "s", trials=1, baselines=())
    lost = [lose(bench, "a"), lose(bench, "a")]
    assert bench.ask() is None and not bench.records.trials and not bench.dispatcher.finished
    bench.nodes.lost.add("a")
    bench.nodes.next = ActorExit("b")
    bench.run()
    assert [r.recipe for r in bench.records.trials][0] == lost[0] and bench.dispatcher.finished


def test_watchdog_ends_a_trial_as_failed(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s")
    name, _, _ = bench.ask() or pytest.fail("nothing proposed")
    bench.nodes.next = ActorExit("a", limit=7.0)
    bench.searcher.on_trial_complete(name, error=True)
    (record,) = bench.records.trials
    assert record.state == "failed" and "longer than 7 s (search.trial_timeout)" in record.reason


def test_failures_in_a_row_stop_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=50)
    bench.run(lambda recipe: TrialOutcome("failed", "no memory"))
    assert len(bench.records.trials) == FAILURES and bench.nodes.stopping
    assert "no memory" in str(bench.dispatcher.fault) and "--resume" in str(bench.dispatcher.fault)
    assert not bench.dispatcher.finished


def test_a_listener_that_fails_costs_nobody_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Failures are counted all the same; Tune would swallow the error."""
    bench = Bench(tmp_path / "s", trials=50)

    def fail(record: Record) -> None:
        raise RuntimeError("no terminal")

    monkeypatch.setattr(bench.log, "ended", fail)
    bench.run(lambda recipe: TrialOutcome("failed", "no memory"))
    assert len(bench.records.trials) == FAILURES and "no memory" in str(bench.dispatcher.fault)
    assert "no terminal" in caplog.text


@pytest.mark.parametrize("where", ["propose", "append"])
def test_a_fault_of_our_own_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    bench = Bench(tmp_path / "s", trials=5)

    def fail(*arguments: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(Phase if where == "propose" else RecordsWriter, where, fail)
    bench.run()
    assert "KeyError: 'odd'" in str(bench.dispatcher.fault) and bench.nodes.stopping
    assert "--resume" in str(bench.dispatcher.fault) and not bench.dispatcher.finished


def test_what_was_handed_out_before_costs_nothing(tmp_path: Path) -> None:
    """Trials that wait for an engine may still come to a node that has been left out meanwhile."""
    bench = Bench(tmp_path / "s", engines=None, nodes=Nodes("bad", "good"))
    configs = [bench.searcher.suggest(f"w{n}") for n in range(FAILURES + 2)]
    for number in range(FAILURES + 2):
        bench.nodes.next = ActorExit("bad")
        failed = {"outcome": TrialOutcome("failed", "no memory")}
        bench.searcher.on_trial_complete(f"w{number}", failed)
    assert [r.state for r in bench.records.trials] == ["failed"] * FAILURES
    for number in (FAILURES, FAILURES + 1):
        again = bench.searcher.suggest(f"again{number}")
        assert isinstance(again, dict) and isinstance(configs[number], dict)
        assert again == configs[number] | {"excluded_nodes": ["bad"]}
    bench.nodes.next = ActorExit("bad")  # it was told to keep off: no free trial for ever
    bench.searcher.on_trial_complete(
        f"again{FAILURES}", {"outcome": TrialOutcome("failed", "again")}
    )
    assert len(bench.records.trials) == FAILURES + 1
    started = [event for event in bench.log.events if event[0] == "started"]
    assert len(started) == FAILURES + 2  # those handed out again are not announced again


def test_a_node_that_fails_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path / "s", trials=20, nodes=Nodes("bad", "good"))

    def answer(recipe: Recipe) -> TrialOutcome:
        bad = "bad" not in bench.nodes.excluded_nodes
        bench.nodes.next = ActorExit("bad" if bad else "good")
        return TrialOutcome("failed", "no memory") if bad else outcome()

    name, *_ = bench.ask() or pytest.fail("nothing proposed")
    bench.nodes.next = ActorExit("bad")
    bench.searcher.on_trial_complete(name, {"outcome": TrialOutcome("failed", "no memory")})
    config = bench.searcher.suggest("x")
    assert isinstance(config, dict) and config["excluded_nodes"] == []
    bench.searcher.on_trial_complete("x", {"outcome": TrialOutcome("failed", "no memory")})
    bench.run(answer)
    assert bench.nodes.excluded_nodes == ("bad",) and bench.dispatcher.finished
    states = Counter(r.state for r in bench.records.trials)
    assert states == {"failed": FAILURES, "scored": 23 - FAILURES}
    assert "node bad: it is not used further" in caplog.text and "no memory" in caplog.text


def test_what_is_killed_at_the_end_is_no_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=50, engines=None)
    running = [bench.ask() or pytest.fail("nothing proposed") for _ in range(FAILURES_IN_ALL)]
    bench.nodes.stop()
    bench.nodes.next = ActorExit(None)
    for name, _, _ in running:
        bench.searcher.on_trial_complete(name, error=True)
    assert bench.ask() is None and bench.dispatcher.fault is None and not bench.records.trials


def test_engines_that_never_start_end_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s", trials=50)
    for _ in range(FAILURES_IN_ALL):
        lose(bench, None)
    assert "did not start" in str(bench.dispatcher.fault) and not bench.records.trials
    assert bench.ask() is None


def test_engines_that_started_on_lost_nodes_are_no_failures(tmp_path: Path) -> None:
    """Spot nodes with eight GPUs each go while their engines start."""
    bench = Bench(tmp_path / "s", trials=30, engines=None, nodes=Nodes("a", "b"))
    bench.nodes.next = ActorExit(None)
    running = [bench.ask() or pytest.fail("nothing proposed") for _ in range(16)]
    bench.nodes.lost.add("a")
    for name, _, _ in running:
        bench.searcher.on_trial_complete(name, error=True)
    assert bench.dispatcher.fault is None and not bench.nodes.stopping
    bench.nodes.n_dead, bench.nodes.next = 1, ActorExit("b")
    again = [bench.ask() or pytest.fail("nothing proposed") for _ in range(16)]
    assert [recipe for _, recipe, _ in again] == [recipe for _, recipe, _ in running]
    bench.nodes.next = ActorExit(None)
    for name, _, _ in again[:FAILURES_IN_ALL]:  # nothing explains these
        bench.searcher.on_trial_complete(name, error=True)
    assert "did not start" in str(bench.dispatcher.fault)


def test_bad_nodes_do_not_end_a_search_that_has_good_ones(tmp_path: Path) -> None:
    """Four nodes of many lack the experts; they fail at once, trials elsewhere take long."""
    bad = [f"bad{number}" for number in range(4)]
    bench = Bench(tmp_path / "s", trials=40, engines=None, nodes=Nodes("good", *bad))
    for node in bad:
        bench.nodes.next = ActorExit(node)
        for _ in range(FAILURES):
            name, _, _ = bench.ask() or pytest.fail("nothing proposed")
            bench.searcher.on_trial_complete(name, {"outcome": TrialOutcome("failed", "no expert")})
    assert bench.nodes.excluded_nodes == tuple(bad) and bench.dispatcher.fault is None
    assert not bench.nodes.stopping


def test_what_ended_the_search_is_tried_again(tmp_path: Path) -> None:
    """The cause was mended: base and experts, always the first trials, must not stay failed."""
    fixed = (Single("base"), Single("task/0"), Single("lang/0"))
    first = Bench(tmp_path / "s", trials=4, baselines=fixed)
    first.run(lambda recipe: TrialOutcome("failed", "no expert"))
    assert "--resume" in str(first.dispatcher.fault)
    first.records.close()
    second = Bench(tmp_path / "s", trials=4, baselines=fixed)
    second.run()
    assert second.dispatcher.finished
    for recipe in fixed:
        states = [r.state for r in second.records.trials if r.recipe == recipe]
        assert states[:2] == ["failed", "scored"]
        assert second.records.ended("search")[key(recipe, L)].state == "scored"
    second.records.close()
    again = RecordsReader.read(tmp_path / "s")
    assert finished_trials(again.trials, "search") == again.ended("search")


def test_what_ended_the_search_is_tried_again_after_one_more_crash(tmp_path: Path) -> None:
    fixed = (Single("base"), Single("task/0"), Single("lang/0"))
    first = Bench(tmp_path / "s", trials=4, baselines=fixed)
    first.run(lambda recipe: TrialOutcome("failed", "no expert"))
    first.records.close()
    second = Bench(tmp_path / "s", trials=4, baselines=fixed)
    name, recipe, _ = second.ask() or pytest.fail("nothing proposed")
    second.searcher.on_trial_complete(name, {"outcome": outcome()})
    second.records.close()
    third = Bench(tmp_path / "s", trials=4, baselines=fixed)
    assert set(finished_trials(third.records.trials, "search")) == {key(recipe, L)}


def test_a_full_disk_stops_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's log as well as the records; what ended before is there when it goes on."""
    bench = Bench(tmp_path / "s", trials=4)
    name, _, _ = bench.ask() or pytest.fail("nothing proposed")

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.study, "tell", refuse)
    bench.searcher.on_trial_complete(name, {"outcome": outcome()})
    assert "No space left on device" in str(bench.dispatcher.fault) and bench.nodes.stopping
    assert len(bench.records.trials) == 1 and bench.ask() is None
    assert [event for event, _ in bench.log.events] == ["started", "ended"]


def test_resumed_search_scores_nothing_twice(tmp_path: Path) -> None:
    first = Bench(tmp_path / "s", trials=6)
    for _ in range(4):
        name, _, _ = first.ask() or pytest.fail("nothing proposed")
        first.searcher.on_trial_complete(name, {"outcome": outcome()})
    first.records.close()
    second = Bench(tmp_path / "s", trials=6)
    second.run()
    trials = [r for r in second.records.trials if r.split == "search"]
    assert len(trials) == len({r.key for r in trials}) == 7
    assert second.dispatcher.finished
