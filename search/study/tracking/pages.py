"""A study's pages in MLflow: its runs as a sorted table, the final table, its charts.

Owns the format of MLflow's shared views (of 3.17, whose page writes and reads them as tags of the
experiment) and the addresses that open them. Pure: `search.study.tracking.view` writes the tags.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from objectives import targets
from search.merging.space.layerwise import BLOCKS

TAG = "mlflow.sharedViewState."
"""Begins the name of an experiment's tag that holds a view; the view's key ends it."""
TRAINING = {"workflowType": "machine_learning"}
"""Of the two faces of MLflow's page the one for runs; that for traces is what opens otherwise."""
OURS = "layer-swap-"
"""Begins the keys of our views; those of people are hashes."""
RUNS_IN_CHARTS = 500
WIDE, NARROW = 340, 110
"""Pixels of a column: of recipes' names, of numbers."""
NUMBERS = {
    "swap": ("b", "u", "t_b", "t_u", "w_lang"),
    "components": ("b_attn", "u_attn", "b_mlp", "u_mlp", "t_b", "t_u", "w_lang"),
    "layerwise": tuple(f"block_{i}" for i in range(max(BLOCKS))),
}
"""Form of a space -> the numbers of its recipes, in the order of the columns."""

Mode = Literal["TABLE", "CHART"]


@dataclass(frozen=True)
class Page:
    """One view of a study.

    Attributes:
        name: of it among the study's: `table`, `final`, `charts`.
        people: what a person calls it.
        mode: MLflow's way to show it.
        key: of the view, and of its tag.
        state: what MLflow's page keeps of it.
    """

    name: str
    people: str
    mode: Mode
    key: str
    state: Mapping[str, Any]

    def tag(self) -> tuple[str, str]:
        """Name and value of the experiment's tag."""
        packed = zlib.compress(json.dumps(self.state, sort_keys=True).encode(), 9)
        return TAG + self.key, "deflate;" + base64.b64encode(packed).decode()

    def address(self, server: str, experiment: str, *, shared: bool = True) -> str:
        """Where it is seen.

        Args:
            server: address of an MLflow server; empty for a link within its pages.
            experiment: id of the study's experiment.
            shared: the view's tag is there; if not, filter and order alone are asked for.
        """
        asked: dict[str, str] = {"compareRunsMode": self.mode, **TRAINING}
        if shared:
            asked = {"viewStateShareKey": self.key, **asked}
        else:
            asked |= {name: self.state[name] for name in ("searchFilter", "orderByKey")}
            asked["orderByAsc"] = json.dumps(self.state["orderByAsc"])
        return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{urlencode(asked)}"


def pages(study_id: str, form: str = "swap") -> tuple[Page, ...]:
    """The views of a study; the first is the one to open.

    Args:
        study_id: of `study.yaml`.
        form: what it searches, `space.form`; keys and addresses are the same for all.
    """
    numbers = NUMBERS[form]
    mine = f"tags.study_id = '{study_id}'"
    table = _state(f"{mine} AND tags.split = 'search'", numbers)
    final = _state(f"{mine} AND tags.split = 'held_out'", numbers)
    charts = {**table, **_charts(study_id, numbers)}
    made: tuple[tuple[str, str, Mode, Mapping[str, Any]], ...] = (
        ("table", "all recipes, best first", "TABLE", table),
        ("final", "held-out items", "TABLE", final),
        ("charts", "charts", "CHART", charts),
    )
    return tuple(Page(n, people, mode, _key(study_id, n), state) for n, people, mode, state in made)


def study_of(tag: str) -> str | None:
    """The study whose view an experiment's tag holds; None for any other tag."""
    key = tag.removeprefix(TAG)
    if key == tag or not key.startswith(OURS):
        return None
    return key.removeprefix(OURS).rpartition("-")[0] or None


def _key(study_id: str, name: str) -> str:
    return f"{OURS}{study_id}-{name}"


def _columns(numbers: Sequence[str]) -> list[str]:
    first = targets.TARGETS[0].score
    scores = [first, f"{first}_low", f"{first}_high"]
    scores += [target.score for target in targets.TARGETS[1:]]
    metrics = [f"metrics.`{name}`" for name in scores]
    params = [f"params.`{name}`" for name in (*numbers, "task", "lang")]
    return [*metrics, *params, "tags.`state`", "tags.`split`"]


def _state(search: str, numbers: Sequence[str]) -> dict[str, Any]:
    """A flat table: runs below a parent are listed by themselves where there is a filter."""
    first = targets.TARGETS[0]
    columns = _columns(numbers)
    return {
        "searchFilter": search,
        "orderByKey": f"metrics.`{first.score}`",
        "orderByAsc": first.direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {"attributes.`Run Name`": WIDE, **dict.fromkeys(columns, NARROW)},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": True,
        "runListHidden": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
        "compareRunSections": [],
        "compareRunCharts": [],
    }


def _charts(study_id: str, numbers: Sequence[str]) -> dict[str, Any]:
    scores = [target.score for target in targets.TARGETS]
    section = _uuid(study_id, "section")

    def axis(name: str, kind: Literal["METRIC", "PARAM"]) -> dict[str, str]:
        return {"key": name, "type": kind}

    first = scores[0]
    charts: Sequence[dict[str, Any]] = [
        {
            "type": "SCATTER",
            "displayName": " against ".join(t.people for t in targets.TARGETS[:2]),
            "xaxis": axis(scores[1 if len(scores) > 1 else 0], "METRIC"),
            "yaxis": axis(first, "METRIC"),
        },
        {
            "type": "PARALLEL",
            "displayName": "the recipes",
            "selectedParams": list(numbers),
            "selectedMetrics": [first],
            "showAllRuns": False,
        },
        {
            "type": "CONTOUR",
            "displayName": f"{targets.TARGETS[0].people} over {numbers[0]} and {numbers[1]}",
            "xaxis": axis(numbers[0], "PARAM"),
            "yaxis": axis(numbers[1], "PARAM"),
            "zaxis": axis(first, "METRIC"),
        },
        {
            "type": "SCATTER",
            "displayName": "progress: best so far by trial",
            "xaxis": axis("trial", "METRIC"),
            "yaxis": axis(f"best_{first}", "METRIC"),
        },
    ]
    common = {
        "metricSectionId": section,
        "runsCountToCompare": RUNS_IN_CHARTS,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "compareRunSections": [
            {
                "uuid": section,
                "name": "Study",
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
            }
        ],
        "compareRunCharts": [
            {"uuid": _uuid(study_id, chart["displayName"]), **common, **chart} for chart in charts
        ],
    }


def _uuid(study_id: str, name: str) -> str:
    """The same for the same: a view is written again only when it has changed."""
    return str(uuid.UUID(hashlib.sha256(f"{study_id} {name}".encode()).hexdigest()[:32]))
