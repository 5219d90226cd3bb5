"""What a study's models and data are, as short hashes: a resumed study must find them unchanged.

Owns what is hashed and how a difference is said. Of weights a sample is read, so that nine 8B
models take seconds: it tells another model, another training or a broken copy, not the change of a
few numbers in the middle of a tensor. Data are hashed whole. Knows nothing of studies' files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from objectives.types import Objective
from objectives.words import counted
from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import FittedFamily, is_remote
from search.checkpoints.files import is_adapter
from search.checkpoints.sources.lora import adapter_files
from search.common.errors import StudyError

BLOCK = 4096
"""Bytes read at the beginning, the middle and the end of each tensor."""

DIGITS = 16
BESIDE_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
"""Small files of a checkpoint that change what its weights compute, or its prompts."""


@dataclass(frozen=True)
class Fingerprints:
    """What study.yaml says of a study's models and data; fields as in `StudyHead`."""

    family: Mapping[str, Mapping[str, str]]
    data: Mapping[str, str]


def take(
    family: FittedFamily, objectives: Sequence[Objective], files: Mapping[str, Path | None]
) -> Fingerprints:
    """Fingerprints of all checkpoints of a family, and hashes of all data.

    Args:
        family: the checkpoints, with their weights.
        objectives: hashed by every prompt, its decoding, and the expected answers of both splits.
        files: name -> a file that decides scores, such as a word list; None is left out.
    """
    with ThreadPoolExecutor(8) as readers:  # waits for disks and network, mostly
        prints = readers.map(lambda name: _of_source(family, name), family.sources)
        models = {
            name: {"fingerprint": found}
            | ({"revision": family.revisions[name]} if name in family.revisions else {})
            for name, found in zip(family.sources, prints, strict=True)
        }
    data = {objective.name: of_objective(objective) for objective in objectives}
    data |= {name: _short([file.read_bytes()]) for name, file in files.items() if file}
    return Fingerprints(models, data)


def _of_source(family: FittedFamily, name: str) -> str:
    """The same whether or not models from elsewhere are fetched to this machine.

    A model from elsewhere is told by its place and state, an adapter by its files and its base.
    """
    place = family.locations[name]
    if is_remote(place):
        return _short([place.encode()])
    if is_adapter(Path(place)):
        own = (hashlib.sha256(file.read_bytes()).digest() for file in adapter_files(Path(place)))
        return _short([*own, _of_source(family, "base").encode()])
    return of_checkpoint(family.sources[name])


def of_checkpoint(checkpoint: Checkpoint) -> str:
    """Hash of a checkpoint's configuration, tokenizer, headers, sizes and a sample of its weights.

    Neither its folder nor times of change count: a copy has the same fingerprint.
    """
    return _short(_parts(checkpoint))


def of_objective(objective: Objective) -> str:
    """Hash of both splits: every prompt with its decoding, every item with its expected answer."""
    requests = [repr(objective.requests(split)).encode() for split in ("search", "held_out")]
    return _short([*requests, str(getattr(objective, "split_hash", "")).encode()])


def refuse_changed(before: Fingerprints, now: Fingerprints, study: str) -> None:
    """Refuse to go on with models or data that are not those of the study's trials.

    Raises:
        StudyError: naming each expert and objective that differs.
    """
    faults = []
    for name in sorted(before.family.keys() | now.family.keys()):
        was, found = before.family.get(name, {}), now.family.get(name, {})
        if was.get("fingerprint") != found.get("fingerprint"):
            faults.append(f"model {name}: {_model(was)} before, {_model(found)} now")
    for name in sorted(before.data.keys() | now.data.keys()):
        if before.data.get(name) != now.data.get(name):
            was_, is_ = before.data.get(name, "nothing"), now.data.get(name, "nothing")
            faults.append(f"data of {name}: {was_} before, {is_} now")
    if faults:
        raise StudyError(
            f"{counted(len(faults), 'thing')} changed since {study} began, and its trials must not "
            "be mixed with others:\n  "
            + "\n  ".join(faults)
            + "\nPut the files back, or begin a new "
            f"study (--import {study} proposes the best recipes of this one first)"
        )


def _model(entry: Mapping[str, str]) -> str:
    words = [entry.get("fingerprint", "nothing"), entry.get("revision", "")]
    return " ".join(filter(None, words))


def _parts(checkpoint: Checkpoint) -> Iterator[bytes]:
    for name in BESIDE_WEIGHTS:
        file = checkpoint.path / name
        if file.is_file():
            yield name.encode()
            yield file.read_bytes()
    names = {info.file for info in checkpoint.whole().tensors.values()}
    if checkpoint.derived is not None:  # not merged on this machine
        names = {file.name for file in checkpoint.path.glob("*.safetensors")}
    for name in sorted(names):
        yield name.encode()
        yield from _sample(checkpoint.path / name)


def _sample(file: Path) -> Iterator[bytes]:
    """Size, header and blocks of every tensor of a safetensors file."""
    yield str(file.stat().st_size).encode()
    with file.open("rb", buffering=0) as opened:
        length = opened.read(8)
        header = opened.read(int.from_bytes(length, "little"))
        yield header
        data = 8 + len(header)
        entries: dict[str, dict[str, list[int]]] = json.loads(header)
        entries.pop("__metadata__", None)
        for begin, end in sorted(tuple(entry["data_offsets"]) for entry in entries.values()):
            for place in sorted({begin, max(begin, (begin + end - BLOCK) // 2), end - BLOCK}):
                opened.seek(data + max(begin, place))
                yield opened.read(min(BLOCK, end - begin))


def _short(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()[:DIGITS]
