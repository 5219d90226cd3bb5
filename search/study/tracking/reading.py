"""What is read back from MLflow: where a study is there, and its runs, for who has no records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.common.errors import StudyError
from search.common.masking import masked
from search.study.tracking.store import Store


def find_study(uri: str, experiment: str, study_id: str) -> tuple[str, frozenset[str]] | None:
    """Where MLflow has a study.

    Args:
        uri: MLflow's tracking URI.
        experiment: name of the study's experiment.
        study_id: of `study.yaml`.

    Returns:
        The experiment's id and its tags' names; None where there is no run of the study.

    Raises:
        StudyError: MLflow does not answer, or refuses.
    """
    store = Store.there(uri)
    with store.refusals(f"{masked(uri)} cannot be read"):
        found = store.client.get_experiment_by_name(experiment)
        if found is None or not any(store.runs_of(found.experiment_id, study_id)):
            return None
    return str(found.experiment_id), frozenset(found.tags)


@dataclass(frozen=True)
class SentRun:
    """A run as MLflow holds it; names as in `search.study.tracking.runs`."""

    id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def read_study(uri: str, run_id: str) -> list[SentRun]:
    """A run of a study, and after it the study's other runs.

    Raises:
        StudyError: MLflow does not answer, has no such run, or it is no run of a study.
    """
    store = Store.there(uri)
    with store.refusals(f"run {run_id} cannot be read from {masked(uri)}"):
        asked = store.client.get_run(run_id)
        study = asked.data.tags.get("study_id")
        if study is None:
            raise StudyError(f"run {run_id} at {uri} is no run of a study of ours")
        others = list(store.runs_of(asked.info.experiment_id, study))
    runs = [asked, *(run for run in others if run.info.run_id != run_id)]
    return [
        SentRun(r.info.run_id, r.info.run_name, r.data.tags, r.data.params, r.data.metrics)
        for r in runs
    ]
