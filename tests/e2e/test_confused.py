"""The second demo family on a real engine: recipes differ in LCPR, not in accuracy alone."""

from __future__ import annotations

import json

from search.checkpoints.family import Family
from search.config import compose
from search.merging.recipe import LayerSwap, to_dict
from tests.engine_process import named, run_code

SCRIPT = """
import json, sys
from pathlib import Path
from search.checkpoints.family import fit
from search.config import compose
from search.engine.live import Engine
from search.merging.recipe import from_dict
from search.config.scored import build_objectives
from tests.engine_options import engine_options

settings, recipes = json.loads(SETTINGS), json.loads(RECIPES)
family = fit({n: Path(p) for n, p in (a.split("=", 1) for a in sys.argv[1:])}, check_finite=False)
engine = Engine(family, engine_options(max_num_seqs=128, enforce_eager=True))
judges = build_objectives(compose.load(settings, {"lang": "te"}).objective, "te").values()
found = []
for recipe in map(from_dict, recipes):
    engine.materialise(family.plan(recipe))
    scores = {}
    for judge in judges:
        scores |= judge.score("search", engine.generate(judge.requests("search"))).scores
    found.append({name: scores[name].value for name in ("accuracy", "lcpr")})
engine.close()
print("FOUND" + json.dumps(found))
"""
SETTINGS = [
    "family=demo_confused",
    "objective.mgsm.search_items=60",
    "objective.mgsm.held_out_items=1",
    "objective.lcpr.search_items=40",
    "objective.lcpr.held_out_items=2",
]


def test_upper_layers_carry_the_language_of_the_answers() -> None:
    family = Family(**compose.load(SETTINGS, {"lang": "te"}).family.model_dump())
    recipes = [LayerSwap(0, 2, 1, u, 0, 0) for u in (0, 3)]
    code = f"SETTINGS = {json.dumps(SETTINGS)!r}\n"
    code += f"RECIPES = {json.dumps([to_dict(recipe) for recipe in recipes])!r}\n{SCRIPT}"
    printed = run_code(code, *named(family.sources("te")))
    english, telugu = json.loads(printed.split("FOUND")[1])
    assert english["lcpr"] < 0.1 and telugu["lcpr"] > 0.9
    assert english["accuracy"] > 0.5 and telugu["accuracy"] > 0.5
