"""Puts the parts of the main job together: run the study, send it to MLflow, report.

Owns the order: the report is written whatever way the study ended. What can be wrong before that is
`search.run.prepare`'s; the command line is `search.run`'s.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rich.console import Console

from search.config.schema import Config
from search.config.secrets import without_password
from search.ending import ENDING
from search.engine.contract import EngineOptions
from search.engine.experts import describe
from search.masking import masked
from search.merging.recipe import LayerSwap, key
from search.records.record import Record
from search.results import choose, comparison, figures, tables
from search.results.doubt import settle
from search.results.summary import ARTIFACTS, headline, recommended
from search.run.opening import finish
from search.run.prepare import Prepared, versions
from search.run.progress import ProgressDisplay
from search.space.swap import baselines
from search.study.race import Rules
from search.study.schedule import Schedule
from search.tracking.outbox import Outbox
from search.tracking.runs import default_uri, experiment_name, is_server
from search.tuning.trainable import Job
from search.tuning.tune import SIGNALS, run_study, signals_put_back

Outcome = Literal["recommended", "undecided", "stopped"]
"""How a study ended: with a recommendation, with none, or not at all, after Ctrl-C."""


def run(prepared: Prepared, console: Console) -> Outcome:
    """Run the study and report.

    Raises:
        SearchError: the study stopped with a fault; what was done has been reported.
    """
    config, records = prepared.config, prepared.records
    for warning in prepared.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
    sizes = {name: source.bytes for name, source in prepared.family.sources.items()}
    engine = config.search.engine
    tiers = describe(sizes, engine.expert_gpu_gib, engine.expert_pinned_gib)
    console.print(tiers, soft_wrap=True, highlight=False, markup=False)
    outbox = _start_outbox(prepared, console)
    first = baselines(
        prepared.space,
        n_task=len(config.family.task),
        n_lang=len(config.family.language[config.lang]),
        soups=config.search.soups,
    )
    choice, rows = _final_rows(prepared)
    n_final = len(rows) + (choice is None)  # the recommended recipe is not known yet
    rivals = {method: trials for method, trials in config.search.baselines.items() if trials}
    n_final += len(rivals.keys() & choose.rival_roles()) - len(choose.best_rivals(records.trials))
    total = len(first) + config.search.trials + sum(rivals.values()) + n_final
    display = ProgressDisplay(console, total, len(records.trials))
    race = config.search.race
    finished = undecided = False
    try:
        finished = run_study(
            Schedule.of(prepared.name, config.search),
            job=Job(
                prepared.family.locations,
                EngineOptions(
                    **config.search.engine.model_dump(),
                    seed=config.search.seed,
                    chat_template_kwargs=config.objective.chat_template_kwargs,
                ),
                tuple(prepared.objectives.values()),
                allow_bin=config.family.allow_bin,
                driver_folder=os.getcwd(),
            ),
            space=prepared.space,
            records=records,
            baselines=first,
            final=lambda: [row.recipe for row in _final_rows(prepared)[1]],
            listeners=[display, _Sender(outbox)],
            race=None if race is None else Rules(**race.model_dump()),
        )
        if finished:
            finish(records)
    finally:
        display.close()
        with _first_signal_heard():
            undecided = _report(prepared, outbox, console, finished)
    if not finished:
        return "stopped"
    return "undecided" if undecided else "recommended"


@contextlib.contextmanager
def _first_signal_heard() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM of the whole search only shortens waits; the next one ends it."""

    def heard(number: int, frame: object) -> None:
        if ENDING.is_set():
            raise KeyboardInterrupt
        ENDING.set()

    with signals_put_back():
        for number in SIGNALS:
            signal.signal(number, heard)
        yield


class _Sender:
    """Hands every record to the outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def started(self, name: str, origin: str) -> None:
        """Not of interest to MLflow."""

    def ended(self, record: Record) -> None:
        """Have it sent in the background."""
        self._outbox.put(record)

    def repeated(self) -> None:
        """Not of interest to MLflow."""


def _final_rows(prepared: Prepared) -> tuple[choose.Choice | None, list[choose.FinalRow]]:
    """The choice by the search scores so far, and the recipes of the final table."""
    trials, n_layers = prepared.records.trials, prepared.family.n_layers
    choice = settle(prepared.records, n_layers, prepared.config.search.tolerance)
    default = _best_default(prepared)
    return choice, choose.final_rows(trials, choice, default, prepared.family.sources, n_layers)


def _best_default(prepared: Prepared) -> LayerSwap:
    """The paper's default recipe of the pair that it suits best on the search items."""
    space, ended = prepared.space, prepared.records.ended("search")
    recipes = [space.default_recipe(pair) for pair in space.pairs]

    def gain(recipe: LayerSwap) -> float:
        record = ended.get(key(recipe, space.n_layers))
        return choose.gains(record)[0] if record else float("-inf")

    return max(recipes, key=gain)


def _start_outbox(prepared: Prepared, console: Console) -> Outbox:
    config, records = prepared.config, prepared.records
    tags = {
        "family": config.family.name,
        "lang": config.lang,
        "host": socket.gethostname(),
        "git_commit": _commit(),
        **{f"version.{name}": text for name, text in versions().items()},
        **{
            f"split_hash.{o.name}": getattr(o, "split_hash", "")
            for o in prepared.objectives.values()
        },
    }
    experiment = experiment_name(config.family.name, config.lang)
    outbox = Outbox(prepared.uri, experiment, records.head(), tags, records.folder)
    if not outbox.start():
        console.print(
            f"warning: MLflow at {masked(prepared.uri)} does not answer; the search goes on and "
            "its runs are sent when it is back",
            style="yellow",
            soft_wrap=True,
        )
    for record in records.trials:  # of an earlier driver; what MLflow has is not sent again
        outbox.put(record)
    return outbox


def _commit() -> str:
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def compared(prepared: Prepared) -> tuple[choose.Choice | None, comparison.Report]:
    """The choice and the final table, from the study's records as they are."""
    config, records = prepared.config, prepared.records
    choice, rows = _final_rows(prepared)
    found = comparison.build(
        records,
        rows,
        choice,
        n_layers=prepared.family.n_layers,
        family=config.family.name,
        lang=config.lang,
    )
    return choice, found


def _report(prepared: Prepared, outbox: Outbox, console: Console, finished: bool) -> bool:
    """Write and show the report; whether nothing can be recommended."""
    config, records = prepared.config, prepared.records
    if not records.trials:
        outbox.finish(status="KILLED")
        console.print(f"no trial has ended yet; start again with --resume {records.place}")
        return True
    choice, found = compared(prepared)
    n_layers = prepared.family.n_layers
    names = {"family": config.family.name, "lang": config.lang}
    try:
        tables.write(found, records.folder)
        figures.draw(
            records.trials,
            None if found.no_recommendation else choice,
            _best_default(prepared),
            records.folder,
            n_layers=n_layers,
            **names,
        )
    except OSError as error:  # the disk is full; why the study stopped is to be seen all the same
        console.print(f"warning: the report cannot be written: {error}", soft_wrap=True)
    tables.show(found, console)
    unsent = outbox.finish(
        [records.folder / name for name in ARTIFACTS],
        metrics=headline(records, choice),
        tags=recommended(choice, records.trials),
        status="FINISHED" if finished else "KILLED",
    )
    _say_where(prepared, console, finished, unsent)
    return bool(found.no_recommendation)


def _say_where(prepared: Prepared, console: Console, finished: bool, unsent: int) -> None:
    folder, place = prepared.records.folder, prepared.records.place
    uri = masked(prepared.uri)
    lines = [f"records: {folder}/trials.jsonl, per-item answers: {folder}/items, table: report.md"]
    server = _server(prepared)
    if unsent:
        lines.append(f"MLflow lacks {unsent} runs: python -m search.sync {place}{server}")
    ui = uri if is_server(uri) else f"mlflow ui --backend-store-uri {uri}"
    lines.append(f"compare the runs: {ui}")
    if not finished:
        lines.append(f"not finished; go on with: {go_on_by(prepared)}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def go_on_by(prepared: Prepared) -> str:
    """The command that goes on with a study."""
    where = f"{_server(prepared)}{_addresses(prepared.config)}"
    return f"python -m search.run --resume {prepared.records.place}{where}"


def _server(prepared: Prepared) -> str:
    """What a command has to add, so that MLflow is the same."""
    beside = default_uri(prepared.records.folder.resolve().parent)
    return "" if prepared.uri == beside else f" --tracking-uri {masked(prepared.uri)}"


def _addresses(config: Config) -> str:
    """What a command has to name again, as a study's addresses are not trusted."""
    search, found = config.search, ""
    if search.address:
        found += f" search.address={search.address}"
    if search.storage:
        found += f" {shlex.quote(f'search.storage={without_password(search.storage)}')}"
    return found
