"""Between requests and token ids, with a tokenizer of one token for each byte and no engine."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from objectives.types import Message, Request, Sampling
from search.engine.decode import (
    chat_ids,
    chat_text,
    completion,
    read,
    sureness,
    token_texts,
)

TURNS = (Message("system", "Be brief."), Message("user", "ఎన్ని?"))
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tests.families import tokenizer

    made = tokenizer()
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return made


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return found


def test_chat_begins_once(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE
    found = chat_ids(TURNS, tokenizer, {})
    assert tokenizer.encode("x")[0] == 0  # this tokenizer begins every text by itself
    assert found[0] == 0 and found.count(0) == 1
    assert tokenizer.decode(found[1:]) == "<system>Be brief.<user>ఎన్ని?<assistant>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template; ask for prompts without turns"),
        ("", "has no chat template"),
        (NO_SYSTEM, "no system role"),
        ("{{ messages[0].content", "refuses the turns"),  # no template of Jinja's
        ("{# nothing #}", "leaves out turn 1 of 2, the system's: it writes ''"),
        ("{{ messages[0].content }}", "leaves out turn 2 of 2, the user's: it writes 'Be brief.'"),
        ("{% for part in messages[1].content %}{{ part.text }}{% endfor %}", "leaves out turn 1"),
    ],
)
def test_chat_that_cannot_be_written(tokenizer: Any, template: str | None, message: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=message):
        chat_ids(TURNS, tokenizer, {})


def test_the_template_gets_its_settings(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATE + "{% if not think %}<think></think>{% endif %}"
    assert chat_text(TURNS, tokenizer, {"think": False}).endswith("<assistant><think></think>")
    assert chat_text(TURNS, tokenizer, {"think": True}).endswith("<assistant>")
    with pytest.raises(ValueError, match="multiple values for keyword argument 'tokenize'"):
        chat_text(TURNS, tokenizer, {"tokenize": True})


@pytest.mark.parametrize(
    ("shares", "vocabulary", "top_p", "entropy", "nucleus"),
    [
        ([0.5, 0.5], 2, 0.5, np.log(2), 1),
        ([0.5, 0.5], 2, 0.51, np.log(2), 2),
        ([0.25] * 4, 4, 0.75, np.log(4), 3),
        ([0.25] * 4, 4, 1.0, np.log(4), 4),
        ([1.0, 0.0], 2, 1.0, 0.0, 1),
        ([0.5, 0.25], 4, 0.75, 1.5 * np.log(2), 2),
        ([0.5, 0.25], 4, 0.8, 1.5 * np.log(2), 3),  # 0.05 needs one more
        ([0.1], 10, 0.75, np.log(10), 8),
    ],
)
def test_sureness(
    shares: list[float], vocabulary: int, top_p: float, entropy: float, nucleus: int
) -> None:
    with np.errstate(divide="ignore"):
        found = sureness(np.log(shares).tolist(), vocabulary, top_p)
    assert found == (pytest.approx(entropy), nucleus)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_known_only_lowers(seed: int) -> None:
    """The bounds of the docstring, on random distributions, flat and steep."""
    rng = np.random.default_rng(seed)
    shares = -np.sort(-rng.dirichlet(np.full(500, rng.choice([0.05, 1.0, 20.0]))))
    logs = np.log(np.maximum(shares, 1e-300)).astype(np.float32).tolist()
    entropy, nucleus = sureness(logs, 500, 0.9)
    assert nucleus == int((np.cumsum(shares) < 0.9 - 1e-6).sum()) + 1
    for k in (1, 10, 100, 499):
        low, inside = sureness(logs[:k], 500, 0.9)
        rest = 1 - shares[:k].sum()
        most = rest * np.log((500 - k) * min(shares[k - 1], rest) / rest) if rest > 1e-6 else 1e-4
        assert entropy - most - 1e-4 <= low <= entropy + 1e-4
        assert inside <= nucleus and (inside == nucleus or nucleus > k)


@pytest.mark.parametrize("text", ["plain", "a గీత b", "½ – 漢字 🙂", " leading", ""])
def test_token_texts_join_to_the_text(tokenizer: Any, text: str) -> None:
    tokens = ids(tokenizer, text)
    pieces = list(token_texts(tokenizer, ids(tokenizer, "ప్రశ్న: "), tokens))
    assert len(pieces) == len(tokens) and "".join(pieces) == text


def test_a_character_comes_with_its_last_token(tokenizer: Any) -> None:
    assert list(token_texts(tokenizer, [0], ids(tokenizer, "aగb"))) == ["a", "", "", "గ", "b"]


def test_special_tokens_are_no_text(tokenizer: Any) -> None:
    tokens = [*ids(tokenizer, "ab"), 0, *ids(tokenizer, "c"), 1]
    assert list(token_texts(tokenizer, [], tokens)) == ["a", "b", "", "c", ""]


def test_cut_off_character_is_left_out(tokenizer: Any) -> None:
    assert "".join(token_texts(tokenizer, [0], ids(tokenizer, "xగ")[:-1])) == "x"


@pytest.mark.parametrize("seed", range(10))
def test_same_text_as_the_library_streams(tokenizer: Any, seed: int) -> None:
    """Random bytes, most of them no character: as tokenizers' DecodeStream, which vLLM uses."""
    from tokenizers.decoders import DecodeStream

    rng = random.Random(seed)
    prompt = ids(tokenizer, "ప్రశ్న ")
    tokens = [rng.randrange(2, 258) for _ in range(60)]
    stream = DecodeStream(ids=prompt, skip_special_tokens=True)
    streamed = [stream.step(tokenizer.backend_tokenizer, token) or "" for token in tokens]
    assert list(token_texts(tokenizer, prompt, tokens)) == streamed


@pytest.mark.parametrize(
    ("text", "stop", "ended", "expected"),
    [
        ("one two", (), False, ("one two", 7, "length")),
        ("one two", (), True, ("one two", 8, "stop")),
        ("one two", (" ",), False, ("one", 4, "stop")),
        ("one two", ("x", "two"), False, ("one ", 7, "stop")),
        ("one two", ("ne t", "e"), False, ("on", 3, "stop")),  # complete first
        ("one two", ("o",), True, ("", 1, "stop")),
        ("గీత", ("ీ",), False, ("గ", 6, "stop")),
    ],
)
def test_completion(
    tokenizer: Any, text: str, stop: Sequence[str], ended: bool, expected: tuple[str, int, str]
) -> None:
    tokens = ids(tokenizer, text) + [1] * ended
    sure = [(0.5, n) for n in range(len(tokens))]
    found = completion(tokenizer, [0], tokens, ended=ended, stop=stop, sure=sure)
    assert (found.text, found.n_tokens, found.finish_reason) == expected
    assert "".join(step.text for step in found.steps) == found.text
    assert [step.nucleus for step in found.steps] == list(range(found.n_tokens))
    assert completion(tokenizer, [0], tokens, ended=ended, stop=stop).steps == ()


def test_read_traced_output(tokenizer: Any) -> None:
    """The sampled token stands before the likeliest ones and is not counted twice."""
    flat = SimpleNamespace(
        start_indices=[0, 3],
        end_indices=[3, 6],
        logprobs=np.log([0.25, 0.75, 0.25, 0.5, 0.5, 0.5]).tolist(),
    )
    tokens = ids(tokenizer, "ab")
    answer = SimpleNamespace(token_ids=tokens, finish_reason="length", logprobs=flat, text="")
    output = SimpleNamespace(outputs=[answer], prompt_token_ids=[0])
    found = read(Request("", Sampling(2, top_p=0.7), trace=True), output, tokenizer, 2)
    assert found.text == "ab"
    assert [(s.text, s.nucleus) for s in found.steps] == [("a", 1), ("b", 2)]
    assert found.steps[1].entropy == pytest.approx(np.log(2))


@pytest.mark.parametrize("trace", [False, True])
def test_read_beam_output(tokenizer: Any, trace: bool) -> None:
    """The best beam holds the prompt's tokens as well."""
    step = {7: SimpleNamespace(logprob=np.log(0.25)), 8: SimpleNamespace(logprob=np.log(0.75))}
    tokens = [0, *ids(tokenizer, "pq"), *ids(tokenizer, "a"), 1]
    beam = SimpleNamespace(
        orig_prompt={"prompt_token_ids": tokens[:3]}, tokens=tokens, logprobs=[step, step]
    )
    request = Request("pq", Sampling(5, top_p=0.7, beam_width=2), trace=trace)
    found = read(request, SimpleNamespace(sequences=[beam, None]), tokenizer, 2)
    assert (found.text, found.n_tokens, found.finish_reason) == ("a", 2, "stop")
    assert [s.nucleus for s in found.steps] == [1, 1] * trace
    json.dumps([s.nucleus for s in found.steps])  # plain numbers, not numpy's
