"""Two tokenizers compared by what they do: the tokens that they make of a text.

Owns which of a tokenizer's files count and what in them: pieces and their numbers, merges, the
text's normalisation and splitting, what is put before and after it. How a file spells it, how
tokens become text again, padding and truncation do not. A token that one of the two alone knows, in
a row that the other does not use, is no difference; it is told. Knows nothing of weights.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from objectives import apart
from objectives.bounds import read_whole
from objectives.words import counted
from search.checkpoints.files import POINTER, is_lfs_pointer, read_json
from search.common.errors import CheckpointError
from search.common.values import short, some

FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
"""Files that say which pieces there are; each is compared with its namesake."""

_CONFIG, _SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
_ADDED = "added_tokens.json"

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
# Names that publishers give to rows which they leave to others.
_PLACEHOLDER = re.compile(
    r"reserved|unused|extra_?(id_?)?\d|placeholder|dummy|<SPECIAL_|\[control_"
)
_PARTS = ("normalizer", "pre_tokenizer")


@dataclass(frozen=True)
class Tokenizer:
    """What a tokenizer's file says.

    Attributes:
        numbers: piece -> its number, the row of its embedding; added tokens among them.
        added: added token -> its flags, in the order of `_FLAGS`.
        kind: of the model, such as BPE; empty where the file does not say.
        settings: further settings of the model that are on.
        merges: pairs in their order; empty where the file has none.
        scores: piece -> score of a Unigram model.
        parts: `normalizer` and `pre_tokenizer`, as written.
        framing: numbers that are put before and after a text; else what is written, as JSON.
    """

    numbers: Mapping[str, int]
    added: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    kind: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    merges: tuple[tuple[str, str], ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(default_factory=dict)
    framing: Any = ((), ())

    @property
    def twice(self) -> list[str]:
        """Pieces whose number another piece has too: which one a text gives, no file says."""
        count = Counter(self.numbers.values())
        return [piece for piece, number in self.numbers.items() if count[number] > 1]


@dataclass(frozen=True)
class Difference:
    """How an expert's tokenizer differs from the base's.

    Attributes:
        faults: why it is another tokenizer; empty if it is not.
        notes: what is told of it.
        added: row -> token that the base does not know.
        lacking: row -> token of the base that the expert does not know.
        last: highest row that the expert's tokenizer, or else the base's, uses; -1: there is none.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    added: dict[int, str] = field(default_factory=dict)
    lacking: dict[int, str] = field(default_factory=dict)
    last: int = -1


Parse = Callable[[str, bytes], Tokenizer]
"""`parse`, or that with a memory: most experts' files are their base's."""


def parse(name: str, data: bytes) -> Tokenizer:
    """Read one of `FILES`.

    Args:
        name: which.
        data: its bytes.

    Raises:
        ValueError: it is of another shape.
    """
    if is_lfs_pointer(data):
        raise ValueError(f"it {POINTER}")
    if name == "tokenizer.model":
        return _of_sentencepiece(data)
    if name == "merges.txt":
        lines = data.decode("utf-8").split("\n")
        pairs = [line for line in lines if line.strip() and not line.startswith("#version")]
        return Tokenizer({}, merges=tuple(_pair(line.rstrip("\r")) for line in pairs))
    try:
        found = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if name == "vocab.json":
        return Tokenizer(_numbers(found))
    return _of_json(found)


def compare(base: Path, expert: Path, parse: Parse) -> Difference:
    """Compare the tokenizers of two folders; what a folder lacks is not compared.

    Args:
        base: the base's folder.
        expert: the expert's.
        parse: `parse`, or that with a memory.

    Raises:
        CheckpointError: a file cannot be read, or is of another shape.
    """
    wanted, own = (
        {name: _read(folder / name, parse) for name in FILES if (folder / name).is_file()}
        for folder in (base, expert)
    )
    if not wanted or not own:
        return Difference(last=_last(*own.values(), *wanted.values()))
    shared = [name for name in FILES if name in wanted and name in own]
    if not shared:  # the pieces are what different files have in common
        first, second = next(iter(wanted.values())), next(iter(own.values()))
        merges = [_merges(*found.values()) for found in (wanted, own)]
        merges = merges if all(merges) else [(), ()]
        return difference(
            Tokenizer(first.numbers, merges=merges[0]), Tokenizer(second.numbers, merges=merges[1])
        )
    found = difference(wanted[shared[0]], own[shared[0]])
    if found.faults and (twice := own[shared[0]].twice):
        found.faults.append(f"some of its pieces have one number: {some(twice)}")
        return found
    for name in shared[1:]:
        if faults := difference(wanted[name], own[name]).faults:
            found.faults.extend(f"{name}: {fault}" for fault in faults)
            return found
    if shared[0] != "tokenizer.json":
        return found
    configs = _object(base / _CONFIG), _object(expert / _CONFIG)
    ends = _ends(configs[0]), _ends(configs[1])
    further = [
        _further(folder, config, known[shared[0]])
        for folder, config, known in zip((base, expert), configs, (wanted, own), strict=True)
    ]
    if found.faults or ends[0] != ends[1] or further[0] != further[1]:
        return _as_loaded(base, expert, found, ends)
    return found


def difference(base: Tokenizer, expert: Tokenizer) -> Difference:
    """Compare two tokenizers, however their files are written."""
    found = Difference(last=_last(expert))
    say = found.faults.append
    if base.kind != expert.kind and base.kind and expert.kind:
        say(f"its model is {short(expert.kind, 60)}, the base's {short(base.kind, 60)}")
    for name in sorted(base.settings.keys() | expert.settings.keys()):
        own, wanted = expert.settings.get(name), base.settings.get(name)
        if own != wanted:
            own, wanted = short(repr(own), 60), short(repr(wanted), 60)
            say(f"its model has {name} {own}, the base's {wanted}")
    if base.merges != expert.merges:
        say(f"its merges are others ({len(expert.merges)}, the base has {len(base.merges)})")
    _compare_pieces(base, expert, found)
    for part in _PARTS:
        own, wanted = expert.parts.get(part), base.parts.get(part)
        if own != wanted and _plain(part, own) != _plain(part, wanted):
            say(f"its {part} is {_show(own, wanted)}, the base's {_show(wanted, own)}")
    if base.framing != expert.framing:
        say(
            f"its post_processor puts {short(expert.framing, 80)} around a text, the base's "
            f"{short(base.framing, 80)}"
        )
    return found


def _compare_pieces(base: Tokenizer, expert: Tokenizer, found: Difference) -> None:
    moved = [
        f"{piece!r} is {number}, in the base {base.numbers[piece]}"
        for piece, number in expert.numbers.items()
        if base.numbers.get(piece, number) != number
    ]
    if moved:
        which = counted(len(moved), "piece has another number", "pieces have other numbers")
        found.faults.append(f"{which}: {some(moved)}")
    at_base = {number: piece for piece, number in base.numbers.items()}
    at_expert = {number: piece for piece, number in expert.numbers.items()}
    for one, others, where, words in (
        (expert, at_base, found.added, "has pieces that the base lacks"),
        (base, at_expert, found.lacking, "lacks pieces of the base"),
    ):
        other = base if one is expert else expert
        alien = []
        for piece, number in one.numbers.items():
            if piece in other.numbers:
                continue
            there = others.get(number)
            renamed = there is not None and there not in one.numbers
            free = there is None or (renamed and _is_placeholder(there if one is expert else piece))
            if one.added and piece not in one.added or not free:
                alien.append(f"{piece!r} ({number})")
            elif not (one is base and renamed):
                where[number] = piece
        if alien:
            found.faults.append(f"it {words}: {some(alien)}")
    rows = [p for p in base.numbers if p in expert.numbers]
    off = [p for p in rows if not _close(base.scores.get(p), expert.scores.get(p))]
    if off and base.scores and expert.scores:
        which = counted(len(off), "piece has another score", "pieces have other scores")
        found.faults.append(f"{which}: {some(off)}")
    if not base.kind or not expert.kind:
        return
    plain = not any(t.parts.get("normalizer") for t in (base, expert))
    for piece in rows:
        own, wanted = expert.added.get(piece), base.added.get(piece)
        if plain and own and wanted:  # without a normalizer, `normalized` changes nothing
            own, wanted = own[:-1], wanted[:-1]
        if own != wanted:
            found.faults.append(
                f"its {short(repr(piece), 60)} is {_flags(own)}, the base's {_flags(wanted)}"
            )


def _flags(flags: tuple[bool, ...] | None) -> str:
    if flags is None:
        return "an ordinary piece"
    on = [name for name, value in zip(_FLAGS, flags, strict=False) if value]
    return f"added with {', '.join(on) or 'no flag'}"


def _is_placeholder(piece: str) -> bool:
    return bool(_PLACEHOLDER.search(piece))


def _last(*tokenizers: Tokenizer) -> int:
    """Highest number in the first of some tokenizers."""
    return max((n for t in tokenizers[:1] for n in t.numbers.values()), default=-1)


def _merges(*tokenizers: Tokenizer) -> tuple[tuple[str, str], ...]:
    """Merges of the first that has some."""
    return next((t.merges for t in tokenizers if t.merges), ())


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)  # float32 in some files


def _of_json(data: Any) -> Tokenizer:
    data = _mapping(data, "the file")
    model = _mapping(data.get("model"), "model")
    vocab = model.get("vocab")
    scores: dict[str, float] = {}
    if isinstance(vocab, list):
        for entry in vocab:
            if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
                raise ValueError(f"model.vocab has {short(entry, 60)}, not a piece and its score")
            if isinstance(entry[1], bool) or not isinstance(entry[1], int | float):
                raise ValueError(f"model.vocab has score {short(entry[1], 60)}")
            scores[entry[0]] = _float(entry[1])
        numbers = {entry[0]: place for place, entry in enumerate(vocab)}
    else:
        numbers = _numbers(vocab)
    added: dict[str, tuple[bool, ...]] = {}
    for entry in _list(data.get("added_tokens"), "added_tokens"):
        token = _mapping(entry, "an added token")
        content, number = token.get("content"), token.get("id")
        if not isinstance(content, str) or not isinstance(number, int) or not _is_number(number):
            raise ValueError(f"added_tokens has {short(token, 80)}, without a content and an id")
        added[content] = tuple(token.get(flag) is True for flag in _FLAGS)
        numbers[content] = number
    skipped = ("vocab", "merges", "type")
    settings = {n: v for n, v in model.items() if n not in skipped and not _is_off(v)}
    kind = model.get("type")
    _refuse_long_charsmap(data.get("normalizer"))
    return Tokenizer(
        numbers,
        added,
        kind if isinstance(kind, str) else "BPE" if "merges" in model else "Unigram",
        settings,
        tuple(map(_pair, _list(model.get("merges"), "model.merges"))),
        scores,
        {part: data.get(part) for part in _PARTS},
        _framing(data.get("post_processor")),
    )


def _refuse_long_charsmap(part: Any) -> None:
    """The library makes room for as much as the table's head says, up to 4 GiB, or dies of it."""
    if isinstance(part, list | dict):
        for inner in part.values() if isinstance(part, dict) else part:
            _refuse_long_charsmap(inner)
    if isinstance(part, dict) and isinstance(table := part.get("precompiled_charsmap"), str):
        data = base64.b64decode(table)
        if int.from_bytes(data[:4], "little") > len(data) - 4:
            raise ValueError("its precompiled_charsmap is cut off")


def _of_sentencepiece(data: bytes) -> Tokenizer:
    from sentencepiece import sentencepiece_model_pb2

    messages: Any = sentencepiece_model_pb2
    proto = messages.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception:  # protobuf's own kind
        proto.Clear()
    if not proto.pieces:
        raise ValueError("it is no SentencePiece model")
    spec, trainer = proto.normalizer_spec, proto.trainer_spec
    settings = {
        "model_type": trainer.model_type,
        "byte_fallback": trainer.byte_fallback,
        "treat_whitespace_as_suffix": trainer.treat_whitespace_as_suffix,
        "precompiled_charsmap": spec.precompiled_charsmap,
        "add_dummy_prefix": spec.add_dummy_prefix,
        "remove_extra_whitespaces": spec.remove_extra_whitespaces,
        "escape_whitespaces": spec.escape_whitespaces,
        "normalization_rule_tsv": spec.normalization_rule_tsv,
    }
    ordinary = messages.ModelProto.SentencePiece.NORMAL
    pieces = list(enumerate(proto.pieces))
    return Tokenizer(
        {piece.piece: number for number, piece in pieces},
        {p.piece: (False,) * len(_FLAGS) for _, p in pieces if p.type != ordinary},
        "SentencePiece",
        settings,
        scores={piece.piece: piece.score for _, piece in pieces},
    )


def _numbers(vocab: object) -> dict[str, int]:
    found = _mapping(vocab, "the vocabulary")
    for piece, number in found.items():
        if not _is_number(number):
            raise ValueError(f"the vocabulary numbers {short(repr(piece), 60)} {short(number, 60)}")
    return dict(found)


def _pair(merge: object) -> tuple[str, str]:
    parts = merge.split(" ", 1) if isinstance(merge, str) else merge
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) for p in parts):
        return parts[0], parts[1]
    raise ValueError(f"model.merges has {short(merge, 60)}, not a pair of pieces")


def _framing(processor: Any) -> Any:
    """Numbers before and after a text; what is not known here is taken as it is written."""
    try:
        return _ends_of(processor)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError):
        return json.dumps(processor, sort_keys=True)


def _ends_of(processor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kind = processor["type"] if processor is not None else "ByteLevel"
    if kind == "ByteLevel":  # offsets alone
        return (), ()
    if kind in ("BertProcessing", "RobertaProcessing"):
        return (processor["cls"][1],), (processor["sep"][1],)
    if kind == "Sequence":
        before: tuple[int, ...] = ()
        after: tuple[int, ...] = ()
        for part in processor["processors"]:
            first, last = _ends_of(part)
            before, after = first + before, after + last
        return before, after
    if kind != "TemplateProcessing":
        raise ValueError(kind)
    sides: tuple[list[int], list[int]] = ([], [])
    side = 0
    for step in processor["single"]:
        if "Sequence" in step:
            side = 1
        else:
            token = step["SpecialToken"]["id"]
            sides[side].extend(processor["special_tokens"][token]["ids"])
    return tuple(sides[0]), tuple(sides[1])


def _plain(name: str, part: Any) -> Any:
    """A normalizer or pre-tokenizer with its defaults filled in, as the tokenizers library does."""
    try:
        return _unwrapped(apart.call(filled_in, name, part))
    except apart.ApartError:
        return _unwrapped(part)


def filled_in(name: str, part: Any) -> Any:
    """What the tokenizers library makes of a part, whose expressions it compiles."""
    import tokenizers

    whole = dict.fromkeys(("truncation", "padding", *_PARTS, "post_processor", "decoder"))
    model = {"type": "BPE", "vocab": {}, "merges": []}
    whole |= {"version": "1.0", "added_tokens": [], "model": model, name: part}
    return json.loads(tokenizers.Tokenizer.from_str(json.dumps(whole)).to_str())[name]


def _unwrapped(part: Any) -> Any:
    """A sequence of one as that one, of none as nothing; without what only offsets hang on."""
    if not isinstance(part, dict):
        return part
    inner = next((part[k] for k in ("pretokenizers", "normalizers") if k in part), None)
    if part.get("type") == "Sequence" and isinstance(inner, list):
        steps: list[Any] = []
        for step in map(_unwrapped, inner):
            nested = isinstance(step, dict) and step.get("type") == "Sequence"
            steps += step["steps"] if nested else [step] if step is not None else []
        if len(steps) < 2:
            return steps[0] if steps else None
        return {"type": "Sequence", "steps": steps}
    return {name: value for name, value in part.items() if name != "trim_offsets"}


def _as_loaded(base: Path, expert: Path, found: Difference, ends: tuple[Any, Any]) -> Difference:
    """The same of what transformers makes of the files: its classes know some of them better."""
    loaded = [_load(folder) for folder in (base, expert)]
    if loaded[0] is None or loaded[1] is None:
        if not found.faults and all(None not in end for end in ends):
            found.faults.append(
                f"its tokenizer_config.json has (add_bos_token, add_eos_token) {ends[1]}, the "
                f"base's {ends[0]}"
            )
        return found
    again = difference(loaded[0], loaded[1])
    if again.faults:
        return found if found.faults else again
    if found.faults:
        again.notes.append(
            "its tokenizer.json is written otherwise than the base's; transformers loads both as "
            "the same tokenizer"
        )
    return again


def _load(folder: Path) -> Tokenizer | None:
    try:
        return parse("tokenizer.json", apart.call(loaded, str(folder)).encode())
    except ValueError:  # whatever a file of another shape leads to: it is compared as written
        return None


def loaded(folder: str) -> str:
    """The tokenizer that transformers makes of a folder's files, as JSON."""
    from transformers import AutoTokenizer

    load = partial(AutoTokenizer.from_pretrained, local_files_only=True, trust_remote_code=False)
    return str(load(folder).backend_tokenizer.to_str())


def _object(file: Path) -> dict[str, Any]:
    """What a file says that may be missing."""
    return read_json(file, "") if file.is_file() else {}


def _further(folder: Path, config: Mapping[str, Any], known: Tokenizer) -> dict[str, Any]:
    """Tokens that the files beside tokenizer.json add to it, or give other flags."""
    entries: list[Any] = []
    for part in (config, _object(folder / _SPECIAL)):
        entries += [value for name, value in part.items() if name.endswith("_token")]
        for name in ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"):
            more = part.get(name)
            entries += more.values() if isinstance(more, dict) else ()
            entries += more if isinstance(more, list) else ()
    entries += _object(folder / _ADDED)
    found: dict[str, Any] = {}
    for entry in entries:
        token = entry if isinstance(entry, dict) else {"content": entry}
        content = token.get("content")
        if not isinstance(content, str):
            continue
        flags = dict(zip(_FLAGS, known.added.get(content, ()), strict=False))
        other = {name: token[name] for name in flags if token.get(name, flags[name]) != flags[name]}
        if other or content not in known.numbers:
            found[content] = other
    return found


def _ends(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Whether tokenizer_config.json says that tokens are put around a text; None: nothing."""
    found = config.get("add_bos_token"), config.get("add_eos_token")
    return tuple(end if isinstance(end, bool) else None for end in found)  # type: ignore[return-value]


def _read(file: Path, parse: Parse) -> Tokenizer:
    try:
        return parse(file.name, read_whole(file))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {short(error)}") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")  # nor does the tokenizers library read it


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {short(value, 60)}, not a JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is {short(value, 60)}, not a list")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_off(value: object) -> bool:
    return value is None or value is False or value == ""


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("model.vocab has a score too large for a float") from None


def _show(part: Any, other: Any) -> str:
    """What a part is: its type where that tells it from the other."""
    kinds = [p.get("type") if isinstance(p, dict) else p for p in (part, other)]
    whole = kinds[0] == kinds[1] or kinds[0] == "Sequence"
    return short(json.dumps(part) if whole else kinds[0] or "none", 160)
