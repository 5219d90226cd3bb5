"""The proof of `test_fresh_engine.py`, a live engine equals a fresh one, for each architecture.

Each architecture has two engines in processes of their own: one lives through a random sequence of
recipes, the other starts on the export of the last. Tolerance as there: 1e-3 in log-probabilities,
since the order of float32 sums may differ by batch and thread count; each engine has one thread and
gets the same prompts in the same order, for which differences of 0 are expected.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from search.checkpoints.family import Location, fit
from search.export.writer import write_export
from search.merging.recipe import LayerSwap, Recipe, Single, Slerp, Soup, Ties
from tests.e2e.test_fresh_engine import TOLERANCE, difference, random_recipe
from tests.engine_process import answer, finish, make_job, start
from tests.families import MULTIMODAL, in_one_tensor, make_family, newer_names, text_alone

L = 4
BLOCK = 128  # tokens in a block of the prefix cache on a CPU


@dataclass(frozen=True)
class Case:
    """An architecture (transformers' model_type), its checkpoints' dtype, what vLLM computes in.

    fp32 checkpoints: vLLM's `auto` computes in bf16, so each way is tried.
    """

    architecture: str
    checkpoint: torch.dtype
    computes: torch.dtype
    dtype: str = "auto"


BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
CASES = [
    Case("llama", FP16, FP16),
    Case("mistral", FP32, BF16),
    Case("qwen2", FP32, FP32, "float32"),
    Case("qwen3", BF16, BF16),
    Case("gemma2", BF16, BF16),
    Case("gemma3_text", FP32, FP32, "float32"),
    Case("phi3", FP16, FP16),
    Case("olmo2", BF16, BF16),
    Case("mixtral", BF16, BF16),
    Case("qwen3_moe", FP16, FP16),
    Case("gpt_neox", FP16, FP16),
    Case("falcon", BF16, BF16),
    Case("qwen3_next", BF16, BF16),
    Case("qwen3_5_text", BF16, BF16),
    Case("qwen3_5_moe_text", BF16, BF16),
    Case("gemma4_text", BF16, BF16),
    Case("gemma4_text with experts", BF16, BF16),
    Case("falcon_h1", BF16, BF16),
    Case("granitemoehybrid", BF16, BF16),
    Case("granitemoehybrid with experts", BF16, BF16),
    Case("gemma3", BF16, BF16),
    Case("gemma4", BF16, BF16),
    Case("qwen3_5", BF16, BF16),
    Case("qwen3_5_moe", BF16, BF16),
    Case("mistral3", BF16, BF16),
]
MIXED = {"gemma3": "whole", "mistral3": "text"}
"""Families whose checkpoints are saved by different classes and versions -> the base's class."""


def sequence(rng: random.Random) -> list[Recipe]:
    """Recipes of several kinds in random order; the last is also the first.

    The one before the last differs from it in one layer alone: so the last rewrite is a partial
    one.
    """
    kinds: list[Recipe] = [
        random_recipe(rng, L),
        Single(rng.choice(["task/0", "task/1", "lang/0", "lang/1"])),
        Soup(("task/0", "task/1", "lang/1"), (1.0, 1.0, rng.choice([0.5, 2.0]))),
        rng.choice([Ties(("task/0", "lang/0"), 0.5, (1.0, 1.0)), Slerp(0, 1, (0.2, 0.7))]),
    ]
    rng.shuffle(kinds)
    last = LayerSwap(rng.randrange(2), rng.randrange(2), 1, rng.randrange(2), 1, 0, 0.4, 0.6)
    return [last, *kinds, replace(last, b=2, t_b=0), last]


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.architecture)
def test_live_engine_equals_a_fresh_one(case: Case, tmp_path: Path) -> None:
    made = make_family(tmp_path, case.architecture, dtype=case.checkpoint)
    prove(case, made.sources("te"), tmp_path / "merged", whole=case.architecture in MULTIMODAL)


@pytest.mark.long
@pytest.mark.parametrize("architecture", MIXED)
def test_text_towers_beside_whole_models(architecture: str, tmp_path: Path) -> None:
    """Each checkpoint as another class or version of transformers saves it."""
    places = make_family(tmp_path / "whole", architecture).sources("te")
    forms = {"whole": lambda place, folder: place, "newer": newer_names, "text": text_alone}
    kinds = [MIXED[architecture], "text", "newer", "whole", "text"]
    sources: dict[str, Location] = {
        name: forms[kind](Path(place), tmp_path / f"{kind}-{Path(place).name}")
        for (name, place), kind in zip(places.items(), kinds, strict=True)
    }
    whole = MIXED[architecture] == "whole"
    prove(Case(architecture, BF16, BF16), sources, tmp_path / "merged", whole=whole)


@pytest.mark.long
def test_experts_in_one_tensor(tmp_path: Path) -> None:
    places = make_family(tmp_path / "apart", "qwen3_5_moe_text").sources("te")
    sources: dict[str, Location] = {
        name: in_one_tensor(Path(place), tmp_path / Path(place).name)
        for name, place in places.items()
    }
    prove(Case("qwen3_5_moe_text", BF16, BF16), sources, tmp_path / "merged", whole=False)


def prove(case: Case, sources: Mapping[str, Location], out: Path, *, whole: bool) -> None:
    """A live engine after a sequence of recipes answers as a fresh one on the export of the last.

    Args:
        case: the architecture.
        sources: the family.
        out: the export's folder.
        whole: whether the base is multimodal.
    """
    if whole:
        pytest.importorskip("torchvision")  # vLLM's multimodal classes need it; the lock has none
    rng = random.Random(case.architecture)
    letters = ["".join(chr(rng.randrange(97, 123)) for _ in range(n)) for n in (300, 270, 40)]
    recipes = sequence(rng)
    family = fit(sources)
    live = finish(start(answer, make_job(family.paths, recipes, letters, dtype=case.dtype)))

    write_export(family.plan(recipes[-1]), family.sources, family.base, out)
    job = make_job({"base": out}, [Single("base")], letters, dtype=case.dtype)
    fresh = finish(start(answer, job))[0]

    assert sum(n > 2 * BLOCK for n in fresh["prompt_tokens"]) == 2
    assert live[0]["dtype"] == fresh["dtype"] == str(case.computes)
    different = [difference(a, b) for a, b in zip(live, live[1:], strict=False)]
    assert min(different) > 10 * TOLERANCE, different  # otherwise equality would prove nothing
    assert live[-1]["layers"] == 1
    found = [difference(live[place], fresh) for place in (0, -1)]
    print("largest difference of log-probabilities:", max(found))
    assert max(found) <= TOLERANCE, (recipes, found)
