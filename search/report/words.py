"""What the report says in sentences and tables: what was searched, the final table, all trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from objectives import targets
from objectives.languages import LANGUAGES
from objectives.stats import PairedDifference
from objectives.words import counted
from search.checkpoints.family import Family
from search.common.masking import masked
from search.common.values import percent
from search.config.searched import space_of
from search.records.record import Record
from search.report.material import NOTHING, Material, shown
from search.report.search import phase_of
from search.results.comparison import RIVALS, ReportLine, p_value, signed

_STATES = {"stopped": "stopped early", "infeasible": "infeasible", "failed": "failed"}


def searched(study: Material) -> list[str]:
    """What was searched, in sentences."""
    config, space = study.final.config, space_of(study.final.config, study.n_layers)
    known = LANGUAGES.get(config.lang)
    name = f"{known.name} ({config.lang})" if known else config.lang
    experts = len(config.family.task), len(config.family.language[config.lang])
    main, *others = study.targets
    guards = "".join(f", and {t.people} no lower than its language expert's" for t in others)
    states: Counter[str] = Counter(r.state for r in study.search)
    lost = [f"{states[s]} {words}" for s, words in _STATES.items() if states[s]]
    items = next((r.scores[main.score].n_total for r in study.swaps), 0)
    besides = f" ({', '.join(lost)} besides)" if lost else ""
    ended = max((r.ended for r in study.records.trials), default=0.0)
    when = f", last trial ended {_when(ended)}" if ended else ""
    budget = config.search.trials
    done = sum(r.origin == "search" for r in study.search)
    return [
        f"Family {config.family.name}, {name}: {experts[0]} task and {experts[1]} language experts "
        f"of {study.n_layers} layers, {counted(len(space.pairs), 'pair')}. Searched were "
        f"{space.bounds()}, by the sampler {config.search.sampler}, for the best {main.people}"
        f"{guards}.",
        f"Scored: {counted(states['scored'], 'recipe')}, on {counted(items, 'search item')}"
        f"{besides}; {done} of {counted(budget, 'proposal')} of the search ended. The study "
        f"{_state(study)}{when}.",
    ]


def _state(study: Material) -> str:
    return {"finished": "has finished", "running": "is running"}.get(
        study.best.state, "has stopped before its end"
    )


def _when(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"


def final_table(study: Material) -> Mapping[str, Sequence[Any]]:
    """Heads and rows of the final table; a row is its role, label, cells and whether it is best."""
    lang = study.report.lang
    main, *_ = study.targets
    scores = (name for line in study.report.lines for name in line.record.scores)
    others = {name: words.format(lang=lang) for name, words in targets.shown(scores).items()}
    heads = [*(f"{target.people} %" for target in study.targets)]
    heads += [f"{words} %" for words in others.values()]
    heads += [f"{main.people} vs best {rival}" for rival in RIVALS]
    heads += [f"{main.people} vs default", "items"]
    return {
        "heads": heads,
        "rows": [_row(study, line, list(others)) for line in study.report.lines],
    }


def _row(study: Material, line: ReportLine, others: Sequence[str]) -> Mapping[str, Any]:
    main = study.targets[0].score
    cells: list[tuple[str, ...]] = []
    for target in study.targets:
        score = line.score(target.score)
        ends = "" if score.low is None else f"{percent(score.low)}–{percent(score.high)}"
        cells.append((percent(score.value), ends))
    cells += [(percent(line.score(name).value),) for name in others]
    cells += [_difference(line.difference(main, rival)) for rival in (*RIVALS, "default")]
    cells.append((str(line.score(main).n_scored),))
    best = study.report.best
    infeasible = " (infeasible)" if line.record.state == "infeasible" else ""
    return {
        "role": line.role + infeasible,
        "label": line.record.label,
        "cells": cells,
        "best": best is not None and best.record.key == line.record.key,
    }


def _difference(paired: PairedDifference | None) -> tuple[str, ...]:
    if paired is None:
        return ("–",)
    ends = f"{signed(paired.low)} to {signed(paired.high)}"
    return signed(paired.difference), ends, p_value(paired)


def all_trials(study: Material) -> Mapping[str, Sequence[Any]]:
    """Heads and rows of all trials; a cell is what is shown and what it is sorted by."""
    heads = ["#", "recipe", "items", "phase", "state"]
    heads += [target.people for target in study.targets] + ["tokens", "seconds", "why"]
    return {"heads": heads, "rows": [_cells(study, r) for r in study.records.trials]}


def _cells(study: Material, record: Record) -> list[tuple[str, float | str]]:
    seconds = record.seconds.get("total", 0.0)
    scores = [record.scores.get(target.score, NOTHING) for target in study.targets]
    split = record.split.replace("_", "-")
    why = masked(record.reason)[:300]
    return [
        (str(record.number), record.number),
        (record.label, record.label),
        (split, split),
        (phase_of(record), record.origin),
        (record.state, record.state),
        *((shown(score), -1.0 if score.value is None else score.value) for score in scores),
        (f"{record.tokens:,}", record.tokens),
        (f"{seconds:.1f}", seconds),
        (why, why),
    ]


def where(study: Material) -> Iterator[tuple[str, str]]:
    """Name and place of each model that the study knows."""
    family = Family(**study.final.config.family.model_dump())
    for name, place in family.sources(study.final.config.lang).items():
        yield name, masked(str(place))
