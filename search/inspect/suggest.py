"""A search range for b, u, t_b, t_u from where the experts changed.

Bandarkar et al. 2024 (arXiv 2410.01335) put the language expert's layers where its changes are and
the math expert's where *its* changes are. As a rule: an expert's changed columns
(`search.inspect.expert_vectors`) are spread over the layers, in each a part of its whole. `lead` of
a layer is the language experts' part less the task experts' part (means over the experts of each
kind; it sums to 0). A swap *keeps* the lead of the layers it takes from the language expert, half
of it in transition layers, which are an average: 0 is what either expert keeps alone, 1 all that
both
changed. The best swap keeps the most. The suggested ranges hold what loses at most a tenth of that:
at each end every b with some t_b (u with some t_u), the other end being as in the best swap. Those
of b and u reach one layer further both ways, since the maps cannot say which layers fit together.

If the best swap keeps less than a fifth, the maps do not tell the experts' layers apart and the
whole model is to be searched. Changes are not importance: the map says where to look, the search
what is best. Pure: knows nothing of tensors and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

from search.merging.methods.layerwise import layers_of_blocks
from search.merging.space.layerwise import blocks_of

LOSS = 0.1
"""Share of what the best swap keeps that may be lost within the ranges, before they are widened."""
MARGIN = 1
"""Layers by which the ranges of b and u are widened: the paper's 3..5 is 4 and one either way."""
LEAST = 0.2
"""The best swap must keep this much at least, or the maps say nothing."""

LayerRange = tuple[int, int]


@dataclass(frozen=True)
class Suggestion:
    """Ranges, both ends included; None asks for the whole model (`search.merging.space.swap`).

    Attributes:
        b, u, t_b, t_u: lowest and highest count.
        lead: for each layer, the language experts' part of their change less the task experts'.
        shares: for each layer, the language experts' part of both; empty where a part is unknown.
        why: one sentence for the reader.
    """

    b: LayerRange | None
    u: LayerRange | None
    t_b: LayerRange | None
    t_u: LayerRange | None
    lead: tuple[float, ...]
    shares: tuple[float, ...]
    why: str


def suggest(lang: Sequence[Sequence[float]], task: Sequence[Sequence[float]]) -> Suggestion:
    """Ranges for a family.

    Args:
        lang: for each language expert, the share of changed columns in each layer.
        task: the same for each task expert.
    """
    n_layers = len(lang[0])
    ours, theirs = (_mean_parts(experts) for experts in (lang, task))
    if ours is None or theirs is None:
        kind = "language" if ours is None else "task"
        why = f"no column of the {kind} experts passes the threshold: search the whole model"
        return Suggestion(None, None, None, None, (0.0,) * n_layers, (), why)
    both = list(zip(ours, theirs, strict=True))
    lead = tuple(of - other for of, other in both)
    shares = tuple(of / (of + other) if of + other else 0.5 for of, other in both)
    sums = [0.0, *accumulate(lead)]
    kept, b, end = max(
        ((sums[b] - sums[end], b, end) for end in range(n_layers + 1) for b in range(end)),
        key=lambda found: (round(found[0], 9), -found[1], found[2]),  # of equals the least swapped
    )
    if kept < LEAST:
        why = (
            f"the best swap keeps {kept:.0%} of what the experts changed, less than {LEAST:.0%}: "
            "they changed the same layers; search the whole model"
        )
        return Suggestion(None, None, None, None, lead, shares, why)
    u, centre = n_layers - end, (b + end) // 2
    bottom = _ranges(lead, b, centre, end, LOSS * kept)
    top = _ranges(lead[::-1], u, n_layers - centre, n_layers - b, LOSS * kept)
    why = (
        f"b={b} u={u} keeps most of what the experts changed, {kept:.0%}; the ranges hold what "
        f"loses at most {LOSS:.0%} of that, and one layer more both ways"
    )
    return Suggestion(bottom[0], top[0], bottom[1], top[1], lead, shares, why)


def _mean_parts(experts: Sequence[Sequence[float]]) -> list[float] | None:
    """Each layer's part of an expert's change, mean over the experts that changed at all."""
    changed = [shares for shares in experts if sum(shares) > 0]
    if not changed:
        return None
    parts = [[share / sum(shares) for share in shares] for shares in changed]
    return [sum(layer) / len(parts) for layer in zip(*parts, strict=True)]


def _ranges(
    lead: Sequence[float], best: int, reach: int, free: int, allowed: float
) -> tuple[LayerRange, LayerRange]:
    """Counts of whole and of transition layers at one end, counted from that end.

    Args:
        lead: layers in the order in which the end takes them.
        best: number of layers of the best swap.
        reach: most layers that the end may take whole; not less than `best`.
        free: layers that the other end leaves.
        allowed: loss that is suffered.
    """
    sums = [0.0, *accumulate(lead)]
    longest = max(
        1, len(lead) // 4
    )  # as `search.merging.space.swap` bounds transitions of the whole model
    good = [
        (whole, transition)
        for whole in range(reach + 1)
        for transition in range(min(longest, free - whole) + 1)
        if sums[best] - (sums[whole] + sums[whole + transition]) / 2 <= allowed + 1e-9
    ]
    counts, transitions = zip(*good, strict=True)
    lowest, highest = max(min(counts) - MARGIN, 0), min(max(counts) + MARGIN, reach)
    return (lowest, highest), (0, max(1, *transitions))


def space_yaml(suggestion: Suggestion, title: str) -> str:
    """The suggestion as a file that `search.run space=FILE.yaml` takes."""
    lines = [
        f"# Search range for {title}, read off its expert vectors by python -m search.inspect:",
        f"# {suggestion.why}.",
        "# What is not named here is as in conf/space/whole_model.yaml.",
    ]
    for name in ("b", "u", "t_b", "t_u"):
        found: LayerRange | None = getattr(suggestion, name)
        lines.append(f"{name}: {'null' if found is None else list(found)}")
    return "\n".join(lines) + "\n"


def layerwise_yaml(suggestion: Suggestion, title: str) -> str:
    """Where a search of shares by blocks may begin, as a file that `search.run space=` takes."""
    n_layers = len(suggestion.lead)
    blocks = layers_of_blocks(blocks_of(n_layers), n_layers)
    shares = suggestion.shares
    start = [round(fmean(shares[i] for i in own), 2) for own in blocks] if shares else []
    lines = [
        f"# Shares of blocks for {title}: start is read off its expert vectors by",
        "# python -m search.inspect: the language experts' part of what both kinds changed there.",
        "form: layerwise",
        "w_lang: {low: 0.0, high: 1.0, step: 0.25}",
        f"blocks: {len(blocks)}",
        f"start: {start}",
    ]
    return "\n".join(lines) + "\n"
