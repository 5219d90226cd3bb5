"""Optuna's dashboard opens a study: names, labels, held-out scores, the recommended one's mark."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna_dashboard
import pytest

from search.merging.recipe import key
from search.study.proposing.notes import MARK, annotate, study_name
from search.study.proposing.storage import open_storage
from search.study.schedule import Schedule
from tests.schedules import schedule
from tests.search.study.proposing.test_optuna_study import RIVALS, Study
from tests.search.study.test_dispatcher import FINAL, L, outcome

STORAGES = [None, "sqlite:///{folder}/optuna.db"]
BASE, SWAP = (key(recipe, L) for recipe in FINAL)
WHY = "Highest search | accuracy <b>"


def url_of(storage: str | None, folder: Path) -> str | None:
    return storage and storage.format(folder=folder)


def plan(storage: str | None) -> Schedule:
    return schedule(storage=storage, baselines=RIVALS)


def whole(folder: Path, storage: str | None) -> Study:
    """A study that came to its end; its second proposal was not scored."""
    study = Study(folder, storage)
    study.phases[0].first(study.space.point(FINAL[1]) or pytest.fail("not in the space"))
    for number in range(1000):
        asked = study.ask()
        if asked is None:
            break
        bad = outcome(state="infeasible", reason="NaN <i>", scores={})
        told = bad if number == 3 else outcome(0.25 if asked[2] == "search" else 0.75)
        study.searcher.on_trial_complete(asked[0], {"outcome": told})
    assert study.dispatcher.finished
    return study


class Quiet(WSGIRequestHandler):
    """Says nothing of requests."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def dashboard(storage: str | None, folder: Path) -> Iterator[str]:
    """Address of the dashboard on a study's storage."""
    app = optuna_dashboard.wsgi(open_storage(storage, folder))
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    head = {"Content-Type": "application/json"}
    method = "PUT" if data else "GET"
    with urlopen(Request(f"{address}/api/{path}", data, head, method=method)) as r:
        return json.loads(r.read() or b"null")


def look(storage: str | None, folder: Path, name: str) -> dict[str, Any]:
    """What the dashboard says of a search."""
    with dashboard(storage, folder) as address:
        studies = {s["study_name"]: s for s in ask(address, "studies")["study_summaries"]}
        found: dict[str, Any] = ask(address, f"studies/{studies[name]['study_id']}")
        return found


def notes(found: dict[str, Any]) -> dict[str, str]:
    """Key -> the note of its first trial."""
    bodies: dict[str, str] = {}
    for trial in found["trials"]:
        attributes = {entry["key"]: entry["value"] for entry in trial["user_attrs"]}
        name = attributes.get("key", "").strip("'\"")
        bodies.setdefault(name, trial["note"]["body"])
        assert attributes["label"].strip("'\"").startswith("te ")
    return bodies


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_the_dashboard_lists_a_study_with_its_notes(tmp_path: Path, storage: str | None) -> None:
    folder, url = tmp_path / "s", url_of(storage, tmp_path)
    study = whole(folder, url)
    annotate(plan(url), study.records, SWAP, WHY)
    head = study.records.head()
    found = look(url, folder, study_name(plan(url), "search", head))
    assert found["objective_names"] == ["accuracy", "LCPR"]
    why = "Highest search \\| accuracy &lt;b>"
    label = study.records.ended("search")[SWAP].label
    scores = "search items: accuracy 25.0, LCPR 25.0\n\nheld-out items: accuracy 75.0, LCPR 75.0"
    assert found["note"]["body"] == f"# {MARK}: {label}\n\n{scores}\n\n{why}"
    told = notes(found)
    assert told[SWAP] == f"**{label}**\n\n# {MARK}\n\n{scores}"
    assert told[BASE] == f"**te base**\n\n{scores}"
    assert [text for text in told.values() if MARK in text] == [told[SWAP]]
    lost = [r.key for r in study.records.trials if r.state == "infeasible"]
    assert [told[name].partition("\n\n")[2] for name in lost] == ["infeasible: NaN &lt;i>"]
    assert sum(map(bool, told.values())) == 3
    rival = look(url, folder, study_name(plan(url), "ties", head))
    assert len(rival["trials"]) >= 3 and rival["note"] == found["note"]


def test_notes_follow_the_records_but_not_over_a_person(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    study = whole(folder, None)
    annotate(plan(None), study.records, SWAP, "x" * 5000)
    name = study_name(plan(None), "search", study.records.head())
    found = look(None, folder, name)
    assert found["note"]["body"].endswith("\n\n" + "x" * 5000)
    journal = folder / "optuna.journal"
    before = journal.read_bytes()
    annotate(plan(None), study.records, SWAP, "x" * 5000)
    assert journal.read_bytes() == before  # nothing new to say
    number = next(t["trial_id"] for t in found["trials"] if MARK in t["note"]["body"])
    with dashboard(None, folder) as address:
        version = {"body": "mine", "version": 2}
        ask(address, f"studies/0/{number}/note", version)
    annotate(plan(None), study.records, "", "None can be told from another.")
    found = look(None, folder, name)
    assert found["note"]["body"] == "None can be told from another."
    assert notes(found)[SWAP] == "mine" and MARK not in notes(found)[BASE]


def test_a_study_goes_on_as_it_would_without_notes(tmp_path: Path) -> None:
    """The next proposals are those of a study that nobody has annotated."""
    asked = []
    for annotated in (False, True):
        folder = tmp_path / f"s{annotated}"
        study = Study(folder)
        done = study.end(4)
        if annotated:
            annotate(plan(None), study.records, key(done[-1], L), WHY)
        study.records.close()
        again = Study(folder)
        asked.append([*done, *again.end(6)])
        again.records.close()
    assert asked[0] == asked[1] and len(set(asked[0])) == 10


def test_a_storage_without_the_study_gets_no_note(tmp_path: Path) -> None:
    study = whole(tmp_path / "s", None)
    (tmp_path / "s" / "optuna.journal").unlink()
    annotate(plan(None), study.records, SWAP, WHY)
    assert open_storage(None, tmp_path / "s").get_all_studies() == []
