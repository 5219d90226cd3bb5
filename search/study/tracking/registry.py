"""A merge in MLflow's registry of models: `search.export --register NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.common.masking import masked
from search.common.values import short
from search.records.study_path import is_name
from search.study.tracking.runs import VALUE_LENGTH
from search.study.tracking.store import Store


@dataclass(frozen=True)
class Version:
    """A merge as a version of a model in MLflow's registry.

    Attributes:
        model: the registered model's name.
        source: where the merge is: a folder's URI, or an address.
        card: its model card, in Markdown.
        tags: what else is told of it.
        experiment: name of the experiment of its study; empty where it has none.
        study: the study's name.
        key: the recipe's.
    """

    model: str
    source: str
    card: str
    tags: Mapping[str, str]
    experiment: str = ""
    study: str = ""
    key: str = ""


def register(uri: str, version: Version) -> str:
    """Add a version to a registered model, which is made where there is none.

    It leads to the run of its trial on held-out items, or else on search items, if there is one.

    Returns:
        The version's number.

    Raises:
        StudyError: there is no such store, or MLflow refuses.
    """
    store = Store.there(uri)
    client = store.client
    with store.refusals(f"{version.model} is not registered at {masked(uri)}"):
        if not client.search_registered_models(f"name = '{version.model}'"):
            client.create_registered_model(version.model)
        made = client.create_model_version(
            version.model,
            version.source,
            run_id=_run_of(client, version),
            tags={name: short(value, VALUE_LENGTH) for name, value in version.tags.items()},
            description=short(version.card, VALUE_LENGTH),
        )
    return str(made.version)


def _run_of(client: Any, version: Version) -> str | None:
    experiment = version.experiment and client.get_experiment_by_name(version.experiment)
    if not experiment or not is_name(version.study) or not is_name(version.key):
        return None
    for split in ("held_out", "search"):
        wanted = f"tags.study = '{version.study}' and tags.trial = '{version.key}.{split}'"
        for run in client.search_runs([experiment.experiment_id], wanted, max_results=1):
            return str(run.info.run_id)
    return None
