"""What a study's best recipe is, in facts: what it beats, by how much, and how to get it.

Owns which facts those are, for `search.best`, the report and whoever reads its JSON. How they are
shown is theirs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from objectives import targets
from search.checkpoints.family import Family
from search.common.masking import masked
from search.merging.layers import layers_of
from search.merging.recipe import sources_of, to_dict
from search.records.reader import RecordsReader
from search.records.record import Record
from search.results.choose import DEFAULT, SOUP, scored
from search.results.comparison import Report, unreadable_note
from search.results.study_result import StudyResult

EXPERT = "best expert"
_RIVALS = {"default": DEFAULT, "soup": SOUP, "expert": EXPERT}


@dataclass(frozen=True)
class Versus:
    """The best recipe against what it has to beat, on the same items.

    Attributes:
        what: `default recipe`, `best soup` or `best expert`.
        label: the recipe's name.
        key: its key.
        difference: of the first target, as a share; None where the best recipe is that very one,
            or has no item in common with it.
        low: lower end of the 95% interval.
        high: its upper end.
        p: of the first target's test (`objectives.target.Target.test`).
    """

    what: str
    label: str
    key: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Best:
    """What is said of a study's best recipe.

    Attributes:
        study: where it is, or its name where MLflow alone has it.
        state: `running`, `finished` or `stopped`; empty where MLflow alone has it.
        family: name of the family.
        lang: language code.
        compared: recipes that were scored on all search items.
        label: the recipe's name.
        key: its key; empty where no swap has been scored.
        recipe: as JSON.
        words: which layers come from where, by the experts' names in the family.
        experts: name in the family -> where that model is, of those that it is made of.
        reason: why it was chosen.
        no_recommendation: why it is no recommendation; empty where it is one.
        search: score -> value, low, high as shares, n_scored, n_total.
        held_out: the same on held-out items; empty where it has no such trial.
        split: the items that `beats` stands on.
        beats: what it has to beat.
        alike: label -> search score, of recipes that cannot be told from it.
        unreadable: that answers cannot be read which this stands on; empty where all could.
        export: the command that writes it as a checkpoint.
        serve: the command that serves that.
    """

    study: str
    state: str
    family: str
    lang: str
    compared: int
    label: str = ""
    key: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    experts: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    no_recommendation: str = ""
    search: Mapping[str, Any] = field(default_factory=dict)
    held_out: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""
    beats: tuple[Versus, ...] = ()
    alike: Mapping[str, float | None] = field(default_factory=dict)
    unreadable: str = ""
    export: str = ""
    serve: str = ""

    @property
    def unfinished(self) -> bool:
        """Whether trials are still to come."""
        return self.state in ("running", "stopped")


def of_records(
    records: RecordsReader, final: StudyResult, report: Report, *, running: bool
) -> Best:
    """The best recipe of a study by its records.

    Args:
        records: the study.
        final: what it comes to.
        report: its final table.
        running: whether a driver holds it.
    """
    unfinished = "running" if running else "stopped"
    known = Best(
        study=str(records.path),
        state="finished" if records.head().finished else unfinished,
        family=final.config.family.name,
        lang=final.config.lang,
        compared=len(scored(records.trials)),
        no_recommendation=report.no_recommendation,
        split=report.split,
        beats=_beats(report),
        unreadable=" ".join(unreadable_note(records)),
    )
    if final.choice is None:
        return known
    main, record = targets.TARGETS[0].score, final.choice.record
    alike = report.selection_bias.alike if report.selection_bias else ()
    return replace(
        described(
            known,
            record,
            records.ended("held_out").get(record.key),
            final.n_layers,
            Family(**final.config.family.model_dump()),
            f"--study {shlex.quote(str(records.path))}",
        ),
        reason=final.choice.reason,
        alike={r.label: r.value(main) for r in alike},
    )


def described(
    known: Best, record: Record, held_out: Record | None, n_layers: int, family: Family, named: str
) -> Best:
    """What is known of a study, with its best recipe.

    Args:
        known: of the study.
        record: the recipe's trial on search items.
        held_out: the same on held-out items, if there is one.
        n_layers: the model's number of layers L.
        family: where its models are.
        named: how `search.export` is told of the study.
    """
    force = " --force" if known.no_recommendation else ""
    places = family.sources(known.lang)
    used = sources_of(record.recipe)
    return replace(
        known,
        label=record.label,
        key=record.key,
        recipe=to_dict(record.recipe),
        words=layers_of(record.recipe, n_layers).in_words(),
        experts={name: masked(str(places[name])) for name in used if name in places},
        search={name: asdict(score) for name, score in record.scores.items()},
        held_out={n: asdict(s) for n, s in held_out.scores.items()} if held_out else {},
        export=f"python -m search.export {named} --out merged{force}",
        serve="vllm serve merged --host 127.0.0.1",
    )


def _beats(report: Report) -> tuple[Versus, ...]:
    best, main = report.best, targets.TARGETS[0].score
    if best is None:
        return ()
    found = []
    for rival, what in _RIVALS.items():
        other = report.rivals.get(rival)
        if other is None:
            continue
        paired = best.difference(main, rival)
        if paired is None:
            found.append(Versus(what, other.label, other.key))
        else:
            ends = paired.difference, paired.low, paired.high, paired.p_value
            found.append(Versus(what, other.label, other.key, *ends))
    return tuple(found)
