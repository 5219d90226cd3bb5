"""Two tokenizers: the same however they are written, or another; a row for each way to differ."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from search.checkpoints import tokenizer
from search.checkpoints.tokenizer import compare, parse
from search.common.errors import CheckpointError

TEXTS = ["ten cups and three more are thirteen cups", "three came then four went"] * 50
SPECIAL = ["<unk>", "<s>", "</s>", "<|reserved_0|>"]
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def bpe() -> dict[str, Any]:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=280, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )
    data: dict[str, Any] = json.loads(made.to_str())
    single = [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    tokens = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [],
        "special_tokens": tokens,
    }
    return data | {"post_processor": template}


@pytest.fixture(scope="module")
def unigram() -> dict[str, Any]:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=60, special_tokens=SPECIAL, unk_token="<unk>")
    )
    return dict(json.loads(made.to_str()))


def folder(place: Path, data: dict[str, Any], **config: Any) -> Path:
    place.mkdir()
    (place / "tokenizer.json").write_text(json.dumps(data))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    return place


def edited(data: dict[str, Any], *edits: Edit) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(data))
    for edit in edits:
        edit(changed)
    return changed


def model(**changes: Any) -> Edit:
    return lambda data: data["model"].update(changes)


def part(**changes: Any) -> Edit:
    return lambda data: data.update(changes)


def added(content: str, number: int, **flags: bool) -> dict[str, Any]:
    named = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": True, **named, **flags}


def add(content: str, number: int, **flags: bool) -> Edit:
    return lambda data: data["added_tokens"].append(added(content, number, **flags))


def swap_pieces(data: dict[str, Any]) -> None:
    vocab = data["model"]["vocab"]
    if isinstance(vocab, dict):
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    else:
        vocab[-1], vocab[-2] = vocab[-2], vocab[-1]


def flag(content: str, **flags: bool) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        next(t for t in data["added_tokens"] if t["content"] == content).update(flags)

    return edit


def rename(old: str, new: str) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        next(t for t in data["added_tokens"] if t["content"] == old)["content"] = new
        vocab = data["model"]["vocab"]
        if isinstance(vocab, dict):
            vocab[new] = vocab.pop(old)

    return edit


def merges_as_strings(data: dict[str, Any]) -> None:
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]


def in_sequence(data: dict[str, Any]) -> None:
    inner = data["pre_tokenizer"]
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [inner]}
    offsets = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    both = [offsets, data["post_processor"]]
    data["post_processor"] = {"type": "Sequence", "processors": both}


BYTES = {"type": "ByteLevel", "add_prefix_space": False}


@pytest.mark.parametrize(
    "edit",
    [
        merges_as_strings,
        in_sequence,
        part(truncation={"max_length": 5, "strategy": "LongestFirst", "stride": 0}),
        part(padding={"strategy": {"Fixed": 5}, "direction": "Left", "pad_id": 0}),
        part(decoder=None, version="2.0"),
        part(pre_tokenizer={**BYTES, "trim_offsets": False}),  # and use_regex by its default
        part(normalizer={"type": "Sequence", "normalizers": []}),
        model(continuing_subword_prefix="", end_of_word_suffix="", byte_fallback=False),
        flag("</s>", special=False),
        flag("</s>", normalized=True),  # there is no normalizer
    ],
)
def test_the_same_tokenizer(tmp_path: Path, bpe: dict[str, Any], edit: Edit) -> None:
    base, expert = folder(tmp_path / "b", bpe), folder(tmp_path / "e", edited(bpe, edit))
    for one, other in ((base, expert), (expert, base)):
        found = compare(one, other, parse)
        assert (found.faults, found.notes, found.added, found.lacking) == ([], [], {}, {})


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (swap_pieces, r"2 pieces have other numbers: 'a' is"),
        (lambda data: data["model"]["merges"].reverse(), "its merges are others"),
        (lambda data: data["model"]["merges"].pop(), "its merges are others"),
        (part(normalizer={"type": "Lowercase"}), "its normalizer is Lowercase, the base's none"),
        (part(normalizer={"type": "NFC"}), "its normalizer is NFC"),
        (part(pre_tokenizer={"type": "Whitespace"}), "its pre_tokenizer is Whitespace"),
        (
            part(pre_tokenizer={**BYTES, "add_prefix_space": True}),
            'its pre_tokenizer is .*"add_prefix_space": true.*the base.*"add_prefix_space": false',
        ),
        (part(pre_tokenizer={**BYTES, "use_regex": False}), '"use_regex": false'),
        (part(post_processor=None), r"its post_processor puts \(\(\), \(\)\) around a text"),
        (model(ignore_merges=True), "its model has ignore_merges True, the base's None"),
        (model(unk_token="<unk>"), "its model has unk_token '<unk>'"),
        (flag("</s>", lstrip=True), r"its '</s>' is added with lstrip, the base's added with no"),
        (flag("</s>", single_word=True), "its '</s>' is added with single_word"),
        (
            lambda data: add("a", data["model"]["vocab"]["a"])(data),
            "its 'a' is added with no flag, the base's an ordinary piece",
        ),
        (add("<|new|>", 100), "some of its pieces have one number: .*<|new|>"),
        (add("a", 300), "1 piece has another number: 'a' is 300"),
        (model(vocab={"a": 0}), "lacks pieces of the base"),
        (rename("</s>", "<|end|>"), r"it has pieces that the base lacks: '<\|end\|>'"),
    ],
)
def test_another_tokenizer(tmp_path: Path, bpe: dict[str, Any], edit: Edit, fault: str) -> None:
    found = compare(folder(tmp_path / "b", bpe), folder(tmp_path / "e", edited(bpe, edit)), parse)
    assert re.search(fault, "; ".join(found.faults))


def test_scores_are_compared_as_float32(tmp_path: Path, unigram: dict[str, Any]) -> None:
    def shift(by: float) -> Edit:
        return lambda data: data["model"]["vocab"][-1].__setitem__(
            1, data["model"]["vocab"][-1][1] + by
        )

    base = folder(tmp_path / "b", unigram)
    near = folder(tmp_path / "n", edited(unigram, shift(1e-7)))
    far = folder(tmp_path / "f", edited(unigram, shift(0.5)))
    assert compare(base, near, parse).faults == []
    assert "1 piece has another score" in compare(base, far, parse).faults[0]
    other = folder(tmp_path / "s", edited(unigram, swap_pieces))
    assert "2 pieces have other numbers" in compare(base, other, parse).faults[0]


def test_tokens_in_unused_rows(tmp_path: Path, bpe: dict[str, Any]) -> None:
    """Added to either, or under a name of its own where the base keeps a row free."""
    more = edited(bpe, add("<|pad|>", 280), add("<|im_start|>", 400))
    named = edited(bpe, rename("<|reserved_0|>", "<|tool|>"))
    base, expert, tool = (
        folder(tmp_path / name, data) for name, data in (("b", bpe), ("e", more), ("t", named))
    )
    found = compare(base, expert, parse)
    assert (found.faults, found.added) == ([], {280: "<|pad|>", 400: "<|im_start|>"})
    assert found.last == 400
    found = compare(expert, base, parse)
    assert (found.faults, found.lacking) == ([], {280: "<|pad|>", 400: "<|im_start|>"})
    found = compare(base, tool, parse)
    assert (found.faults, found.added, found.lacking) == ([], {3: "<|tool|>"}, {})
    assert compare(tool, base, parse).faults  # the base does mean something there


@pytest.mark.parametrize(
    ("name", "data", "token"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"280": added("<|a|>", 280)}}, "<|a|>"),
        ("tokenizer_config.json", {"pad_token": "<|b|>"}, "<|b|>"),
        ("tokenizer_config.json", {"additional_special_tokens": ["<|c|>"]}, "<|c|>"),
        ("special_tokens_map.json", {"pad_token": {"content": "<|d|>"}}, "<|d|>"),
        ("added_tokens.json", {"<|e|>": 280}, "<|e|>"),
    ],
)
def test_tokens_that_other_files_add(
    tmp_path: Path, bpe: dict[str, Any], name: str, data: dict[str, Any], token: str
) -> None:
    """tokenizer.json is the base's, and transformers loads another tokenizer."""
    base, expert = folder(tmp_path / "b", bpe), folder(tmp_path / "e", bpe)
    settings = json.loads((expert / name).read_text()) if (expert / name).is_file() else {}
    (expert / name).write_text(json.dumps({**settings, **data}))
    found = compare(base, expert, parse)
    assert (found.faults, found.added) == ([], {280: token})


def test_flags_that_tokenizer_config_gives(tmp_path: Path, bpe: dict[str, Any]) -> None:
    base = folder(tmp_path / "b", bpe)
    same = {"added_tokens_decoder": {"2": added("</s>", 2)}, "eos_token": "</s>"}
    assert compare(base, folder(tmp_path / "s", bpe, **same), parse).faults == []
    other = {"added_tokens_decoder": {"2": added("</s>", 2, lstrip=True)}}
    found = compare(base, folder(tmp_path / "o", bpe, **other), parse)
    assert found.faults == ["its '</s>' is added with lstrip, the base's added with no flag"]


def test_vocabulary_and_merges_in_two_files(tmp_path: Path, bpe: dict[str, Any]) -> None:
    """GPT-2's way: compared with each other, and with a tokenizer.json."""
    pairs = [" ".join(pair) for pair in bpe["model"]["merges"]]
    places = [folder(tmp_path / name, bpe) for name in "abc"]
    for place, lines in zip(places[1:], (pairs, pairs[::-1]), strict=True):
        (place / "tokenizer.json").unlink()
        (place / "vocab.json").write_text(json.dumps(bpe["model"]["vocab"]))
        (place / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]))
    whole, same, other = places
    assert compare(whole, same, parse).faults == compare(same, same, parse).faults == []
    for base in (whole, same):
        assert "its merges are others" in compare(base, other, parse).faults[0]


def test_what_transformers_saves_again(tmp_path: Path, bpe: dict[str, Any]) -> None:
    """The file of an older version, loaded and saved by the current one."""
    base = folder(tmp_path / "b", edited(bpe, merges_as_strings), eos_token="</s>")
    PreTrainedTokenizerFast.from_pretrained(base).save_pretrained(tmp_path / "e")
    assert (tmp_path / "e" / "tokenizer.json").read_text() != json.dumps(bpe)
    assert compare(base, tmp_path / "e", parse) == tokenizer.Difference(last=279)


def test_what_transformers_reads_as_the_same(tmp_path: Path) -> None:
    """Llama 2's file as published, and as the current version saves it: one class makes both."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=special))
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    steps = [{"type": "Prepend", "prepend": "▁"}, space]
    published = edited(
        json.loads(made.to_str()),
        part(normalizer={"type": "Sequence", "normalizers": steps}, pre_tokenizer=None),
        lambda data: data["added_tokens"].__delitem__(slice(3, None)),
    )
    kind = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>"}
    base = folder(tmp_path / "b", published, **kind)
    (base / "config.json").write_text('{"model_type": "llama"}')
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "e")
    (tmp_path / "e" / "config.json").write_text('{"model_type": "llama"}')
    found = compare(base, tmp_path / "e", parse)
    assert found.faults == []
    assert found.notes == [
        "its tokenizer.json is written otherwise than the base's; transformers loads both as the "
        "same tokenizer"
    ]


def sentencepiece_model(place: Path, texts: list[str], **settings: Any) -> Path:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=out,
        vocab_size=40,
        minloglevel=2,
        **{"model_type": "bpe", "normalization_rule_name": "identity", **settings},
    )
    place.mkdir()
    (place / "tokenizer.model").write_bytes(out.getvalue())
    return place


def test_sentencepiece_models(tmp_path: Path) -> None:
    """Compared by pieces and normalisation; how a model was trained is no matter."""
    base = sentencepiece_model(tmp_path / "b", TEXTS)
    again = sentencepiece_model(tmp_path / "a", TEXTS, num_threads=2, self_test_sample_size=1)
    assert (base / "tokenizer.model").read_bytes() != (again / "tokenizer.model").read_bytes()
    assert compare(base, again, parse).faults == []
    other = sentencepiece_model(tmp_path / "o", ["ninety nine red balloons", *TEXTS])
    assert "pieces" in compare(base, other, parse).faults[0]
    folded = sentencepiece_model(tmp_path / "f", TEXTS, normalization_rule_name="nmt_nfkc_cf")
    assert "precompiled_charsmap" in compare(base, folded, parse).faults[0]
    (again / "tokenizer.model").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match=r"tokenizer.model cannot be read: .*git lfs pull"):
        compare(base, again, parse)


def test_files_of_both_kinds(tmp_path: Path, bpe: dict[str, Any]) -> None:
    """Where tokenizer.json agrees, tokenizer.model has to agree too."""
    base = sentencepiece_model(tmp_path / "b", TEXTS)
    other = sentencepiece_model(tmp_path / "o", TEXTS[:1], hard_vocab_limit=False)
    for place in (base, other):
        (place / "tokenizer.json").write_text(json.dumps(bpe))
    assert compare(base, other, parse).faults[0].startswith("tokenizer.model: ")
    (base / "tokenizer.json").unlink()
    (other / "tokenizer.model").unlink()
    assert "pieces" in compare(base, other, parse).faults[0]  # by what the two files share
    (other / "tokenizer.json").unlink()
    assert compare(base, other, parse).faults == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("\ufeff{}", "BOM"),
        ('{"model": NaN}', "NaN is no JSON"),
        ("[]", r"the file is \[\], not a JSON object"),
        ("{}", "model is None, not a JSON object"),
        ('{"model": {"vocab": null}}', "the vocabulary is None"),
        ('{"model": {"vocab": {"a": "b"}}}', "the vocabulary numbers 'a' b"),
        ('{"model": {"vocab": [1]}}', "model.vocab has 1, not a piece and its score"),
        ('{"model": {"vocab": [["a", null]]}}', "model.vocab has score None"),
        ('{"model": {"vocab": {}, "merges": [1]}}', "model.merges has 1, not a pair"),
        ('{"model": {"vocab": {}, "merges": "x"}}', "model.merges is x, not a list"),
        ('{"model": {"vocab": {}}, "added_tokens": [{}]}', "added_tokens has {}, without"),
        ("[" * 100000, "nested too deeply"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_file_of_another_shape(
    tmp_path: Path, bpe: dict[str, Any], text: str, message: str
) -> None:
    base, expert = folder(tmp_path / "b", bpe), folder(tmp_path / "e", bpe)
    (expert / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"e/tokenizer.json cannot be read: .*{message}"):
        compare(base, expert, parse)
