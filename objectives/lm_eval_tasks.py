"""Tasks of lm-evaluation-harness 0.4.13 as items: what to ask, and what each answer is worth.

Owns the harness: how its tasks are found and built without running code or fetching data unasked,
and which of their metrics are means over items. The only file that imports it; knows no split.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from objectives import apart
from objectives.errors import DataError, DependencyError, SettingError
from objectives.lm_eval_faults import in_words
from objectives.lm_eval_trust import check_folder, without_code, without_hub

PATIENCE, FETCHING = 300.0, 1200.0
"""Seconds for building tasks of one's own, and where their data may have to be fetched."""
Answer = str | float | tuple[float, bool]
"""Text; of a rolling request its log-likelihood; of others that, and whether it is greedy."""
NOTHING: Mapping[str, Answer] = {
    "generate_until": "",
    "loglikelihood": (-1.0, False),
    "loglikelihood_rolling": -1.0,
}
"""Kind of request -> an answer that says nothing."""
MEANS = ("mean", "perplexity", "weighted_perplexity", "bits_per_byte")
"""Aggregations of the harness that are a mean over items, or a function of one."""
YES_OR_NO = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")
"""Metrics of the harness that are 0 or 1 for an item."""

FEWSHOT_SEED = 1234
"""The harness's own, by which it draws worked examples."""


@dataclass(frozen=True)
class Ask:
    """One request of an item: its kind, as the harness names it, and its arguments."""

    kind: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Item:
    """One document of a task, with its requests.

    Attributes:
        id: task and number of the document.
        stratum: the task.
        asks: its requests, in the order of the harness.
    """

    id: str
    stratum: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Worth:
    """What an item is worth for a metric: the metric is made of sum of values / sum of weights."""

    value: float
    weight: float = 1.0


def load(names: Sequence[str], include_path: Path | None, *, code: bool, fetch: bool) -> Tasks:
    """Build tasks and groups by name, with their documents and prompts.

    Args:
        names: tasks, groups or tags.
        include_path: folder of task YAMLs of one's own.
        code: whether these may hold Python code.
        fetch: whether a data set may be fetched.

    Raises:
        DependencyError: the harness is not installed.
        DataError: there is no such folder or task, its data is not here, or it is malformed.
        SettingError: A YAML holds code and may not.
    """
    harness = _harness()
    if include_path is not None:
        check_folder(include_path, code, fetch)
        if not code:
            asked = (list(names), str(include_path), fetch)
            seconds = FETCHING if fetch else PATIENCE
            try:
                apart.call(try_out, *asked, kinds=(DataError, SettingError), seconds=seconds)
            except apart.ApartError as error:
                raise DataError(f"lm_eval could not build {', '.join(names)}: {error}") from None
    return Tasks(_built(*harness, names, include_path, code=code, fetch=fetch))


def try_out(names: list[str], include_path: str, fetch: bool) -> None:
    """Write every prompt and every right answer once, in the process apart: templates are programs.

    Arguments and errors as of `load`.
    """
    built = _built(*_harness(), names, Path(include_path), code=False, fetch=fetch)
    for task in (task for tasks in built.values() for task in tasks.values()):
        for instance in task.instances:
            with suppress(Exception):  # what has no answer as text
                task.doc_to_target(instance.doc)
    Tasks(built)


def _harness() -> tuple[Any, Any]:
    try:
        utils: Any = importlib.import_module("lm_eval.utils")
        manager = importlib.import_module("lm_eval.tasks").TaskManager
    except ImportError as error:
        raise DependencyError(
            "objective.lm_eval needs lm-evaluation-harness 0.4.13: pip install "
            "'layer-swap-search[lm-eval]'"
        ) from error
    return utils, manager


def _built(
    utils: Any,
    manager: Any,
    names: Sequence[str],
    include_path: Path | None,
    *,
    code: bool,
    fetch: bool,
) -> dict[str, dict[str, Any]]:
    """Name that was asked for -> the harness's tasks; see `load`."""
    if not code:  # templates of a YAML are programs as well: they see values and nothing beneath
        sandbox = importlib.import_module("jinja2.sandbox").ImmutableSandboxedEnvironment
        held = utils.env
        utils.env = sandbox(
            loader=held.loader, undefined=held.undefined, keep_trailing_newline=True
        )
        utils.env.filters.update(held.filters)
        del utils.env.filters["random"]  # a template that was tried out does the same again
    try:
        with nullcontext() if fetch else without_hub(), nullcontext() if code else without_code():
            known = _known(manager, names, include_path)
            parts = {name: known.load([name])["tasks"] for name in names}
            for task in (task for tasks in parts.values() for task in tasks.values()):
                task.set_fewshot_seed(FEWSHOT_SEED)
                with redirect_stderr(io.StringIO()):  # a bar of its own
                    task.build_all_requests()
    except (DataError, SettingError):
        raise
    except Exception as error:  # whatever a YAML, its data or its templates raise
        what = in_words(error, fetch=fetch)
        raise DataError(f"lm_eval could not build {', '.join(names)}: {what}") from error
    return {name: dict(tasks) for name, tasks in parts.items()}


def _known(manager: Any, names: Sequence[str], include_path: Path | None) -> Any:
    """The harness's list that has these tasks: of the folder alone, where that is enough.

    Raises:
        DataError: one of them is in no list.
    """
    folder = None if include_path is None else str(include_path)
    if folder is not None:  # the harness's own list has 14,000 tasks: seconds to read
        known = manager(include_path=folder, include_defaults=False)
        if all(name in known.task_index for name in names):
            return known
    known = manager(include_path=folder)
    missing = [name for name in names if name not in known.task_index]
    if missing:
        where = "" if folder is None else f" and {folder}"
        raise DataError(
            f"lm_eval has no task {missing[0]!r} in its own list{where}: see `lm_eval ls tasks`, "
            "or name the folder of its YAML with include_path"
        )
    return known


class Tasks:
    """Tasks that were built. Pure after that.

    Attributes:
        items: of all tasks, in the order of their documents.
        parts: name that was asked for -> its tasks; of a single task, that one.
        main: task -> the metric that it is chosen by, with its filter: `acc`, or `acc,strict`.
    """

    def __init__(self, built: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the harness's tasks.

        Raises:
            SettingError: what a task is chosen by is no mean over items, less of it is better, or
                it asks more than once for an item.
        """
        self._tasks = {name: task for tasks in built.values() for name, task in tasks.items()}
        self.parts = {name: tuple(tasks) for name, tasks in built.items()}
        if len(self._tasks) != sum(map(len, self.parts.values())):
            raise SettingError(f"{', '.join(built)} have tasks in common: name each once")
        self._instances: dict[str, list[Any]] = {}
        items = []
        for name, task in self._tasks.items():
            repeats = task.config.repeats or 1
            if repeats != 1:
                raise SettingError(
                    f"{name} asks {repeats} times for each item (repeats): its score is no mean "
                    "over single answers"
                )
            for instance in task.instances:
                self._instances.setdefault(f"{name}/{instance.doc_id}", []).append(instance)
            mine = dict.fromkeys(instance.doc_id for instance in task.instances)
            for key in (f"{name}/{doc}" for doc in mine):
                asked = sorted(self._instances[key], key=lambda instance: instance.idx)
                self._instances[key] = asked
                asks = tuple(Ask(each.request_type, each.args) for each in asked)
                items.append(Item(key, name, asks))
        self.items = tuple(items)
        self.main = {name: self._main(name) for name in self._tasks}
        for item in {item.stratum: item for item in reversed(items)}.values():
            self._try(item)

    def worth(self, item: Item, answers: Sequence[Answer]) -> dict[str, Worth]:
        """What the answers to an item's requests are worth: metric -> worth, as `main` names it."""
        task = self._tasks[item.stratum]
        asked = [
            replace(instance, resps=[answer], filtered_resps={})
            for instance, answer in zip(self._instances[item.id], answers, strict=True)
        ]
        filters = getattr(task, "_filters", [])
        found: dict[str, Worth] = {}
        for ensemble in filters:
            ensemble.apply(asked)
            results = [instance.filtered_resps[ensemble.name] for instance in asked]
            for metric, value in task.process_results(asked[0].doc, results).items():
                if self._aggregation(task, metric) not in MEANS:
                    continue
                pair = value if isinstance(value, tuple) else (value, 1.0)
                key = metric if len(filters) == 1 else f"{metric},{ensemble.name}"
                found[key] = Worth(*map(float, pair))
        return found

    def _try(self, item: Item) -> None:
        """Score answers that say nothing, to learn it now if none can be scored.

        Raises:
            DataError: a filter or a metric of the item's task fails.
        """
        nothing = [NOTHING[ask.kind] for ask in item.asks]
        try:
            found = self.worth(item, nothing)
        except Exception as error:  # whatever a filter or metric raises
            raise DataError(
                f"{item.stratum} cannot score an answer: {in_words(error, fetch=True)}"
            ) from error
        if (main := self.main[item.stratum]) not in found:
            raise DataError(f"{item.stratum} is chosen by {main}, and gives {', '.join(found)}")

    @property
    def yes_or_no(self) -> bool:
        """Whether the score is a share of the items, each of which is right or wrong."""
        return len(self.parts) == 1 and all(map(self._yes_or_no, self._tasks))

    def _yes_or_no(self, name: str) -> bool:
        task, metric = self._tasks[name], self.main[name].partition(",")[0]
        api: Any = importlib.import_module("lm_eval.api.task")
        own = type(task).process_results is api.ConfigurableTask.process_results
        if not own or callable(task.config.process_results) or metric not in YES_OR_NO:
            return False  # a YAML's own code may say anything under these names
        registry: Any = importlib.import_module("lm_eval.api.registry")
        made = task.config.output_type == "generate_until"
        return not made or task._metric_fn_list[metric] is registry.get_metric(metric)

    def figure(self, task: str, metric: str, mean: float) -> float:
        """A metric as the harness prints it, from the mean that it is made of."""
        how = self._aggregation(self._tasks[task], metric.partition(",")[0])
        if how == "mean":
            return mean
        return -mean / math.log(2) if how == "bits_per_byte" else math.exp(-mean)

    def _main(self, name: str) -> str:
        task = self._tasks[name]
        metric = next(iter(task.aggregation()), None)
        if metric is None:
            raise SettingError(f"{name} has no metric: name one in its metric_list")
        how = self._aggregation(task, metric)
        if how not in MEANS:
            raise SettingError(
                f"{name} is scored by {metric}, which lm_eval aggregates by {how}: no mean over "
                "items, so it has no interval from them and cannot be raced. Choose a task, or "
                "write a YAML, whose first metric is a mean"
            )
        if how == "mean" and not task.higher_is_better().get(metric, True):
            raise SettingError(f"{name} is scored by {metric}, of which less is better")
        filters = getattr(task, "_filters", [])
        return metric if len(filters) == 1 else f"{metric},{filters[0].name}"

    @staticmethod
    def _aggregation(task: Any, metric: str) -> str:
        how = task.aggregation().get(metric)
        return "mean" if how is None else str(getattr(how, "__name__", how))
