"""A merge as a version of a registered model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.common.errors import StudyError
from search.study.tracking.registry import Version, register
from tests.search.study.tracking.sent import client, runs, send, trial

pytestmark = pytest.mark.slow


def test_versions_lead_to_the_trial(uri: str, folder: Path) -> None:
    one = trial(1)
    send(uri, folder, [one, replace(one, number=2, split="held_out")])
    (parent,), children = runs(uri)
    version = Version(
        *("merge", folder.as_uri(), "# Card", {"key": "k" * 9000}),
        experiment="layer-swap/demo/xx",
        study=parent.data.tags["study"],
        key=one.key,
    )
    assert [register(uri, version), register(uri, replace(version, key="x' or 1"))] == ["1", "2"]
    kept = {v.version: v for v in client(uri).search_model_versions("name = 'merge'")}
    held_out = next(r for r in children if r.data.tags["split"] == "held_out")
    assert [str(kept[n].run_id or "") for n in sorted(kept)] == [held_out.info.run_id, ""]
    assert len(kept[min(kept)].tags["key"]) < 9000


def test_a_name_that_mlflow_refuses(uri: str, folder: Path) -> None:
    send(uri, folder, [])
    with pytest.raises(StudyError, match="^a/b:c is not registered at "):
        register(uri, Version("a/b:c", folder.as_uri(), "", {}))
