"""The demo's merges on a live engine with graphs, token for token against fresh engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.gpu.step import Finding, Given
from search.checkpoints.family import FittedFamily, fit
from search.config import compose
from search.export.writer import write_export
from search.merging.recipe import Recipe, Single, Soup, Ties
from tests.engine_process import answer, make_job
from tests.families import overflow

PAIR = ("task/0", "lang/0")
CHECKED: dict[str, Recipe] = {
    "expert": Single("task/0"),
    "soup": Soup(PAIR, (0.5, 0.5)),
    "TIES": Ties(PAIR, 0.3, (0.5, 0.5)),
    "base": Single("base"),
}
NAN = Single("lang/9")


def run(given: Given) -> Iterator[Finding]:
    """One live engine through all recipes, twice, with a NaN between; then a fresh one for each."""
    sources = demo_sources()
    sources["lang/9"] = overflow(Path(sources["base"]), given.folder / "overflow")
    prompts = demo_prompts()[: 4 if given.rehearse else None]
    checked = {"soup": CHECKED["soup"]} if given.rehearse else CHECKED
    circle = [*checked.values(), NAN, *checked.values()]
    family = fit(sources, check_finite=False)
    settings = {"eager": given.rehearse, "max_tokens": 16 if given.rehearse else 64}
    found = answer(make_job(sources, circle, prompts, look=True, **settings))
    first = found[0]
    yield Finding("model runner", first["runner"])
    share = first["written_directly"]
    yield Finding("tensors written directly", f"{share:.0%}", "100%", share == 1.0)
    answered = [one for one in found if "tokens" in one]
    same = all(one["addresses"] == first["addresses"] for one in answered)
    yield Finding("addresses of parameters unchanged", str(same), "True", same)
    nan = found[len(checked)]
    yield Finding("a NaN is found", str("non_finite" in nan), "True", "non_finite" in nan)
    for place, (name, recipe) in enumerate(checked.items()):
        fresh = _fresh(given, family, name, recipe, prompts, settings)
        both = found[place], found[len(checked) + 1 + place]
        for when, live in zip(("", ", after a NaN"), both, strict=True):
            right = sum(a == b for a, b in zip(live["tokens"], fresh["tokens"], strict=True))
            yield Finding(
                f"{name}{when}: prompts with a fresh engine's tokens",
                f"{right} of {len(prompts)}",
                "all",
                right == len(prompts),
            )


def _fresh(
    given: Given,
    family: FittedFamily,
    name: str,
    recipe: Recipe,
    prompts: Sequence[str],
    settings: dict[str, Any],
) -> dict[str, Any]:
    out = given.folder / f"export-{name}"
    write_export(family.plan(recipe), family.sources, family.base, out)
    job = make_job({"base": out}, [Single("base")], prompts, **settings)
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        return one.submit(answer, job).result()[-1]


def demo_sources() -> dict[str, Any]:
    """The demo's base and one expert of each kind."""
    chosen = compose.load([], {"lang": "te"}).family
    return {"base": chosen.base, "task/0": chosen.task[0], "lang/0": chosen.language["te"][0]}


def demo_prompts() -> list[str]:
    """Sixteen questions of the demo."""
    file = compose.load([], {"lang": "te"}).objective.mgsm.data_dir / "mgsm_te.tsv"
    lines = file.read_text("utf-8").splitlines()[:16]
    return [f"Q: {line.split(chr(9))[0]} A:" for line in lines]
