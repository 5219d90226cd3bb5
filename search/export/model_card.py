"""The README.md of an exported merge: what it is made of, how good it is, how to make and load it.

Owns the card's text and what is read of other checkpoints' cards (their licence). Knows nothing of
studies' folders, weights or engines.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from objectives import targets
from objectives.target import Target
from objectives.types import Score
from search.checkpoints.cache import belongs
from search.common.masking import masked
from search.common.values import in_markdown, short, tidy
from search.merging.layers import in_words
from search.merging.plan import Mix, Plan, is_attention, layer_of
from search.merging.recipe import Recipe, label, to_dict
from search.records.record import Record

NOT_STATED = "not stated"
_FRONT_BYTES = 16_384
"""How much of another model's card is read: its front matter comes first."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+").fullmatch
_BESIDES = {"in_language": "answers in the language", "lpr": "LPR", "wpr": "WPR"}
"""Scores that the card shows beside the targets -> what it calls them."""


@dataclass(frozen=True)
class Ingredient:
    """A checkpoint that the merge is made of.

    Attributes:
        source: its name in the family, such as `task/0`.
        model: its id on the Hugging Face hub, or its URL, or the name of its folder.
        revision: which weights these are, as far as known; empty for a plain folder.
        licence: as its own card states it.
        files: file with weights -> SHA-256 of its bytes; empty where no weights are taken from it.
    """

    source: str
    model: str
    revision: str
    licence: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Merge:
    """All that a card says.

    Attributes:
        name: of the exported folder.
        family, lang, recipe, n_layers: what was merged, into how many layers.
        plan: how every tensor is made.
        parts: the checkpoints, base first.
        remarks: what is to be known of them: what was cast or cut, settings that differ.
        multimodal: whether the export has more than a text decoder.
        mergekit: whether there is a mergekit.yaml.
        study: name of the study that scored it; empty if none did.
        reason: why the study chose it; empty if it did not.
        doubt: why that is no recommendation; empty where it is one, or was not chosen.
        searched: number of recipes that the study scored on search items.
        search: its trial on search items.
        held_out: its trial on held-out items.
    """

    name: str
    family: str
    lang: str
    recipe: Recipe
    n_layers: int
    plan: Plan
    parts: Sequence[Ingredient]
    remarks: Sequence[str] = ()
    multimodal: bool = False
    mergekit: bool = False
    study: str = ""
    reason: str = ""
    doubt: str = ""
    searched: int = 0
    search: Record | None = None
    held_out: Record | None = None


def model_card(merge: Merge) -> str:
    """The card as Markdown with YAML front matter."""
    parts = [
        replace(
            part,
            model=in_markdown(masked(part.model)),
            revision=in_markdown(masked(part.revision)),
            licence=in_markdown(masked(part.licence)),
        )
        for part in merge.parts
    ]
    merge = replace(  # before a table breaks an address apart
        merge,
        parts=parts,
        study=in_markdown(merge.study),
        doubt=in_markdown(merge.doubt),
        reason=in_markdown(merge.reason),
    )
    title = in_markdown(f"{merge.family}: {label(merge.recipe, merge.lang, merge.n_layers)}")
    intro = (
        f"A merge of {len(merge.parts)} checkpoints of one architecture, made without training. "
        "Where layers are swapped (Layer Swapping, arXiv 2410.01335), the bottom and upper ones "
        "come from a language expert and the middle from a task expert."
    )
    sections = {
        "Recipe": _recipe(merge),
        "Checkpoints": _checkpoints(merge),
        "Scores": _scores(merge),
        "Use": _use(merge),
        "Make it again": _again(merge),
        "Licence": _licence(merge),
    }
    body = "\n\n".join(f"## {head}\n\n{text}" for head, text in sections.items())
    return masked(f"---\n{_front(merge)}---\n\n# {title}\n\n{intro}\n\n{body}\n")


def licence_of(folder: Path) -> str:
    """The licence that a checkpoint's README.md states in its front matter.

    Of a text that somebody else wrote: only its beginning is read, and only words are taken.
    """
    file = folder / "README.md"
    if not belongs(file, folder):
        return NOT_STATED
    try:
        with file.open("rb") as opened:
            start = opened.read(_FRONT_BYTES).decode("utf-8", "ignore")
        # its base loader knows no merge keys, whose lists may double with every line
        stated = yaml.load(start.split("---\n", 2)[1], yaml.BaseLoader)
    except (OSError, IndexError, yaml.YAMLError, RecursionError):
        return NOT_STATED
    found = stated.get("license") if isinstance(stated, dict) else None
    words = [w for w in (found if isinstance(found, list) else [found]) if isinstance(w, str) and w]
    if not words:
        return NOT_STATED
    name = stated.get("license_name")
    return short(", ".join(words) + (f" ({name})" if name and isinstance(name, str) else ""))


def _front(merge: Merge) -> str:
    models = list(dict.fromkeys(part.model for part in merge.parts if _HUB_ID(part.model)))
    licences = {part.licence for part in merge.parts}
    front: dict[str, Any] = {
        # the hub takes each for an id: a folder's name would be somebody else's model
        **({"base_model": models, "base_model_relation": "merge"} if models else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": [merge.lang],
        "tags": ["merge", "layer-swap"],
    }
    if len(licences) == 1 and NOT_STATED not in licences:
        front["license"] = licences.pop().partition(" (")[0]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _recipe(merge: Merge) -> str:
    numbers = {k: v for k, v in tidy(to_dict(merge.recipe)).items() if k != "decoding"}
    rows = [[str(name), str(value)] for name, value in numbers.items()]
    text = _table(["", "value"], rows)
    text += "\n\n" + _table(["layers", "made of"], _layers(merge))
    decoding = to_dict(merge.recipe).get("decoding")
    if decoding:
        told = ", ".join(f"{name} {value}" for name, value in decoding.items())
        text += f"\n\nLCPR was measured with {told}, which is no part of the weights."
    return text


def _layers(merge: Merge) -> list[list[str]]:
    """Runs of layers that are made alike, bottom first, then what has no layer number."""
    made: dict[int, dict[str, Mix]] = {}
    outside: dict[Mix, list[str]] = {}
    for name, mix in merge.plan.items():
        layer = layer_of(name)
        if layer is None:
            outside.setdefault(mix, []).append(f"`{name}`")
        else:
            half = "attention" if is_attention(name) else "MLP"
            made.setdefault(layer, {})[half] = mix
    rows = []
    for halves, run in itertools.groupby(sorted(made), key=lambda layer: made[layer]):
        numbers = list(run)
        span = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        if len(set(halves.values())) == 1:
            rows.append([span, in_words(halves.popitem()[1])])
        else:
            rows += [[f"{span}, {half}", in_words(mix)] for half, mix in sorted(halves.items())]
    return rows + [[", ".join(names), in_words(mix)] for mix, names in outside.items()]


def _checkpoints(merge: Merge) -> str:
    rows = [
        [part.source, f"`{part.model}`", part.revision, part.licence, _hashes(part)]
        for part in merge.parts
    ]
    columns = ["source", "model", "revision", "licence", "weights (SHA-256 of each file)"]
    first = (
        "Configuration, generation configuration and tokenizer are the base's. `task` is an "
        f"expert of the task, `lang` of the language `{merge.lang}`."
    )
    remarks = "".join(f"\n- {remark}" for remark in (*merge.remarks, *_owned(merge)))
    return f"{first}\n\n{_table(columns, rows)}" + (f"\n{remarks}" if remarks else "")


def _owned(merge: Merge) -> list[str]:
    """Rows of the embeddings that one checkpoint alone gives."""
    rows = sorted({entry for mix in merge.plan.values() for entry in mix.rows})
    sources = dict.fromkeys(source for _, source in rows)
    return [
        f"rows {', '.join(str(row) for row, of in rows if of == source)} of the embeddings, whose "
        f"tokens no other of them knows, are those of {source}"
        for source in sources
    ]


def _hashes(part: Ingredient) -> str:
    if not part.files:
        return "no weights are taken from it"
    return "<br>".join(f"`{file}` {digest}" for file, digest in part.files.items())


def _scores(merge: Merge) -> str:
    trials = {"search items": merge.search, "held-out items": merge.held_out}
    known = {split: record for split, record in trials.items() if record and record.scores}
    if not known:
        return "None is on record."
    optimised = [one for target in targets.TARGETS for one in (target, *target.of)]
    shown = {target.score: _named(target) for target in optimised} | _BESIDES
    rows = [
        [words, *(_score(record.scores.get(name)) for record in known.values())]
        for name, words in shown.items()
        if any(name in record.scores for record in known.values())
    ]
    text = [f"From study `{merge.study}`, with 95% intervals and number of items."]
    text += [f"**The study recommends no recipe**: {merge.doubt}"] if merge.doubt else []
    text += [merge.reason] if merge.reason else []
    text += [_table(["", *known], rows)]
    text += [
        f"{record.split.replace('_', '-')} items: {record.state}, {in_markdown(record.reason)}"
        for record in known.values()
        if record.state != "scored"
    ]
    if merge.searched > 1:
        text.append(
            f"Search scores are optimistic: {merge.searched} recipes were scored on those items. "
            "Only held-out scores are to be quoted."
        )
    return "\n\n".join(text)


def _named(target: Target) -> str:
    """Such as `MGSM accuracy`; an objective's own score needs no other name."""
    named = target.objective.lower() in target.people.lower()
    return target.people if named else f"{target.objective.upper()} {target.people}"


def _score(score: Score | None) -> str:
    if score is None or score.value is None or score.low is None or score.high is None:
        return "not defined"
    ends = f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return f"{100 * score.value:.1f}% ({ends}; {score.n_scored})"


def _use(merge: Merge) -> str:
    loader = "AutoModelForImageTextToText" if merge.multimodal else "AutoModelForCausalLM"
    return f"""From the folder that holds `{merge.name}`, with transformers:

```python
from transformers import {loader}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("./{merge.name}")
model = {loader}.from_pretrained("./{merge.name}", dtype="auto")
tokens = tokenizer.encode("2 + 3 =", return_tensors="pt")
print(tokenizer.decode(model.generate(tokens, max_new_tokens=32)[0]))
```

Or behind an OpenAI-compatible server, with vLLM:

```
python -m vllm.entrypoints.openai.api_server --model ./{merge.name} --host 127.0.0.1
```"""


def _again(merge: Merge) -> str:
    same = "    # mergekit 0.1.5: the same merge"
    mergekit = f"mergekit-yaml {merge.name}/mergekit.yaml again{same}\n" if merge.mergekit else ""
    return f"""Where the checkpoints lie at the places that `family.yaml` names:

```
python -m search.export --family {merge.name}/family.yaml --lang {merge.lang} \\
    --recipe {merge.name}/recipe.json --out again
{mergekit}```"""


def _licence(merge: Merge) -> str:
    stated = "; ".join(f"`{part.model}`: {part.licence}" for part in merge.parts)
    return f"As the checkpoints' own cards state: {stated}. A merge is subject to all of them."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in x) + " |" for x in lines
    )
