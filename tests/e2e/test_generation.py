"""What one live engine generates: chat prompts, beams, traces, seeds, held against transformers.

The engine computes in float32, on a copy of a demo expert that has a chat template and whose
tokenizer begins every text with <s>. Logits of vLLM and transformers differ by the order of float32
sums: differences of 4e-6 nats in the entropy were measured, 1e-3 are allowed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from search.checkpoints.family import Family
from tests.engine_process import run_code
from tests.families import overflow

TOLERANCE = 1e-3
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}: {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}{{ closing or 'A:' }}{% endif %}"
)
SETTINGS = {"closing": "Reply in Telugu. A:"}
TEXT = "Q: Gita has 23 lamps. Gita ate 6 lamps. Reply in Telugu. A:"
CHAT = (("user", "Usha has 8 fruits. Usha gave 6 fruits."), ("assistant", "2"), ("user", "And 3?"))
TOKENS = 24

SCRIPT = """
import json, sys
from dataclasses import asdict, replace
from pathlib import Path
from objectives.types import Message, Request, Sampling
from search.engine.contract import NonFinite
from search.engine.live import Engine, batches
from search.checkpoints.family import fit
from search.merging.recipe import Single
from tests.engine_options import engine_options

folder, nan, text, chat, tokens, settings = json.loads(sys.argv[1])
family = fit({"base": Path(folder), "lang/0": Path(nan)}, check_finite=False)
engine = Engine(
    family,
    engine_options(
        dtype="float32", max_model_len=128, max_num_seqs=16, enforce_eager=True, trace_top=20,
        chat_template_kwargs=settings,
    ),
)
seen = []
generate = engine.llm.generate
engine.llm.generate = lambda *a, **k: [seen.append(o) or o for o in generate(*a, **k)]
search, beams = engine.llm.beam_search, []
engine.llm.beam_search = lambda *a: [beams.append(o.sequences[0]) or o for o in search(*a)]

turns = tuple(Message(role, content) for role, content in chat)
greedy = Sampling(tokens, top_p=0.99)
drawn = Sampling(tokens, temperature=2.0, top_p=0.98)
mixed = [
    Request(text, greedy),
    Request(text, replace(greedy, beam_width=1), trace=True),
    Request(turns, replace(greedy, beam_width=3)),
    Request(text, drawn, seed=5, trace=True),
    Request(turns, greedy),
    Request(text, replace(greedy, beam_width=3), trace=True),
    Request(text, drawn, seed=5),
    Request(text, drawn, seed=6),
    Request(text, replace(greedy, beam_width=3, max_tokens=10**6, stop=("6",))),
]
first = engine.generate(mixed)
apart = batches(mixed, 20, seeds_apart=engine._seeds_apart)
order = [i for places in apart for i in places if mixed[i].sampling.beam_width == 1]
told = {i: [o.prompt_token_ids, list(o.outputs[0].token_ids)] for i, o in zip(order, seen)}
sums = [b.cum_logprob for b in beams]
again = engine.generate(mixed[:8])
stop = first[0].text[5:8]
stopped = engine.generate(
    [Request(text, replace(greedy, stop=("~", stop)), trace=trace) for trace in (False, True)]
)
pairs = (text, first[0].text), ("Q: 3 ", "+ 4 = 7"), ("", text), (text, " 9"), (text * 9, " 4")
likely = engine.generate([Request(p, greedy, continuation=c) for p, c in pairs])
engine._trace_top = 20
bounds = engine.generate([mixed[1], mixed[3]])
engine.materialise(family.plan(Single("lang/0")))
each = [engine.generate([mixed[i]]) for i in (0, 1, 5)]
broken = [isinstance(answer, NonFinite) for answer in each]
engine.materialise(family.plan(Single("base")))
mended = engine.generate(mixed[:2])
engine.generate([Request(text * 9, greedy)])
cut = [list(seen[-1].prompt_token_ids), engine._tokenizer.encode(text * 9)]
engine._tokenizer.chat_template = None
try:
    engine.generate([Request(turns[:1], greedy)])
except Exception as error:
    refused = f"{type(error).__name__}: {error}"
engine.close()
answers = dict(first=first, again=again, stopped=stopped, bounds=bounds, mended=mended)
answers["likely"] = likely
found = {name: [asdict(c) for c in cs] for name, cs in answers.items()}
others = dict(told=told, sums=sums, stop=stop, broken=broken, refused=refused, cut=cut)
print(json.dumps(found | others))
"""


@pytest.fixture(scope="module")
def folder(demo_family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(demo_family.language["te"][0], folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the engine answered, from a process of its own."""
    nan = overflow(folder, tmp_path_factory.mktemp("nan") / "overflow")
    job = json.dumps([str(folder), str(nan), TEXT, CHAT, TOKENS, SETTINGS])
    answers: dict[str, Any] = json.loads(run_code(SCRIPT, job).splitlines()[-1])
    return answers


def log_distributions(folder: Path, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probabilities of all tokens at each generated one, by transformers in float32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)


def test_chat_is_written_by_the_models_template(folder: Path, found: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": role, "content": content} for role, content in CHAT]
    text = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False, **SETTINGS
    )
    assert text.endswith(SETTINGS["closing"])
    wanted = tokenizer.encode(text, add_special_tokens=False)
    assert wanted.count(tokenizer.bos_token_id) == 1
    plain = tokenizer.encode(TEXT)
    assert plain[0] == tokenizer.bos_token_id
    told = {place: prompt for place, (prompt, _) in found["told"].items()}
    assert told == {place: wanted if place == "4" else plain for place in "013467"}
    assert "EngineDeadError" in found["refused"] and "no chat template" in found["refused"]


def test_mixed_requests_come_back_in_order(found: dict[str, Any]) -> None:
    greedy, traced, chat_beam, drawn_traced, chat, beam, drawn, other, _ = found["first"]
    assert traced["text"] == greedy["text"] and drawn_traced["text"] == drawn["text"]
    assert len({c["text"] for c in (greedy, chat, drawn, other)}) == 4
    assert [bool(c["steps"]) for c in found["first"][:8]] == [i in (1, 3, 5) for i in range(8)]
    for c in (traced, drawn_traced, beam):
        assert "".join(s["text"] for s in c["steps"]) == c["text"]
        assert len(c["steps"]) == c["n_tokens"] <= TOKENS
        assert c["finish_reason"] == ("length" if c["n_tokens"] == TOKENS else "stop")
    assert chat_beam["text"] != beam["text"]


def test_same_requests_give_the_same_answers(found: dict[str, Any]) -> None:
    """Seeded draws and beams included."""
    texts = [[c["text"] for c in found[name][:8]] for name in ("first", "again")]
    assert texts[0] == texts[1]


def test_beam_is_likelier_than_greedy(folder: Path, found: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt, answer = found["told"]["0"]
    logs = log_distributions(folder, prompt, answer)
    greedy = float(logs[range(len(answer)), answer].sum())
    by_beam = found["sums"][1]  # of TEXT; the chat's comes before
    assert by_beam >= greedy - TOLERANCE
    ids = tokenizer.encode(found["first"][5]["text"], add_special_tokens=False)
    if found["first"][5]["finish_reason"] == "stop":
        ids.append(tokenizer.eos_token_id)
    again = log_distributions(folder, prompt, ids)
    assert float(again[range(len(ids)), ids].sum()) == pytest.approx(by_beam, abs=TOLERANCE)


def test_beam_ends_with_the_context_and_at_a_stop_string(found: dict[str, Any]) -> None:
    last = found["first"][8]
    assert last["finish_reason"] == "stop" and "6" not in last["text"]
    assert last["text"] and found["first"][5]["text"].startswith(last["text"])


def test_a_prompt_that_leaves_no_room_loses_its_beginning(found: dict[str, Any]) -> None:
    sent, whole = found["cut"]
    assert len(whole) > 128 and sent == whole[TOKENS - 128 :]


@pytest.mark.parametrize(("place", "top_p"), [(1, 0.99), (3, 0.98)])
def test_trace_equals_transformers(
    place: int, top_p: float, folder: Path, found: dict[str, Any]
) -> None:
    steps = found["first"][place]["steps"]
    prompt, answer = found["told"][str(place)]
    shares = log_distributions(folder, prompt, answer).exp().double().numpy()
    entropies = -(shares * np.log(shares)).sum(axis=1)
    assert [s["entropy"] for s in steps] == pytest.approx(entropies, abs=TOLERANCE)
    reached = np.cumsum(-np.sort(-shares, axis=1), axis=1)
    # a nucleus may be one larger or smaller where its mass is within rounding of top_p
    low, high = ((reached < top_p + d).sum(axis=1) + 1 for d in (-1e-4, 1e-4))
    assert all(a <= s["nucleus"] <= b for a, s, b in zip(low, steps, high, strict=True))
    assert max(entropies) > 0.5 and max(s["nucleus"] for s in steps) > 1


def test_likelihood_equals_transformers(folder: Path, found: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = [(TEXT, found["first"][0]["text"]), ("Q: 3 ", "+ 4 = 7"), ("", TEXT), (TEXT, " 9")]
    for (prompt, text), answer in zip(cases, found["likely"], strict=False):
        whole = tokenizer.encode(prompt + text)
        n_prompt = len(tokenizer.encode(prompt.rstrip())) if prompt else 1
        logs = log_distributions(folder, whole[:n_prompt], whole[n_prompt:])
        own = whole[n_prompt:]
        expected = float(logs[range(len(own)), own].sum())
        assert answer["logprob"] == pytest.approx(expected, abs=TOLERANCE)
        assert answer["greedy"] == (logs.argmax(dim=-1).tolist() == own)
        assert (answer["text"], answer["n_tokens"]) == ("", 0)
    assert not found["likely"][3]["greedy"]
    assert found["likely"][4]["logprob"] < 0  # its prompt lost its beginning


def test_fewer_log_probabilities_give_lower_bounds(found: dict[str, Any]) -> None:
    for place, bound in zip((1, 3), found["bounds"], strict=True):
        exact = found["first"][place]
        assert bound["text"] == exact["text"]
        for low, high in zip(bound["steps"], exact["steps"], strict=True):
            assert low["entropy"] <= high["entropy"] + 1e-6 and low["nucleus"] <= high["nucleus"]


def test_stop_strings_end_traced_requests_alike(found: dict[str, Any]) -> None:
    plain, traced = found["stopped"]
    assert found["stop"] and found["stop"] not in plain["text"]
    assert all(traced[k] == plain[k] for k in ("text", "n_tokens", "finish_reason"))
    assert len(traced["steps"]) == traced["n_tokens"]
    assert "".join(s["text"] for s in traced["steps"]) == traced["text"]


def test_non_finite_logits_are_seen_in_every_way_of_decoding(found: dict[str, Any]) -> None:
    """And the next model is clean."""
    assert found["broken"] == [True, True, True]
    assert [c["text"] for c in found["mended"]] == [c["text"] for c in found["first"][:2]]
