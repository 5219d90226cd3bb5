"""What every engine must do: `search.engine.live.Engine`, and the fake one that tests use instead.

Each function takes an engine that has just been built on a family with two task and two language
experts, and leaves it usable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from objectives.types import Request, Sampling
from search.checkpoints.family import FittedFamily
from search.common.errors import EngineDeadError, MaterialiseError
from search.engine.contract import LiveEngine, Materialised, NonFinite
from search.merging.plan import Plan, plan
from search.merging.recipe import LayerSwap, Recipe, Single

A, B = LayerSwap(0, 0, 1, 1, 0, 0), LayerSwap(1, 1, 2, 1, 1, 0)
REQUESTS = [Request(f"Q: {n} and {n + 3} make what? A:", Sampling(12)) for n in range(5)]
MEASURED = [
    Request(r.prompt, Sampling(1), continuation=f" {n} sheep") for n, r in enumerate(REQUESTS)
]
MEASURED += [Request("", Sampling(1), continuation="some text", rolling=True)]
SAMPLED = [Request(r.prompt, Sampling(12, temperature=0.7, top_p=0.9), seed=7) for r in REQUESTS]


def planned(recipe: Recipe, family: FittedFamily) -> Plan:
    return plan(recipe, family.names, family.n_layers)


def answers_in_order(engine: LiveEngine, family: FittedFamily) -> None:
    """One completion for each request, no longer than asked, the same alone as among others."""
    found = engine.generate(REQUESTS)
    assert not isinstance(found, NonFinite) and len(found) == len(REQUESTS)
    for request, answer in zip(REQUESTS, found, strict=True):
        assert 0 < answer.n_tokens <= request.sampling.max_tokens
        assert answer.finish_reason in ("stop", "length")
    assert engine.generate(REQUESTS[::-1]) == found[::-1]
    assert engine.generate([]) == []


def the_plan_decides(engine: LiveEngine, family: FittedFamily) -> None:
    """The same plan gives the same answers whatever was loaded before, sampled ones too."""
    first: dict[Recipe, object] = {}
    for recipe in (A, B, A, Single("base"), B, A):
        assert isinstance(engine.materialise(planned(recipe, family)), Materialised)
        found = engine.generate([*REQUESTS, *SAMPLED])
        assert first.setdefault(recipe, found) == found
    assert first[A] != first[B]


def only_changes_are_written(engine: LiveEngine, family: FittedFamily) -> None:
    """A plan that is loaded already costs nothing; whole layers are rewritten, or none of them."""
    engine.materialise(planned(Single("base"), family))
    done = engine.materialise(planned(A, family))
    assert isinstance(done, Materialised) and done.layers == family.n_layers and done.bytes > 0
    again = engine.materialise(planned(A, family))
    assert isinstance(again, Materialised)
    assert (again.bytes, again.layers, again.tensors) == (0, 0, 0)


def another_models_plan_is_refused(engine: LiveEngine, family: FittedFamily) -> None:
    names = list(planned(A, family))[1:]
    with pytest.raises(MaterialiseError, match="not the family's"):
        engine.materialise({name: planned(A, family)[name] for name in names})
    assert isinstance(engine.materialise(planned(A, family)), Materialised)


def continuations_are_measured(engine: LiveEngine, family: FittedFamily) -> None:
    """As likely among others as alone, and again; nothing is generated; the weights decide."""
    known = {}
    for recipe in (A, B, A):
        engine.materialise(planned(recipe, family))
        alone = [engine.generate([request]) for request in MEASURED]
        mixed = engine.generate([x for pair in zip(MEASURED, REQUESTS, strict=False) for x in pair])
        assert not isinstance(mixed, NonFinite)
        found = [each[0].logprob for each in alone if not isinstance(each, NonFinite)]
        assert [each.logprob for each in mixed[::2]] == pytest.approx(found[:5], abs=1e-4)
        assert {(each.text, each.n_tokens) for each in mixed[::2]} == {("", 0)}
        assert all(each.n_tokens and each.logprob is None for each in mixed[1::2])
        assert found == pytest.approx(known.setdefault(recipe, found), abs=1e-4)
    assert known[A] != pytest.approx(known[B], abs=1e-4)


def others_experts_are_served(engine: LiveEngine, family: FittedFamily) -> None:
    """As by an engine that was built for them, whatever was loaded; and back again."""
    names = {"lang/0": "lang/1", "lang/1": "lang/0"}
    sources = {name: family.sources[names.get(name, name)] for name in family.sources}
    other = replace(family, sources=sources)

    def answers(of: FittedFamily, recipe: Recipe) -> object:
        assert isinstance(engine.materialise(planned(recipe, of)), Materialised)
        return engine.generate([*REQUESTS, *MEASURED])

    mine, swapped = answers(family, A), LayerSwap(0, 1, 1, 1, 0, 0)
    theirs = answers(family, swapped)
    assert mine != theirs
    assert engine.adopt(other)
    assert (answers(other, A), answers(other, swapped)) == (theirs, mine)
    assert engine.adopt(family)
    assert answers(family, A) == mine


def another_base_is_not_served(engine: LiveEngine, family: FittedFamily) -> None:
    """And nothing has changed."""
    engine.materialise(planned(A, family))
    before = engine.generate(REQUESTS)
    foreign = family.sources | {"base": family.sources["task/0"]}
    assert not engine.adopt(replace(family, sources=foreign))
    assert engine.generate(REQUESTS) == before


def closed_is_closed(engine: LiveEngine, family: FittedFamily) -> None:
    """Comes last."""
    engine.close()
    engine.close()
    with pytest.raises(EngineDeadError):
        engine.generate(REQUESTS)


CONTRACT: list[Callable[[LiveEngine, FittedFamily], None]] = [
    answers_in_order,
    the_plan_decides,
    only_changes_are_written,
    another_models_plan_is_refused,
    continuations_are_measured,
    others_experts_are_served,
    another_base_is_not_served,
    closed_is_closed,
]
