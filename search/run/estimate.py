"""What a command would run and what that costs, said before anything is made: `--dry-run`.

Owns the estimate: tokens and time as in the trials of earlier studies of the family, or else a
guess that says so. Reads headers, data and records; nothing is written and no engine starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from objectives import targets
from objectives.types import Objective
from objectives.words import counted
from search.common.errors import SearchError
from search.common.masking import masked
from search.common.values import some
from search.config.schema import Config, SearchConfig
from search.merging.recipe import Recipe, label
from search.merging.space.swap import baselines
from search.records import listing
from search.records.head import StudyHead
from search.records.reader import RecordsReader
from search.records.record import Record
from search.records.study_path import StudyPath
from search.results import choose
from search.results.recommendation import recommend
from search.results.study_result import best_default
from search.run import imports
from search.run.prepare import Checked, check
from search.run.preview import DryRun
from search.run.progress import duration
from search.run.workload import (
    SPLITS,
    WORK,
    Workload,
    final_rows,
    items_of,
    planned,
    proposed_share,
)

OPERATIONS = {"GPU": 1e14, "CPU core": 2e10}
"""A guess: operations a second while answers are written, two for each parameter and token."""
FASTEST = 5000.0
"""A guess: tokens a second of an engine, however small its model is."""
START = 60.0
"""A guess: seconds until an engine answers."""
LENGTH = 0.5
"""A guess: an answer's length, as a share of the longest that is allowed."""


@dataclass(frozen=True)
class Cost:
    """What an answered item costs.

    Attributes:
        tokens: tokens generated.
        seconds: of one engine.
        start: seconds until an engine answers.
        share: of its items that a proposed recipe answers: others are stopped early.
        source: what this was taken from, for people.
    """

    tokens: float
    seconds: float
    start: float
    share: float
    source: str


def say(dry_run: DryRun, out: StudyPath) -> Iterator[str]:
    """What would be run and what it costs, line by line.

    Args:
        dry_run: the study.
        out: the folder of studies, where earlier ones of the family are looked for.

    Raises:
        SearchError, ObjectiveError: what the checks before a study find, but for its weights.
    """
    config, records = dry_run.config, dry_run.records
    checked = check(config)
    trials = list(records.trials) if records else []
    work = _work(dry_run, checked)
    imported = imports.best(dry_run.source, checked.space) if dry_run.source else {}
    for warning in checked.warnings:
        yield f"warning: {warning}"
    yield f"dry run of {dry_run.name}: nothing is written, no engine starts, no weight is read"
    yield f"the study {work.standing(trials)}"
    if not work.unfinished(trials):
        return
    yield from _recipes(work, checked, config, len(imported.get("recipes", ())))
    yield f"items: {_items(work, checked.objectives)}"
    engines = _engines(config.search)
    yield f"engines: {engines.said}"
    cost = earlier(config, out) or guess(config, checked)
    left = work.left(trials, cost.share)
    many = engines.number
    hours = (left * cost.seconds + (many or 1) * cost.start) / 3600
    early = f", {100 * cost.share:.0f}% of a proposed recipe's" if cost.share < 1 else ""
    yield f"answers: {left:,.0f}{early}; tokens: about {_short(left * cost.tokens)}"
    wall = f"about {duration(3600 * hours / many)} on {counted(many, 'engine')}; " if many else ""
    yield f"time: {wall}{hours:.2g} engine hours"
    if config.search.gpus_per_engine:
        yield f"GPU hours: about {hours * config.search.gpus_per_engine:.2g}"
    yield cost.source


def _work(dry_run: DryRun, checked: Checked) -> Workload:
    config, records, space = dry_run.config, dry_run.records, checked.space
    choice = recommend(records, space.n_layers, config.search.tolerance) if records else None
    trials = records.trials if records else ()
    default = best_default(space, records) if records else space.default_recipe(space.pairs[0])
    rows = choose.final_rows(trials, choice, default, checked.family.locations, space.n_layers)
    n_final = final_rows(config.search, len(rows), choice, trials)
    return planned(
        config.search, len(_first(config, checked)), n_final, checked.objectives.values()
    )


def _first(config: Config, checked: Checked) -> list[Recipe]:
    """What is scored before the search."""
    n_lang = len(config.family.language[config.lang])
    return baselines(checked.space.swaps, len(config.family.task), n_lang, config.search.soups)


def _recipes(work: Workload, checked: Checked, config: Config, imported: int) -> Iterator[str]:
    """How many recipes of each kind, and those whose names are known."""
    space, counts = checked.space, dict(work.recipes)
    names = [label(recipe, space.lang, space.n_layers) for recipe in _first(config, checked)]
    yield f"  first: {counts.pop('baseline')} ({some(names)})"
    search, final = counts.pop("search"), counts.pop("final")
    begins = f"the {imported} imported ones, then " if imported else ""
    first = [space.default_recipe(space.pairs[0])] if space.default_points() else []
    default = some([label(recipe, space.lang, space.n_layers) for recipe in first])
    over = counted(len(space.pairs), "pair")
    yield f"  search: {counted(search, 'recipe')} over {over}, first {begins}{default}"
    rivals = ", ".join(f"{method} {n}" for method, n in counts.items())
    yield f"  rival methods: {sum(counts.values())}" + (f" ({rivals})" if rivals else "")
    yield f"  final table, on held-out items: {final}"


def _items(work: Workload, objectives: Mapping[str, Objective]) -> str:
    """How many items each recipe answers, by objective."""
    own = {name: items_of([objective]) for name, objective in objectives.items()}
    each = (
        f"{work.items[split]} {words} ({', '.join(f'{n} {own[n][split]}' for n in own)})"
        for split, words in zip(SPLITS, ("for a recipe", "in the final table"), strict=True)
    )
    return ", ".join(each)


@dataclass(frozen=True)
class _Engines:
    """How many engines there would be, None where only the cluster knows; and in words."""

    number: int | None
    said: str


def _engines(search: SearchConfig) -> _Engines:
    each = f"CPU cores each: {search.cpus_per_engine:g}, GPUs each: {search.gpus_per_engine:g}"
    address = search.address or os.environ.get("RAY_ADDRESS")
    if address:
        number = search.engines
        many = number or "as many as there is room for"
        return _Engines(number, f"{many} on the cluster at {masked(address)}; {each}")
    room = int((os.cpu_count() or 1) / search.cpus_per_engine + 1e-6)
    if search.gpus_per_engine:
        from search.engine.link import gpus

        room = min(room, int(gpus() / search.gpus_per_engine + 1e-6))
    if room < 1:
        return _Engines(None, f"none: this machine has no room for one; {each}")
    number = min(room, search.engines or room)
    return _Engines(number, f"{number} on this machine; {each}")


def earlier(config: Config, out: StudyPath) -> Cost | None:
    """What an item cost in earlier studies of the family; None if nothing tells.

    Of those the ones are taken that are most alike: the same language, the same engine.

    Args:
        config: of the study to come.
        out: the folder of studies.
    """
    alike: dict[int, list[tuple[Sequence[Record], int]]] = {}
    known = targets.TARGETS
    for path in _studies(out):
        try:
            records = RecordsReader.read(path)
            like = _likeness(records.head(), config)
        except SearchError:
            continue  # a broken study tells nothing
        told = [r for r in records.trials if r.tokens and _asked(r) and "total" in r.seconds]
        if like is not None and told:
            alike.setdefault(like, []).append((told, sum(map(_asked, told))))
    targets.use(known)  # each study that was read has made its own this process's
    if not alike:
        return None
    studies = alike[max(alike)]
    trials = [record for told, _ in studies for record in told]
    items = sum(asked for _, asked in studies)
    engines = {(path, record.host) for path, (told, _) in enumerate(studies) for record in told}
    many = "an earlier study" if len(studies) == 1 else f"{len(studies)} earlier studies"
    return Cost(
        sum(record.tokens for record in trials) / items,
        sum(map(_worked, trials)) / items,
        sum(record.seconds["total"] - _worked(record) for record in trials) / len(engines),
        proposed_share(trials) if config.search.race else 1.0,
        f"estimated from {counted(len(trials), 'trial')} of {many} of this family in {out}",
    )


def _studies(out: StudyPath) -> Iterable[StudyPath]:
    if isinstance(out, Path) and not out.is_dir():
        return []
    return listing.studies(out)


def _likeness(head: StudyHead, config: Config) -> int | None:
    """In how many things that decide the cost a study is alike; None for another family."""
    family, search = config.family, config.search
    base = Path(head.value("family.base", str)).name  # a copy elsewhere costs the same
    if (head.value("family.name", str), base) != (family.name, Path(family.base).name):
        return None
    same = head.value("lang", str) == config.lang
    engine = [head.value(f"search.{name}_per_engine", float) for name in ("cpus", "gpus")]
    return same + 2 * (engine == [search.cpus_per_engine, search.gpus_per_engine])


def _asked(record: Record) -> int:
    """Items that a trial was asked, of all objectives."""
    found = {
        t.objective: record.scores[t.score] for t in targets.TARGETS if t.score in record.scores
    }
    return sum(score.n_total for score in found.values())


def _worked(record: Record) -> float:
    """Seconds that a trial took but for the start of its engine."""
    return sum(record.seconds.get(name, 0.0) for name in WORK)


def guess(config: Config, checked: Checked) -> Cost:
    """What an item may cost, from the size of the model and the longest answers."""
    requests = [r for o in checked.objectives.values() for r in o.requests("search")]
    tokens = LENGTH * sum(r.sampling.max_tokens for r in requests) / len(requests)
    search, parameters = config.search, checked.family.opened["base"].parameters
    kind = "GPU" if search.gpus_per_engine else "CPU core"
    power = OPERATIONS[kind] * (search.gpus_per_engine or search.cpus_per_engine)
    speed = min(FASTEST, power / (2 * parameters))
    said = (
        f"a guess, as there is no earlier study of {config.family.name} here: answers "
        f"{100 * LENGTH:.0f}% as long as allowed, {speed:,.0f} tokens/s an engine "
        f"({_short(parameters)} parameters)"
    )
    return Cost(tokens, tokens / speed, START, 1.0, said)


def _short(number: float) -> str:
    """1234567 as "1.2 million"."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.2g} {word}"
    return f"{number:,.0f}"
