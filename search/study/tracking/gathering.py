"""Several studies' parent runs under one run in MLflow: one command's languages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from search.common.masking import masked
from search.study.tracking.store import NOTE, PARENT, TRIAL, Store


def gather(
    uri: str,
    experiment: str,
    studies: Mapping[str, tuple[str, str]],
    *,
    note: str,
    metrics: Mapping[str, float],
    files: Iterable[Path],
) -> str:
    """Put the parent runs of several studies under one run, which is made once.

    Args:
        uri: MLflow's tracking URI.
        experiment: name of the experiment that it stands in.
        studies: language -> experiment and id of its study.
        note: its description, in Markdown.
        metrics: of it.
        files: its artifacts.

    Returns:
        The run's id.

    Raises:
        StudyError: MLflow does not answer, or refuses.
    """
    store = Store.there(uri)
    client = store.client
    ids = sorted(study_id for _, study_id in studies.values())
    mark = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    with store.refusals(f"{masked(uri)} refuses"):
        place = store.experiment(experiment)
        found = list(client.search_runs([place], f"tags.studies = '{mark}'"))
        tags = {"studies": mark, "mlflow.runName": ", ".join(studies)}
        run = str((found[0] if found else client.create_run(place, tags=tags)).info.run_id)
        for name, value in metrics.items():
            client.log_metric(run, name, value)
        for file in files:
            client.log_artifact(run, str(file))
        client.set_tag(run, NOTE, note)
        client.set_terminated(run)
        for name, study_id in studies.values():
            own = client.get_experiment_by_name(name)
            for each in store.runs_of(own.experiment_id, study_id) if own else ():
                if TRIAL not in each.data.tags:
                    client.set_tag(each.info.run_id, PARENT, run)
    return run
