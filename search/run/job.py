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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from objectives import targets
from objectives.words import counted
from search.common.ending import ENDING
from search.common.errors import SearchError
from search.common.masking import masked
from search.config.schema import Config, SearchConfig
from search.config.secrets import without_password
from search.config.trust import FLAG, runs_code
from search.engine.budgets import describe
from search.engine.contract import Budget, EngineOptions
from search.merging.recipe import Recipe, key
from search.merging.space.swap import baselines
from search.records.record import Record
from search.report import files
from search.report.material import Material
from search.report.renewal import Renewal
from search.results import tables
from search.results.study_result import StudyResult
from search.results.summary import ARTIFACTS, headline, recommended
from search.run.opening import finish
from search.run.prepare import Prepared, versions
from search.run.progress import ProgressDisplay, Rule
from search.run.workload import final_rows, planned, tried_again
from search.study.proposing.notes import annotate
from search.study.race import Rules
from search.study.schedule import Schedule
from search.study.tracking.outbox import Outbox
from search.study.tracking.runs import default_uri, experiment_name
from search.study.tuning.engines import Engines
from search.study.tuning.trainable import Job
from search.study.tuning.tune import SIGNALS, run_study, signals_put_back

Outcome = Literal["recommended", "undecided", "stopped"]
"""How a study ended: with a recommendation, with none, or not at all, after Ctrl-C."""


def engines_for(studies: Sequence[Prepared]) -> Engines:
    """Engines that serve these studies, one after another; nothing is started yet.

    All have the context that the longest prompt of any of them needs, so that one can go on with
    the next study.
    """
    lengths = [prepared.max_model_len for prepared in studies]
    longest = None if None in lengths else max((n for n in lengths if n), default=None)
    return Engines({prepared.name: _job(prepared, longest) for prepared in studies})


def _job(prepared: Prepared, max_model_len: int | None) -> Job:
    config, engine = prepared.config, prepared.config.search.engine
    # an engine of a part of a GPU has its share of that part
    part = min(config.search.gpus_per_engine or 1.0, 1.0)
    named = {
        **engine.model_dump(),
        "max_model_len": max_model_len,
        "gpu_memory_utilization": engine.gpu_memory_utilization * part,
    }
    return Job(
        prepared.family.locations,
        EngineOptions(
            **named,
            seed=config.search.seed,
            chat_template_kwargs=config.objective.chat_template_kwargs,
        ),
        tuple(prepared.objectives.values()),
        allow_bin=config.family.allow_bin,
        driver_folder=os.getcwd(),
        targets=targets.TARGETS,
        own_process=config.search.gpus_per_engine > 0,
    )


def run(prepared: Prepared, console: Console, engines: Engines, verbose: bool = False) -> Outcome:
    """Run the study and report.

    Args:
        prepared: the study.
        console: where to show how it goes.
        engines: what it runs on, see `engines_for`.
        verbose: print a line for every trial, however many there are.

    Raises:
        SearchError: the study stopped with a fault; what was done has been reported.
    """
    config, records = prepared.config, prepared.records
    for warning in prepared.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
    sizes = {name: source.bytes for name, source in prepared.family.sources.items()}
    tiers = describe(sizes, *_budgets(config.search))
    console.print(tiers, soft_wrap=True, highlight=False, markup=False)
    outbox = _start_outbox(prepared, console)
    first = baselines(
        prepared.space.swaps,
        n_task=len(config.family.task),
        n_lang=len(config.family.language[config.lang]),
        soups=config.search.soups,
    )
    now = StudyResult.of(records)
    n_final = final_rows(config.search, len(now.rows), now.choice, records.trials)
    work = planned(config.search, len(first), n_final, prepared.objectives.values())
    nothing_left = bool(records.head().finished) and not tried_again(records.trials)
    stands = (
        "is finished: nothing is left to run" if nothing_left else work.standing(records.trials)
    )
    console.print(f"study {records.path} {stands}", soft_wrap=True, highlight=False, markup=False)
    space, n_layers = prepared.space, prepared.family.n_layers
    defaults = {key(space.default_recipe(pair), n_layers) for pair in space.pairs}
    rule = Rule(n_layers, config.search.tolerance, defaults)
    display = ProgressDisplay(console, work, rule, records.trials, verbose=verbose)
    race = config.search.race
    finished = undecided = False

    def final() -> list[Recipe]:
        rows = StudyResult.of(records).rows
        display.final(len(rows))
        return [row.recipe for row in rows]

    renewal = Renewal(records, records.folder, files.renew)
    renewal.start()
    try:
        finished = nothing_left or run_study(
            Schedule.of(prepared.name, config.search),
            engines=engines,
            space=prepared.space,
            records=records,
            baselines=first,
            final=final,
            listeners=[display, _Sender(outbox)],
            race=None if race is None else Rules(**race.model_dump()),
            tell=display.engines,
        )
        if finished:
            finish(records)
            _annotate(prepared, console)
    finally:
        display.close()
        with _first_signal_heard():
            renewal.stop()
            undecided = _report(prepared, outbox, console, finished)
    if not finished:
        return "stopped"
    return "undecided" if undecided else "recommended"


def _annotate(prepared: Prepared, console: Console) -> None:
    """What Optuna's dashboard shows beside numbers; a study without it is as good."""
    choice = StudyResult.of(prepared.records).choice
    found = "" if choice is None or choice.doubt else choice.record.key
    why = choice.doubt or choice.reason if choice else ""
    try:
        annotate(Schedule.of(prepared.name, prepared.config.search), prepared.records, found, why)
    except SearchError as error:
        console.print(f"warning: {error}", style="yellow", soft_wrap=True, markup=False)


def _budgets(search: SearchConfig) -> tuple[Budget, Budget]:
    """What experts get of a GPU's memory and of the node's; without GPUs there is no such tier."""
    if not search.gpus_per_engine:
        return 0, 0
    return search.engine.expert_gpu_gib, search.engine.expert_pinned_gib


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
    outbox = Outbox(
        prepared.uri, experiment, records.head(), tags, records.folder, path=str(records.path)
    )
    if not outbox.start():
        console.print(
            f"warning: MLflow at {masked(prepared.uri)} does not answer; the search goes on and "
            "its runs are sent when it is back",
            style="yellow",
            soft_wrap=True,
        )
    console.print(_look(prepared), soft_wrap=True, highlight=False, markup=False)
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


def _report(prepared: Prepared, outbox: Outbox, console: Console, finished: bool) -> bool:
    """Write and show the report; whether nothing can be recommended."""
    records = prepared.records
    if not records.trials:
        outbox.finish(status="KILLED")
        console.print(f"no trial has ended yet; start again with --resume {records.path}")
        return True
    study = Material.of(records, running=False)
    found, choice = study.report, study.final.choice
    try:
        files.write(study, records.folder)
    except Exception as error:  # a full disk, say; why the study stopped is to be seen all the same
        console.print(f"warning: the report cannot be written: {error}", soft_wrap=True)
    tables.show(found, console)
    unsent = outbox.finish(
        [records.folder / name for name in ARTIFACTS],
        metrics=headline(records, choice),
        tags=recommended(choice, records.trials),
        status="FINISHED" if finished else "KILLED",
        report=found,
    )
    _say_where(prepared, console, finished, unsent)
    return bool(found.no_recommendation)


def _say_where(prepared: Prepared, console: Console, finished: bool, unsent: int) -> None:
    folder, path = prepared.records.folder, prepared.records.path
    lines = [f"records: {folder}/trials.jsonl, per-item answers: {folder}/items, table: report.md"]
    server = _server(prepared)
    if unsent:
        lines.append(f"MLflow lacks {counted(unsent, 'run')}: python -m search.sync {path}{server}")
    lines += [f"which recipe, and why: python -m search.best {path}", _look(prepared)]
    if not finished:
        lines.append(f"not finished; go on with: {resume_command(prepared)}")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def resume_command(prepared: Prepared) -> str:
    """The command that goes on with a study."""
    code = f" {FLAG}" if runs_code(prepared.config) else ""
    where = f"{_server(prepared)}{_addresses(prepared.config)}{code}"
    return f"python -m search.run --resume {prepared.records.path}{where}"


def _server(prepared: Prepared) -> str:
    """What a command has to name where the study is not sent to the store beside it."""
    beside = default_uri(prepared.records.folder.resolve().parent)
    return "" if prepared.uri == beside else f" --tracking-uri {masked(prepared.uri)}"


def _look(prepared: Prepared) -> str:
    """How the study is seen, while it runs and after."""
    return f"look at it: python -m search.ui {prepared.records.path}{_server(prepared)}"


def _addresses(config: Config) -> str:
    """What a command has to name again, as a study's addresses are not trusted."""
    search, found = config.search, ""
    if search.address:
        found += f" search.address={search.address}"
    if search.storage:
        found += f" {shlex.quote(f'search.storage={without_password(search.storage)}')}"
    return found
