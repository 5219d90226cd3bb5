"""A live engine's log-likelihoods are transformers' on the exported merge, whatever was cached."""

from __future__ import annotations

import json

import pytest

from search.checkpoints.family import Family
from tests.engine_process import run_code

CODE = """
import json, sys, torch
from pathlib import Path
from tempfile import mkdtemp
from transformers import AutoModelForCausalLM, AutoTokenizer
from objectives.types import Request, Sampling
from search.checkpoints.family import fit
from search.engine.likelihood import spans
from search.engine.live import Engine
from search.export.writer import write_export
from search.merging.recipe import LayerSwap, Single
from tests.engine_options import engine_options

if __name__ == "__main__":
    family = fit(dict(pair.split("=", 1) for pair in sys.argv[1:]), check_finite=False)
    named = dict(max_num_seqs=16, max_model_len=512, enforce_eager=True, dtype="float32")
    engine = Engine(family, engine_options(**named))
    long = "There were " + " and ".join(map(str, range(90)))  # three cache blocks of 128 tokens
    asked = [Request(long, Sampling(1), continuation=f" {n} sheep") for n in range(3)]
    asked += [Request(long, Sampling(1), continuation=" and 91" * 30)]
    asked += [Request(long[:-3], Sampling(1), continuation=long[-3:] + " and 91" * 30)]
    asked += [Request("Q: one A: ", Sampling(1), continuation="two")]
    asked += [Request("", Sampling(1), continuation="two")]
    asked += [Request("", Sampling(1), continuation=long * 4, rolling=True)]
    found = []
    for recipe in (Single("base"), LayerSwap(0, 0, 1, 1, 0, 0), Single("base")):
        merged = family.plan(recipe)
        engine.materialise(merged)
        out = Path(mkdtemp()) / "merged"
        write_export(merged, family.sources, family.base, out)
        model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(out)
        for answers in (engine.generate(asked), engine.generate(asked)):
            for request, answer in zip(asked, answers, strict=True):
                theirs = 0.0
                for span in spans(request, tokenizer, {}, 511):
                    with torch.no_grad():
                        logits = model(torch.tensor([span.ids])).logits[0]
                    known = torch.log_softmax(logits, -1)
                    places = range(span.start, len(span.ids))
                    theirs += sum(known[i - 1, span.ids[i]].item() for i in places)
                found.append([answer.logprob, theirs])
    engine.close()
    print(json.dumps(found))
"""


def test_equal_to_transformers(tiny_llama: Family) -> None:
    found = json.loads(run_code(CODE, tiny_llama.sources("te")).splitlines()[-1])
    ours, theirs = zip(*found, strict=True)
    assert len(ours) == 3 * 2 * 8
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-3)
    assert ours[0] != pytest.approx(ours[16], rel=1e-4, abs=1e-3)  # another recipe's
