"""Figures of how the search went: progress, what mattered, where time and tokens went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from search.records.record import Record
from search.report.material import Material
from search.report.plot import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    Plot,
    axis,
    points,
    text,
)
from search.report.scores import beside
from search.study.proposing.importance import FEWEST, importance

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_STEPS = {"materialise": SKY, "generate": BLUE, "score": GREEN, "other": MUTED}
_PHASES = {"baseline": "baselines", "final": "final table"}


def progress(study: Material) -> Plot | None:
    """The first target of every trial in the order of their ends, and the best swap so far."""
    main = study.targets[0]
    ended = [r for r in study.search if r.value(main.score) is not None and r.state == "scored"]
    if not ended:
        return None
    begin = min(r.ended - r.seconds.get("total", 0.0) for r in ended)
    keys = {r.key for r in study.swaps}
    groups = {
        "layer swap": (BLUE, "circle", [r for r in ended if r.key in keys]),
        "other recipe": (MUTED, "diamond", [r for r in ended if r.key not in keys]),
    }
    best: list[Record] = []
    for record in groups["layer swap"][2]:
        new = main.gain(record.value(main.score) or 0)
        if not best or new > main.gain(best[-1].value(main.score) or 0):
            best.append(record)
    traces: list[tuple[list[Record], dict[str, Any]]] = [
        (own, {"mode": "markers", "name": text(f"{name} ({len(own)})"), "hoverinfo": "text",
               "text": [beside(study, r) for r in own],
               "marker": {"color": colour, "symbol": symbol, "size": 7, "opacity": 0.8}})
        for name, (colour, symbol, own) in groups.items()
        if own
    ]  # fmt: skip
    if best:
        line = {"color": ORANGE, "width": 2.5, "shape": "hv"}
        more = {"mode": "lines", "name": "best swap so far", "line": line, "hoverinfo": "skip"}
        traces.append(([*best, ended[-1]], more))
    numbers = {r.key: number for number, r in enumerate(ended, 1)}
    by_number, by_time, data = [], [], []
    for own, more in traces:
        values = [points(r.value(main.score)) for r in own]
        if more["mode"] == "lines":
            values[-1] = values[-2] if len(values) > 1 else values[-1]
        by_number.append([numbers[r.key] for r in own])
        by_time.append([round((r.ended - begin) / 60, 3) for r in own])
        data.append({"type": "scatter", "x": by_number[-1], "y": values, **more})
    layout = {
        "xaxis": axis(""),
        "yaxis": axis(f"{main.people} on search items (%)"),
        "legend": {"orientation": "h", "y": -0.2},
    }
    about = "Trials that were scored on all search items, as they ended; the line is the best swap."
    choices: dict[str, dict[str, Sequence[Any]]] = {
        "by number of the trial": {"x": by_number},
        "by minutes": {"x": by_time},
    }
    return Plot("progress", "Progress", about, data, layout, choices=choices)


def what_matters(study: Material) -> Plot | None:
    """How much each parameter decides each target; None where too few trials say."""
    found = {t.people: importance(study.swaps, t) for t in study.targets}
    found = {name: shares for name, shares in found.items() if shares}
    if not found:
        return None
    names = sorted({n for shares in found.values() for n in shares}, key=_greatest(found))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": text(people),
            "y": names,
            "x": [points(shares.get(name, 0.0)) for name in names],
            "marker": {"color": colour},
        }
        for (people, shares), colour in zip(found.items(), _COLOURS, strict=False)
    ]
    about = (
        "How much each parameter tells the best tenth of the layer swaps from the others "
        "(PED-ANOVA, by Optuna). It follows what was tried, so it is a hint and no test; a share "
        f"of 100% would be all of it. It takes {FEWEST} swaps at least."
    )
    layout = {"barmode": "group", "xaxis": axis("share of the importance (%)"), "yaxis": axis("")}
    return Plot("importance", "Which parameter matters", about, data, layout, 360)


def _greatest(found: Mapping[str, Mapping[str, float]]) -> Any:
    first = next(iter(found.values()))
    return lambda name: (first.get(name, 0.0), name)


def costs(study: Material) -> Plot | None:
    """Seconds of engines by phase and step; None where no trial has times."""
    phases = list(dict.fromkeys(phase_of(r) for r in study.records.trials))
    spent = {phase: _seconds(study.records.trials, phase) for phase in phases}
    if not any(sum(steps.values()) for steps in spent.values()):
        return None
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": step,
            "y": [text(phase) for phase in phases],
            "x": [round(spent[phase][step] / 60, 3) for phase in phases],
            "marker": {"color": colour},
        }
        for step, colour in _STEPS.items()
    ]
    about = (
        "Minutes of engines, all of them added up: weights rewritten (materialise), answers "
        "generated, answers scored, and the rest (an engine's start, waiting, failures)."
    )
    layout = {
        "barmode": "stack",
        "xaxis": axis("minutes of engines"),
        "yaxis": axis("", autorange="reversed"),
        "legend": {"orientation": "h", "y": -0.3, "traceorder": "normal"},
    }
    return Plot("costs", "Where the time went", about, data, layout, 140 + 45 * len(phases))


def phase_of(record: Record) -> str:
    """What a trial was for, in words."""
    return _PHASES.get(record.origin, record.origin)


def _seconds(trials: Iterable[Record], phase: str) -> dict[str, float]:
    found = dict.fromkeys(_STEPS, 0.0)
    for record in trials:
        if phase_of(record) == phase:
            known = {step: record.seconds.get(step, 0.0) for step in _STEPS if step != "other"}
            for step, seconds in known.items():
                found[step] += seconds
            total = record.seconds.get("total", 0.0)
            found["other"] += max(0.0, total - sum(known.values()))
    return found


def spent(study: Material) -> Iterator[dict[str, object]]:
    """A row of numbers for each phase, and one for all of them."""
    trials = list(study.records.trials)
    for phase in [*dict.fromkeys(map(phase_of, trials)), ""]:
        own = [r for r in trials if phase in ("", phase_of(r))]
        generating = sum(r.seconds.get("generate", 0.0) for r in own)
        tokens = sum(r.tokens for r in own)
        yield {
            "phase": phase or "all",
            "trials": len(own),
            "stopped": sum(r.state == "stopped" for r in own),
            "lost": sum(r.state in ("failed", "infeasible") for r in own),
            "minutes": f"{sum(r.seconds.get('total', 0.0) for r in own) / 60:.1f}",
            "tokens": f"{tokens:,}",
            "speed": f"{tokens / generating:,.0f}" if generating else "–",
        }
