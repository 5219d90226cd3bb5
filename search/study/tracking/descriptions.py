"""What a person reads at the top of a run's page in MLflow: Markdown of the study and of a trial.

Owns the words and their links, which lead within MLflow's pages. Pure; `search.study.tracking.view`
sends them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from objectives import targets
from objectives.stats import PairedDifference
from objectives.types import Score
from objectives.words import counted
from search.common.errors import RecipeError
from search.common.values import in_markdown, percent
from search.merging.mix import Mix
from search.merging.plan import plan
from search.merging.source import Source
from search.records.record import Record
from search.results.choose import DEFAULT, RECOMMENDED, SOUP, best_first, best_swap, scored
from search.results.comparison import RIVALS, Report, ReportLine, p_value, signed
from search.study.tracking.pages import TRAINING, pages

LENGTH = 7900
"""Longest description: below MLflow's 8000 characters of a tag."""
BEST_SO_FAR = 10
"""Recipes that a running study's description lists."""


@dataclass(frozen=True)
class Where:
    """Where a study is.

    Attributes:
        study_id: of `study.yaml`.
        path: its folder or address, as commands take it.
        experiment: id of its experiment in MLflow.
        parent: id of its own run there.
        run: trial -> id of its run; None where there is none.
    """

    study_id: str
    path: str
    experiment: str
    parent: str
    run: Callable[[Record], str | None]

    def linked(self, record: Record) -> str:
        """A trial's name, as a link to its run."""
        run = self.run(record)
        name = in_markdown(record.label)
        page = f"#/experiments/{self.experiment}/runs/{run}?{urlencode(TRAINING)}"
        return f"[{name}]({page})" if run else name

    def views(self) -> str:
        """Links to the study's views and files."""
        found = [
            f"[{p.people}]({p.address('', self.experiment)[1:]})" for p in pages(self.study_id)
        ]
        files = (
            f"#/experiments/{self.experiment}/runs/{self.parent}/artifacts?{urlencode(TRAINING)}"
        )
        return " · ".join([*found, f"[report and figures]({files})"])


def of_running(where: Where, records: Sequence[Record], n_layers: int, tolerance: float) -> str:
    """A study that has no final table yet.

    Args:
        where: the study.
        records: what has ended.
        n_layers: the model's number of layers L; 0 where it is not known.
        tolerance: as for `search.results.choose.best_swap`.
    """
    choice = best_swap(records, n_layers, tolerance) if n_layers else None
    lines = [
        f"{counted(len(records), 'trial has', 'trials have')} ended; scores are of search items."
    ]
    if choice:
        lines = [
            f"## Best so far: {where.linked(choice.record)}",
            in_markdown(choice.reason),
            *_layers_of(choice.record, n_layers),
            *lines,
        ]
    best = sorted(scored(records), key=best_first)[:BEST_SO_FAR]
    heads = ["recipe", *(f"{target.people} %" for target in targets.TARGETS)]
    rows = [
        [where.linked(r), *(_score(r.scores.get(t.score)) for t in targets.TARGETS)] for r in best
    ]
    lines += [_table(heads, rows)] if rows else []
    return fitted([*lines, where.views()])


def of_study(where: Where, report: Report, n_layers: int) -> str:
    """A study with its final table, or with what there is of one.

    Args:
        where: the study.
        report: of `search.results.comparison`.
        n_layers: the model's number of layers L.
    """
    best = next((line for line in report.lines if RECOMMENDED in line.roles), None)
    lines = []
    if report.no_recommendation:
        lines = ["## No recommendation", in_markdown(report.no_recommendation)]
        lines += map(in_markdown, report.notes[:1])
    elif best:
        study = shlex.quote(where.path)
        lines = [
            f"## Recommended: {where.linked(best.record)}",
            *map(in_markdown, report.notes[:1]),
            *_against(report, best),
            *_layers_of(best.record, n_layers),
            f"`python -m search.export --study {in_markdown(study)} --recommended --out merged`",
        ]
    lines += [where.views()]
    main = targets.TARGETS[0].score
    heads = ["", "recipe", *(f"{target.people} %" for target in targets.TARGETS)]
    heads += [f"vs best {rival}" for rival in RIVALS]
    rows = [
        [
            in_markdown(line.role),
            where.linked(line.record),
            *(_score(line.score(target.score)) for target in targets.TARGETS),
            *(_difference(line.difference(main, rival)) for rival in RIVALS),
        ]
        for line in report.lines
    ]
    if rows:
        lines += [f"### {in_markdown(report.title)}", _table(heads, rows)]
    return fitted([*lines, *(f"- {in_markdown(note)}" for note in report.notes[1:])])


def of_trial(record: Record, n_layers: int) -> str:
    """A trial: which layers come from where, and why it has no score where it has none.

    Args:
        record: the trial.
        n_layers: the model's number of layers L; 0 where it is not known.
    """
    items = "held-out" if record.split == "held_out" else "search"
    lines = [
        f"**{in_markdown(record.label)}**, scored on {items} items.",
        *_layers_of(record, n_layers),
    ]
    if record.reason:
        lines.append(f"{record.state.capitalize()}: {in_markdown(record.reason)}")
    return fitted(lines)


def fitted(parts: Sequence[str]) -> str:
    """Paragraphs as one text that MLflow takes: whole lines, those at the end are left out."""
    lines = "\n\n".join(parts).splitlines()
    while len("\n".join(lines)) > LENGTH:
        lines.pop()
    return "\n".join(lines)


def layers(record: Record, n_layers: int) -> Iterator[tuple[str, str]]:
    """Which layers of a merge come from where, in words: `layers 0-2` -> `language expert 1`."""
    mixes = plan(record.recipe, [_name(n) for n in (*range(n_layers), None)], n_layers)
    zones = groupby(range(n_layers), key=lambda layer: mixes[_name(layer)])
    for mix, numbers in ((mix, list(group)) for mix, group in zones):
        first, last = numbers[0], numbers[-1]
        yield (f"layer {first}" if first == last else f"layers {first}–{last}"), _made(mix)
    yield "embeddings, final norm, head", _made(mixes[_name(None)])


def _name(layer: int | None) -> str:
    return "outside" if layer is None else f"layers.{layer}.x"


def _made(mix: Mix) -> str:
    if mix.method == "linear":
        if len(mix.terms) == 1 and mix.terms[0].coefficient == 1:
            return _called(mix.terms[0].source)
        return " + ".join(f"{100 * t.coefficient:.3g}% {_called(t.source)}" for t in mix.terms)
    terms = ", ".join(f"{_called(term.source)} ({term.coefficient:.3g})" for term in mix.terms)
    return f"{mix.method.replace('_', ' ')} of {terms}"


def _called(source: str) -> str:
    found = Source.of(source)
    names = {"task": "task expert", "lang": "language expert"}
    return f"{names[found.kind]} {found.index}" if found.kind in names else source


def _layers_of(record: Record, n_layers: int) -> list[str]:
    if not n_layers:
        return []
    try:
        return [
            "\n".join(f"- {which}: {in_markdown(of)}" for which, of in layers(record, n_layers))
        ]
    except RecipeError as error:
        return [in_markdown(str(error))]


def _against(report: Report, best: ReportLine) -> list[str]:
    """The recommended recipe's scores, beside those of what it must beat."""
    shown = [f"**{t.people} {_score(best.score(t.score))}**" for t in targets.TARGETS]
    experts = [x for x in report.lines if any(role.endswith("expert") for role in x.roles)]
    others = [
        ("default recipe", next((x for x in report.lines if DEFAULT in x.roles), None)),
        ("best soup", next((x for x in report.lines if SOUP in x.roles), None)),
        ("best expert", min(experts, key=lambda x: best_first(x.record), default=None)),
    ]
    main = targets.TARGETS[0].score
    beside = [
        f"{name} {percent(line.score(main).value)}"
        for name, line in others
        if line not in (None, best)
        if line
    ]
    where = "Held out" if report.split == "held_out" else "On search items (optimistic)"
    against = f", against {', '.join(beside)}" if beside else ""
    return [f"{where}: {', '.join(shown)}{against} ({targets.TARGETS[0].people}, %)."]


def _score(score: Score | None) -> str:
    if score is None or score.value is None:
        return "–"
    ends = score.low is not None and score.high is not None
    return percent(score.value) + (f" ({percent(score.low)}–{percent(score.high)})" if ends else "")


def _difference(paired: PairedDifference | None) -> str:
    if paired is None:
        return "–"
    interval = f"{signed(paired.low)} to {signed(paired.high)}"
    return f"{signed(paired.difference)} ({interval}) {p_value(paired)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))
