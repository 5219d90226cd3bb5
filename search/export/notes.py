"""The text files of an export: model card, recipe.json, family.yaml, mergekit.yaml if it can be.

Owns what is told of the checkpoints: names, revisions, SHA-256 of the files that weights are taken
from. Whole files are hashed, because two experts of one base have the same header; in the Hugging
Face hub's cache a file's name is its hash already, and nothing is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from objectives import targets
from search.checkpoints.checkpoint import Checkpoint, revision_of
from search.checkpoints.family import Family, FittedFamily, Location, is_remote
from search.checkpoints.sources.url import is_url
from search.checkpoints.towers import is_multimodal
from search.common.errors import CheckpointError
from search.export.mergekit_yaml import has_mergekit_form, mergekit_yaml
from search.export.model_card import Ingredient, Merge, licence_of, model_card
from search.merging.plan import Plan
from search.merging.recipe import key, label, to_dict
from search.merging.source import Source
from search.records.record import Record

_READ = 16 * 1024**2  # bytes hashed at a time
_BLOB = re.compile(r"[0-9a-f]{64}").fullmatch


def bytes_to_hash(family: FittedFamily, merged: Plan) -> int:
    """How much `parts_of` will read, in bytes."""
    files = (file for source in used(merged) for file in _files(family.sources[source]))
    return sum(file.stat().st_size for file in files if not _known(file))


def parts_of(
    family: FittedFamily, merged: Plan, advance: Callable[[int], None] = lambda size: None
) -> list[Ingredient]:
    """The checkpoints of a merge, base first; those that weights are taken from are hashed.

    Args:
        family: base and the sources of the plan.
        merged: the plan.
        advance: told of every piece that was hashed, in bytes.

    Raises:
        CheckpointError: a file cannot be read.
    """
    parts = []
    for source, checkpoint in family.sources.items():
        files = _files(checkpoint) if source in used(merged) else []
        place = _model(family, source)
        parts.append(
            Ingredient(
                source,
                Path(place).name if place.startswith("/") else place.partition("@")[0],
                checkpoint.revision,
                licence_of(checkpoint.path),
                {file.name: _known(file) or _digest(file, advance) for file in files},
            )
        )
    return parts


def used(merged: Plan) -> set[str]:
    """The sources that weights are taken from."""
    return {source for mix in merged.values() for source in mix.sources}


def for_mergekit(family: FittedFamily, merged: Plan) -> bool:
    """Whether mergekit has a form for a merge: it wants all of one class, a text decoder alone."""
    beside = [c for c in family.sources.values() if c.carried or is_multimodal(c.config)]
    return has_mergekit_form(merged) and not beside


def notes(merge: Merge, family: Family, fitted: FittedFamily) -> dict[str, str]:
    """File name -> text.

    Args:
        merge: what was merged.
        family: the whole family, whose experts the recipe numbers.
        fitted: those of its checkpoints that the merge needs.
    """
    recipe, n_layers = merge.recipe, merge.n_layers
    said = {
        "recipe": to_dict(recipe),
        "key": key(recipe, n_layers),
        "label": label(recipe, merge.lang, n_layers),
        "family": merge.family,
        "lang": merge.lang,
        "study": merge.study,
        "held_out": _values(merge.held_out),
        "checkpoints": [asdict(part) for part in merge.parts],
    }
    models = {name: _model(fitted, name) for name in fitted.sources}
    adapters = [name for name, checkpoint in fitted.sources.items() if _is_adapter(checkpoint)]
    dtype = next(iter(fitted.base.tensors.values())).dtype
    places = _family_yaml(family, merge.lang, fitted.sources)
    mergekit = {}
    if merge.mergekit:
        mergekit["mergekit.yaml"] = mergekit_yaml(
            recipe, models, fitted.names, n_layers, dtype, adapters
        )
    return {
        "README.md": model_card(merge),
        "recipe.json": json.dumps(said, indent=2, ensure_ascii=False) + "\n",
        **mergekit,
        "family.yaml": yaml.safe_dump(places, sort_keys=False, allow_unicode=True),
    }


def _values(record: Record | None) -> dict[str, float]:
    """The targets' values, as shares with the digits that MLflow's percentages have as well."""
    values = {t.score: record.value(t.score) for t in targets.TARGETS} if record else {}
    return {name: round(value, 9) for name, value in values.items() if value is not None}


def _model(family: FittedFamily, source: str) -> str:
    """Where a model comes from: `org/name@commit`, a URL, or an absolute folder.

    Never the place in our cache where a merged adapter or converted weights are kept, which may be
    deleted; but of a whole model at a URL its copy there, since only we read URLs.
    """
    checkpoint, place = family.sources[source], family.locations[source]
    if is_url(place):
        return place if _is_adapter(checkpoint) else str(checkpoint.path.resolve())
    return place if is_remote(place) else revision_of(Path(place)) or str(Path(place).resolve())


def _is_adapter(checkpoint: Checkpoint) -> bool:
    derived = checkpoint.derived
    return checkpoint.revision.startswith("LoRA ") if derived is None else derived.kind == "LoRA"


def _family_yaml(family: Family, lang: str, opened: Mapping[str, Checkpoint]) -> dict[str, Any]:
    """The family for one language as a YAML says it; branches of the hub become commits."""

    def place(source: str, location: Location) -> str:
        if not is_remote(location):
            return str(Path(location).expanduser().resolve())
        checkpoint = opened.get(source)
        return (revision_of(checkpoint.path) if checkpoint else "") or str(location)

    found = {source: place(source, at) for source, at in family.sources(lang).items()}
    known = {Source.of(source): at for source, at in found.items()}
    data = {
        "name": family.name,
        "base": found["base"],
        "task": [at for source, at in known.items() if source.kind == "task"],
        "language": {lang: [at for source, at in known.items() if source.kind == "lang"]},
    }
    references = {s.name: at for s, at in known.items() if s.kind == "reference"}
    data |= {"references": references} if references else {}
    return data | ({"allow_bin": True} if family.allow_bin else {})


def _files(checkpoint: Checkpoint) -> list[Path]:
    return [
        checkpoint.path / name
        for name in sorted({t.file for t in checkpoint.whole().tensors.values()})
    ]


def _known(file: Path) -> str:
    """The hash that the hub's cache names its files by, else empty."""
    real = file.resolve()
    return real.name if real.parent.name == "blobs" and _BLOB(real.name) else ""


def _digest(file: Path, advance: Callable[[int], None]) -> str:
    total = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while data := opened.read(_READ):
                total.update(data)
                advance(len(data))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
    return total.hexdigest()
