"""What held-out items say of the recommended recipe and of what it must beat.

Owns the comparison: which lines the final table has, the paired differences between them, and what
must be said below. Reads records and their items and nothing else, so a comparison can be made
again at any time and is always the same. Does not choose (`search.results.choose`), does not print
(`search.results.tables`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from objectives import targets
from objectives.languages import LANGUAGES
from objectives.stats import PairedDifference
from objectives.target import Target
from objectives.types import ItemResult, Score, Split
from objectives.words import counted
from search.common.errors import StudyError
from search.common.values import percent
from search.merging.recipe import Layered, Single, key, label
from search.merging.source import Source
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import (
    BEST,
    DEFAULT,
    RECOMMENDED,
    SOUP,
    Choice,
    FinalRow,
    best_first,
    pareto,
    scored,
)
from search.results.recommendation import no_recommendation
from search.results.selection_bias import SelectionBias, measure

Items = Sequence[ItemResult]
"""Per-item answers of one trial, as `RecordsReader.items` gives them."""

RIVALS = ("soup", "expert")
"""What each line of a table is compared with: the best soup, and the best expert, on the same
items. A report knows the differences to the default recipe (`default`) as well."""

ALIKE = 5
"""Recipes that a note names of those that might as well be taken."""

SEARCH_ROWS = 10
"""Search trials that a table without held-out scores adds to the baselines."""


@dataclass(frozen=True)
class ReportLine:
    """One recipe of the table.

    Attributes:
        roles: what brought it into the table.
        record: its trial.
        differences: (score, rival) -> paired difference to that rival on the same items; missing
            for the rival itself and where there is nothing to compare. Rivals as in
            `Report.rivals`.
    """

    roles: tuple[str, ...]
    record: Record
    differences: Mapping[tuple[str, str], PairedDifference]

    @property
    def role(self) -> str:
        """The roles as one text."""
        return ", ".join(self.roles)

    def score(self, name: str) -> Score:
        """A score, without a value where it is missing."""
        return self.record.scores.get(name) or Score(None, None, None, 0, 0)

    def difference(self, score: str, rival: str) -> PairedDifference | None:
        """Of a target's score to a rival; None where there is nothing to compare."""
        return self.differences.get((score, rival))


@dataclass(frozen=True)
class Report:
    """A table and what must be said below it.

    Attributes:
        title: family, language, and which items the scores are from.
        lang: language code.
        split: the items the table stands on.
        lines: the rows.
        notes: one statement each.
        front: the Pareto front on the search items.
        no_recommendation: why nothing is recommended, and what would decide; empty where
            something is.
        rivals: what the lines are compared with: `soup`, `expert`, `default` -> its trial.
        selection_bias: what the choice among so many did; None where that cannot be said.
    """

    title: str
    lang: str
    split: Split
    lines: tuple[ReportLine, ...]
    notes: tuple[str, ...]
    front: tuple[Record, ...]
    no_recommendation: str = ""
    rivals: Mapping[str, Record] = field(default_factory=dict)
    selection_bias: SelectionBias | None = None

    @property
    def best(self) -> ReportLine | None:
        """The line of the recommended recipe, or of what comes nearest to one."""
        return _best_line(self.lines)


def build(
    records: RecordsReader,
    rows: Sequence[FinalRow],
    choice: Choice | None,
    *,
    family: str,
    lang: str,
    n_layers: int,
) -> Report:
    """Make the report of a study, finished or not.

    Without any held-out trial the table shows search scores, best first, and says so.

    Args:
        records: the study.
        rows: from `choose.final_rows`.
        choice: from `search.results.recommendation.recommend`.
        family: name of the family.
        lang: language code.
        n_layers: the model's number of layers L.
    """
    roles = {key(row.recipe, n_layers): row.roles for row in rows}
    ended = records.ended("held_out")
    split: Split = "held_out" if roles.keys() & ended.keys() else "search"
    main = targets.TARGETS[0].score
    ended = {k: r for k, r in records.ended(split).items() if r.value(main) is not None}
    compared = [ended[k] for k in roles if k in ended]
    if split == "search":
        others = sorted(scored(ended.values()), key=best_first)
        compared += [r for r in others if r.key not in roles][:SEARCH_ROWS]
        compared.sort(key=best_first)
    items = _items(records, compared)
    rivals = _rivals(compared, roles)
    lines = _compare(compared, roles, rivals, items, lang)
    selected = measure(records, choice, n_layers)
    where = "held-out items" if split == "held_out" else "SEARCH items (optimistic)"
    notes = [
        *_choice_notes(lines, choice, records, split),
        *_selection_notes(selected, choice),
        *_guard_notes(lines, items, lang),
        *_coverage_note(lines),
        *_language_note(lang),
        *_default_note(lines, items, lang),
        *_comparison_note(lines),
        *_missing(rows, compared, records.ended(split), lang, n_layers),
        *unreadable_note(records),
    ]
    front = tuple(pareto(records.trials))
    title, why_not = f"{family} / {lang}: {where}", no_recommendation(choice, records.trials)
    return Report(title, lang, split, lines, tuple(notes), front, why_not, rivals, selected)


def _items(records: RecordsReader, compared: Sequence[Record]) -> Mapping[str, Items]:
    """The answers of each trial, none where they cannot be read."""
    found: dict[str, Items] = {}
    for record in compared:
        found[record.key] = []
        with suppress(StudyError):  # which `unreadable_note` says
            found[record.key] = records.items(record)
    return found


def unreadable_note(records: RecordsReader) -> list[str]:
    """That answers which were asked for cannot be read; empty where all could."""
    faults = list(records.unreadable.values())
    if not faults:
        return []
    return [
        f"The answers of {counted(len(faults), 'trial')} cannot be read: what is compared item by "
        f"item lacks them ({faults[0]})."
    ]


def _rivals(
    compared: Sequence[Record], roles: Mapping[str, tuple[str, ...]]
) -> Mapping[str, Record]:
    found = {
        "soup": [r for r in compared if SOUP in roles.get(r.key, ())],
        "expert": [r for r in sorted(compared, key=best_first) if _is_expert(r)],
        "default": [r for r in compared if DEFAULT in roles.get(r.key, ())],
    }
    return {name: some[0] for name, some in found.items() if some}


def _compare(
    compared: Sequence[Record],
    roles: Mapping[str, tuple[str, ...]],
    rivals: Mapping[str, Record],
    items: Mapping[str, Items],
    lang: str,
) -> tuple[ReportLine, ...]:
    lines = []
    for record in compared:
        differences = {
            (target.score, rival): paired
            for target in targets.TARGETS
            for rival, other in rivals.items()
            if other.key != record.key
            if (paired := target.compare(items[record.key], items[other.key], lang)) is not None
        }
        lines.append(ReportLine(roles.get(record.key, ("search trial",)), record, differences))
    return tuple(lines)


def _is_expert(record: Record) -> bool:
    recipe = record.recipe
    return isinstance(recipe, Single) and Source.of(recipe.source).is_expert


def _with_role(lines: Sequence[ReportLine], *roles: str) -> ReportLine | None:
    return next((line for line in lines if set(roles) & set(line.roles)), None)


def _best_line(lines: Sequence[ReportLine]) -> ReportLine | None:
    """The recommended recipe's line, or that of what comes nearest to one."""
    return _with_role(lines, RECOMMENDED, BEST)


def _called(roles: Sequence[str]) -> str:
    """What notes call the recipe that has these roles."""
    return "recommended recipe" if RECOMMENDED in roles else "best swap"


def _choice_notes(
    lines: Sequence[ReportLine], choice: Choice | None, records: RecordsReader, split: Split
) -> list[str]:
    ended = records.ended("search").values()
    states = Counter(record.state for record in ended)
    words = {"stopped": "stopped early", "infeasible": "infeasible", "failed": "failed"}
    lost = [f"{n} {words[state]}" for state, n in sorted(states.items()) if state in words]
    compared = counted(states["scored"], "recipe") + (
        f" ({', '.join(lost)} besides)" if lost else ""
    )
    if choice is None:
        return [f"The search compared {compared}; no swap was scored, so none is recommended."]
    main = targets.TARGETS[0].score
    score = choice.record.scores[main]
    luck = (
        f"The search compared {compared} on {counted(score.n_scored, 'item')}. The highest of so "
        f"many scores is partly luck: {percent(score.value)}% of the {_called((choice.role,))} is "
        "optimistic"
    )
    final = _best_line(lines)
    if split == "search":
        luck += "; no held-out score exists yet."
    elif final is None:
        luck += "; its held-out score is missing."
    else:
        luck += f", held out it has {percent(final.score(main).value)}%."
    return [f"{choice.role.capitalize()}: {choice.record.label}. {choice.reason}", luck]


def _selection_notes(found: SelectionBias | None, choice: Choice | None) -> list[str]:
    """What the choice did to the recommended recipe's score, and which might as well be taken."""
    if choice is None or found is None:
        return []
    main = targets.TARGETS[0].score
    called = _called((choice.role,))
    notes = [
        f"Corrected for the choice among {found.swaps} swaps (bootstrap over items) "
        f"{percent(choice.record.value(main))}% of the {called} is {percent(found.corrected)}%."
    ]
    shown = [f"{record.label} ({percent(record.value(main))}%)" for record in found.alike]
    if shown:
        more = f" and {len(shown) - ALIKE} more" if len(shown) > ALIKE else ""
        notes.append(
            f"Not to be told from the {called} on the search items (paired test): "
            f"{', '.join(shown[:ALIKE])}{more}."
        )
    return notes


def _guard_notes(lines: Sequence[ReportLine], items: Mapping[str, Items], lang: str) -> list[str]:
    """What the recommended recipe lost, in the targets after the first, against its own expert."""
    best = _best_line(lines)
    if best is None or not isinstance(best.record.recipe, Layered):
        return []
    source = best.record.recipe.lang_source
    expert = next((x.record for x in lines if x.record.recipe == Single(source)), None)
    if expert is None:
        return []
    both = items[best.record.key], items[expert.key]
    found = ((target, target.compare(*both, lang)) for target in targets.TARGETS[1:])
    called = _called(best.roles)
    return [_guard_note(target, paired, called) for target, paired in found if paired is not None]


def _guard_note(target: Target, paired: PairedDifference, called: str) -> str:
    return (
        f"{target.people} of the {called} against its language expert: "
        f"{signed(paired.difference)} points ({signed(paired.low)} to {signed(paired.high)}, "
        f"{p_value(paired)} by {target.test})."
    )


def _coverage_note(lines: Sequence[ReportLine]) -> list[str]:
    found = [share for line in lines if (share := line.score("coverage").value) is not None]
    if not found:
        return []
    return [
        f"Coverage, the share of responses that LCPR could judge: {percent(min(found))}% to "
        f"{percent(max(found))}% over the rows; report.tsv has each."
    ]


def _language_note(lang: str) -> list[str]:
    known = LANGUAGES.get(lang)
    judged = any(target.kind == "lcpr" for target in targets.TARGETS)
    if known is None or known.wpr_applies or not judged:
        return []
    return [
        f"{known.name} is written in Latin script, where word-level confusion is not defined: "
        "LCPR here is the line-level pass rate (LPR)."
    ]


def _default_note(lines: Sequence[ReportLine], items: Mapping[str, Items], lang: str) -> list[str]:
    best, default = _best_line(lines), _with_role(lines, DEFAULT)
    if best is None or default is None:
        return []
    if best is default:
        return [f"The {_called(best.roles)} is the paper's default recipe, scaled to this model."]
    main = targets.TARGETS[0]
    ours, theirs = best.score(main.score), default.score(main.score)
    if ours.low is None or ours.high is None or theirs.value is None:
        return []
    end = ours.low if main.direction == "maximize" else ours.high
    both = items[best.record.key], items[default.record.key]
    if main.gain(theirs.value) < main.gain(end) or _behind(*both, lang):
        return []
    paired = main.compare(*both, lang)
    gain = f" ({signed(paired.difference)} points, {p_value(paired)})" if paired else ""
    return [
        f"The default recipe comes close: its {percent(theirs.value)}% is not below the "
        f"{_called(best.roles)}'s interval{gain}."
    ]


def _behind(ours: Items, theirs: Items, lang: str) -> bool:
    """Whether the second has clearly less of a target after the first."""
    for guard in targets.TARGETS[1:]:
        paired = guard.compare(ours, theirs, lang)
        if paired and min(guard.gain(paired.low), guard.gain(paired.high)) > 0:
            return True
    return False


def _comparison_note(lines: Sequence[ReportLine]) -> list[str]:
    experts = sorted((x.record for x in lines if _is_expert(x.record)), key=best_first)
    if not experts:
        return []
    return [
        f"Best expert on these items: {experts[0].label}. Differences are paired, in points of "
        f"{targets.TARGETS[0].people}. {_statistics()}"
    ]


def _statistics() -> str:
    """What intervals and p-values are."""
    wilson = "Wilson; " if any(t.interval == "Wilson" for t in targets.TARGETS) else ""
    drawn = [target.people for target in targets.TARGETS if target.interval == "bootstrap"]
    named = f"{', '.join(drawn)} and differences" if drawn else "differences"
    return (
        f"Intervals are 95% ({wilson}bootstrap for {named}), p is by {targets.TARGETS[0].test}, "
        "not corrected for the number of rows."
    )


def _missing(
    rows: Sequence[FinalRow],
    compared: Sequence[Record],
    ended: Mapping[str, Record],
    lang: str,
    n_layers: int,
) -> list[str]:
    keys, shown = {key(row.recipe, n_layers): row for row in rows}, {r.key for r in compared}
    notes = [
        f"{', '.join(keys[r.key].roles)} ({r.label}) is infeasible: {r.reason}"
        for r in compared
        if r.state == "infeasible" and r.key in keys
    ]
    for name, row in keys.items():
        if name not in shown:
            why = f"{ended[name].state}: {ended[name].reason}" if name in ended else "not scored"
            named = f"{', '.join(row.roles)} ({label(row.recipe, lang, n_layers)})"
            notes.append(f"Not in the table: {named}, {why}.")
    return notes


def signed(share: float) -> str:
    """A difference in points with its sign."""
    return f"{100 * share:+.1f}"


def p_value(paired: PairedDifference) -> str:
    """A p-value as text."""
    return "p<0.001" if paired.p_value < 0.001 else f"p={paired.p_value:.3f}"
