"""MLflow at one address: whether it is there, what its refusals mean, what is found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import StudyError
from search.study.tracking.store import Store, answers
from tests.search.study.tracking.sent import client, runs, send, trial


def test_who_answers(port: int, silent: int) -> None:
    assert answers("sqlite:////anywhere/mlflow.db", 1)
    assert not answers(f"http://127.0.0.1:{port}", 1)
    assert not answers(f"http://127.0.0.1:{silent}", 0.2)
    assert not answers("http://[broken", 1)


@pytest.mark.slow
def test_a_deleted_experiment_is_restored(uri: str, folder: Path) -> None:
    assert send(uri, folder, []) == 0
    experiment = client(uri).get_experiment_by_name("layer-swap/demo/xx")
    client(uri).delete_experiment(experiment.experiment_id)
    assert send(uri, folder, [trial(1)]) == 0
    assert len(runs(uri)[1]) == 1


@pytest.mark.slow
def test_a_refusal_is_one_line(uri: str) -> None:
    store = Store.there(uri)
    with pytest.raises(StudyError, match="^it cannot be read: .*nowhere.*$") as error:
        with store.refusals("it cannot be read"):
            store.client.get_run("nowhere")
    assert "\n" not in str(error.value)
    with pytest.raises(ZeroDivisionError), store.refusals("it"):
        1 / 0  # noqa: B018


def test_a_store_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="there is no MLflow store .*name yours with"):
        Store.there(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []
