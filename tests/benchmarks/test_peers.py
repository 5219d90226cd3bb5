"""Peers of the search, and their rows where they cannot be run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_quality import recorded, runs
from benchmarks.search_quality.__main__ import main
from benchmarks.search_quality.flat import Flat
from benchmarks.search_quality.ledger import Ledger
from benchmarks.search_quality.record import main as record_main
from benchmarks.search_quality.record import record
from benchmarks.search_quality.recorded import Ground, Recording
from benchmarks.search_quality.replay import CLOCKS
from benchmarks.search_quality.rows import AT, from_tsv
from benchmarks.search_quality.runs import PEERS, Peer, Task, field, missing, run

HEAD = "lang sampler trials held_out low high".split()


def recording(lang: str = "sw", sampler: str = "cma", mean: float = 80.0) -> Recording:
    rows = tuple((lang, sampler, trials, mean, mean - 1, mean + 1) for trials in AT)
    ground = recorded.shipped(lang)
    return Recording(lang, sampler, 7, "2001-02-03", ground, {"cmaes": "9.8.7"}, rows)


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no peer can be run."""
    for sampler, peer in list(PEERS.items()):
        monkeypatch.setitem(PEERS, sampler, replace(peer, needs=("no_such_package",)))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", PEERS)
def test_a_peer_proposes_recipes_and_is_the_same_again(sampler: str) -> None:
    if names := missing(sampler):
        pytest.skip(f"{', '.join(names)} not installed here: make bench-peers")
    one, other = (run(Task("sw", sampler, sampler, 0, 14, 1, "laptop")) for _ in range(2))
    assert one.items.tolist() == [200 * n for n in range(1, 15)]
    assert one.held_out.tolist() == other.held_out.tolist()
    assert set(one.held_out) <= set(field("sw").drawn(0).held_out)
    assert (np.diff(one.seconds) >= 0).all()


@pytest.mark.parametrize("lang", ["te", "sw"])
def test_places_and_recipes_are_each_others_inverse(lang: str) -> None:
    space = field(lang).space()
    flat = Flat(space)
    assert {axis.name for axis in flat.varied} == {"pair", "b", "u", "t_b", "t_u"}
    for code in space.grid.all()[::50]:
        point = space.grid.point(code)
        assert flat.point(flat.places(point)) == point


def test_transition_layers_that_do_not_fit_are_cut() -> None:
    flat = Flat(field("te").space())
    places = {axis.name: len(axis.values) - 1 for axis in flat.varied}
    point = flat.point(places)
    assert point is not None
    assert (point["b"], point["u"], point["t_b"], point["t_u"]) == (5, 5, 0, 0)
    assert flat.point({**places, "b": 4}) == {**point, "b": 4, "t_b": 1}


def test_only_answers_that_are_new_are_paid_for() -> None:
    land = field("sw")
    ledger, name = Ledger(land, CLOCKS["laptop"]), land.recorded.keys[3]
    right = land.recorded.right("search")[3]
    spent = []
    for count in (22, 67, 67, 22, 200, 200):
        assert ledger.wrong(name, count) == pytest.approx(1 - right[:count].mean())
        spent.append(ledger.items)
        assert len(ledger.run.trials) == (count == 200)
    assert spent == [22, 67, 67, 67, 200, 200]
    assert ledger.run.items == [200] and ledger.run.ends == [ledger.seconds]
    assert ledger.run.trials[0].value("accuracy") == pytest.approx(right.mean())


def test_a_trial_of_a_search_by_parts_is_its_number_of_answers() -> None:
    land = field("sw")
    order = np.argsort(land.search[land.in_space])  # each is better than the one before
    ledger = Ledger(land, CLOCKS["laptop"])
    names = [land.recorded.keys[land.in_space[i]] for i in order[::100]]
    for name in names[:3]:
        ledger.wrong(name, 200)
        ledger.wrong(names[5], ledger.asked.get(names[5], 0) + 50)
    assert ledger.run.items == [200, 450, 700]
    found = runs._of_partial(Task("sw", "smac", "smac", 0, 4, 1, "laptop"), land, ledger.run)
    scores = [land.held_out[land.row[name]] for name in names]
    assert found.held_out.tolist() == [scores[0], scores[0], scores[1], scores[2]]
    assert found.items.tolist() == [200, 400, 600, 800]
    assert found.seconds.tolist() == [ledger.run.ends[i] for i in (0, 0, 1, 2)]


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    assert recorded.read(file) == []
    te, old, new = recording("te"), recording("sw"), recording("sw", mean=81.0)
    recorded.write([old, te], file)
    recorded.write([*recorded.read(file), new], file)
    assert recorded.read(file) == [new, te]
    rows = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rows[0].split("\t") == HEAD and len(rows) == 1 + 2 * len(AT)


@pytest.mark.slow
def test_recorded_rows_stand_beside_those_made_now(
    lacking: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.tsv"
    recorded.write([recording(), recording("te"), recording(sampler="gp")], file)
    asked = ["--lang", "sw", "--samplers", "cma,random,smac", "--seeds", "2", "--tsv"]
    assert main(asked, file) == 0
    shown = capsys.readouterr()
    head, *lines = shown.out.splitlines()
    assert head.split("\t") == HEAD
    kinds = [(lang, name, trials) for lang, name, trials, *_ in map(from_tsv, lines)]
    assert kinds == [("sw", name, trials) for name in ("cma", "random") for trials in AT]
    assert [from_tsv(line) for line in lines[: len(AT)]] == list(recording().rows)
    cma, smac = shown.err.splitlines()
    assert cma == "cma: sw: rows last recorded 2001-02-03, 7 seeds, cmaes 9.8.7"
    assert smac.startswith("smac: sw: no rows were recorded")


def test_rows_of_another_landscape_are_marked(
    lacking: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, here = tmp_path / "rows.tsv", recording("te").ground
    stale = replace(recording(), ground=Ground("0" * 64, 5))
    recorded.write([stale, recording("te")], file)
    assert main(["--samplers", "cma"], file) == 0
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    te, sw = line.split("; ")
    assert "ANOTHER" not in te and "rows last recorded" in te
    assert "on ANOTHER LANDSCAPE of 5 recipes" in sw and here.recipes != 5
    assert "| cma | 80.0 (79.0 to 81.0) |" in shown.out


def test_peers_are_run_only_where_they_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setitem(PEERS, "cma", Peer(("numpy",), 2))
    monkeypatch.setattr(
        "benchmarks.search_quality.__main__.run_all",
        lambda tasks: asked.extend(task.sampler for task in tasks) or [],
    )
    main(["--lang", "sw", "--seeds", "1", "--tsv"], tmp_path / "none")
    assert asked == ["ours", "tpe", "nsga2", "random"]
    assert len(capsys.readouterr().err.splitlines()) == len(PEERS)
    main(["--lang", "sw", "--seeds", "1", "--samplers", "cma,tpe"], tmp_path / "none")
    assert asked[4:] == ["cma", "tpe"]
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_rows_are_written_after_each_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.tsv"
    monkeypatch.setitem(PEERS, "random", Peer(("numpy",), 3))
    recorded.write([recording()], file)
    steps = [(r.seeds, r.rows) for r in record("sw", "random", 3)]
    assert [seeds for seeds, _ in steps] == [2, 3] and steps[0][1] != steps[1][1]
    assert record_main(["--lang", "sw", "--samplers", "random"], file) == 0
    old, new = recorded.read(file)
    assert old == recording() and new.ground == recorded.shipped("sw")
    assert new.seeds == 3 and new.packages["numpy"] == np.__version__
    assert [row[:3] for row in new.rows] == [("sw", "random", trials) for trials in AT]
    for written, known in zip(new.rows, steps[1][1], strict=True):
        assert written[3:] == pytest.approx(known[3:], abs=0.006)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--samplers", "gpu"], "gpu is none of the peers gp, cma"),
        (["--samplers", "smac"], "smac needs no_such_package: make bench-peers"),
    ],
)
def test_what_cannot_be_recorded_is_said_at_once(
    asked: list[str], message: str, lacking: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        record_main(asked)
    assert message in capsys.readouterr().err


def test_what_is_shipped_are_whole_rows_of_peers() -> None:
    shipped = recorded.read()
    assert shipped and {r.sampler for r in shipped} <= set(PEERS)
    for one in shipped:
        assert [row[2] for row in one.rows] == list(AT) and one.seeds > 1
        assert set(PEERS[one.sampler].needs) <= set(one.packages)
        assert all(0 < low <= mean <= high < 100 for *_, mean, low, high in one.rows)
