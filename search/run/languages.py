"""Several languages in one command: one study for each, one after another, and a table of all.

Owns which languages are meant, the order, and that one study's fault leaves the others alone. A
study is what it would be by itself (`search.run.job`); all of them have been checked before, and
engines go on from one to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from traceback import format_exception

from rich.console import Console

from objectives.errors import ObjectiveError
from objectives.words import did_you_mean
from search.common.ending import ENDING
from search.common.errors import ConfigError, SearchError
from search.common.masking import masked
from search.results import across, tables
from search.results.comparison import Report
from search.results.study_result import StudyResult
from search.run import job
from search.run.prepare import Prepared
from search.study.tracking.gathering import gather
from search.study.tracking.runs import experiment_name
from search.study.tuning.engines import Engines

STATES = {"recommended": 0, "undecided": 3, "fault": 1, "stopped": 130}
"""How a study ended -> exit status; that of the command is the last one in this order."""

_log = logging.getLogger(__name__)


def codes(asked: str, known: Iterable[str]) -> list[str]:
    """The languages that `--lang` names: `te,sw`, or `all` of the family.

    Args:
        asked: what was written.
        known: codes that the family has experts for, in its order.

    Raises:
        ConfigError: a code is missing, unknown or there twice; all are named.
    """
    have = list(known)
    if asked == "all":
        return have
    found = [code.strip() for code in asked.split(",")]
    unknown = [code or "(nothing)" for code in found if code not in have]
    if unknown:
        raise ConfigError(
            f"--lang {asked}: the family has no expert for {', '.join(unknown)}; it has "
            f"{', '.join(have)}{did_you_mean(unknown[0], have)}"
        )
    if twice := sorted({code for code in found if found.count(code) > 1}):
        raise ConfigError(f"--lang {asked}: {', '.join(twice)} is there twice")
    return found


def run_all(studies: Sequence[Prepared], console: Console, verbose: bool = False) -> int:
    """Run what is not finished, in order, and show all of them side by side.

    A study that stops with a fault does not keep the next from its turn; Ctrl-C and SIGTERM do.

    Returns:
        The exit status: the worst of the studies, by the order of `STATES`.
    """
    ends: dict[str, str] = {}
    left = [prepared for prepared in studies if not prepared.records.head().finished]
    with job.engines_for(left) as engines:
        for place, prepared in enumerate(studies, 1):
            lang = prepared.config.lang
            _say(console, f"language {place} of {len(studies)}: {lang}, study {prepared.name}")
            try:
                ends[lang] = _run(prepared, console, engines, verbose)
            except KeyboardInterrupt:
                ends[lang] = "stopped"
            if ends[lang] == "stopped" or ENDING.is_set():
                break
    rows = [across.Row(p.config.lang, p.name, *_found(p, ends.get(p.config.lang))) for p in studies]
    tables.plain(console).print(across.table(rows))
    try:
        files = across.write(rows, studies[0].records.folder.parent)
        _say(console, f"all languages: {files[0]}, {files[1]}")
        _gather(rows, studies, files)
    except (OSError, SearchError) as error:
        _say(console, f"warning: the table of all languages is not everywhere: {error}")
    left = [p for p in studies if not p.records.head().finished]
    for prepared in left:
        _say(
            console,
            f"{prepared.config.lang} is not finished; go on with: {job.resume_command(prepared)}",
        )
    seen = {*ends.values(), *(["stopped"] if len(ends) < len(studies) else [])}
    return next(status for state, status in reversed(STATES.items()) if state in seen)


def _gather(rows: Sequence[across.Row], studies: Sequence[Prepared], files: Iterable[Path]) -> None:
    """In MLflow the studies' parent runs stand under one."""
    family = studies[0].config.family.name
    each = {
        p.config.lang: (experiment_name(family, p.config.lang), p.records.head().id)
        for p in studies
    }
    gather(
        studies[0].uri,
        experiment_name(family, "languages"),
        each,
        note=across.markdown(rows),
        metrics=across.metrics(rows),
        files=files,
    )


def _run(prepared: Prepared, console: Console, engines: Engines, verbose: bool) -> str:
    if prepared.records.head().finished:
        _say(console, "it is finished already")
        return "undecided" if _compared(prepared).no_recommendation else "recommended"
    try:
        return job.run(prepared, console, engines, verbose)
    except (SearchError, ObjectiveError) as error:
        _say(console, f"error: {prepared.config.lang}: {error}")
    except Exception as error:  # a fault of ours in one study must not cost the others
        _log.error("%s stopped: %s", prepared.name, masked("".join(format_exception(error))))
        _say(
            console, f"error: {prepared.config.lang}: {type(error).__name__}: {masked(str(error))}"
        )
    return "fault"


def _found(prepared: Prepared, end: str | None) -> tuple[str, Report | None]:
    """How a study stands, for people, and its final table."""
    if end is None and not prepared.records.head().finished:
        return "not begun", None
    try:
        return "finished" if end in (None, "recommended") else end, _compared(prepared)
    except Exception as error:  # such as items that cannot be read: the other rows stand
        _log.warning("%s cannot be shown: %s", prepared.name, masked(str(error)))
        return end or "finished", None


def _compared(prepared: Prepared) -> Report:
    return StudyResult.of(prepared.records).compare(prepared.records)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
