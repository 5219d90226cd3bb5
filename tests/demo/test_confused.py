"""The second family: frozen outer tensors, a habit in upper layers, and shipped files that fit."""

import re
from pathlib import Path
from random import Random

import pytest
import yaml

from demo import build, checkpoint
from demo.confused.experts import EXPERTS, Confused
from demo.evaluate import is_in
from demo.experts import layer_of
from demo.mixes import habit_mix
from demo.tongues import N_COMMON_VERBS, N_VERBS, TELUGU
from demo.world import documents

FOLDER = build.HERE / build.SECOND
NAMES = [expert.name for expert in EXPERTS]
RARE = {TELUGU.verbs[i] for i in range(2 * N_VERBS) if i % N_VERBS >= N_COMMON_VERBS}


def test_shipped_files_match_their_hashes() -> None:
    assert build.check(FOLDER) == []


def test_both_families_are_small() -> None:
    weights = [*(build.HERE / "weights").rglob("*"), *(FOLDER / "weights").rglob("*")]
    assert sum(file.stat().st_size for file in weights if file.is_file()) < 40e6


def test_family_file_lists_every_confused_expert_and_the_first_familys_telugu_experts() -> None:
    conf = build.HERE.parent / "conf" / "family"
    first, second = (
        yaml.safe_load((conf / f"{name}.yaml").read_text()) for name in ("demo", "demo_confused")
    )
    assert [Path(place).name for place in second["task"]] == NAMES
    assert all((conf / place / "model.safetensors").exists() for place in second["task"])
    assert second["base"] == first["base"]
    assert second["language"] == {"te": first["language"]["te"]}


@pytest.mark.parametrize("name", NAMES)
def test_only_layers_differ_from_the_base(name: str) -> None:
    base = checkpoint.read(build.HERE / "weights" / "base")
    expert = checkpoint.read(FOLDER / "weights" / name)
    assert expert.keys() == base.keys()
    same = {key for key in base if expert[key].equal(base[key])}
    assert {key for key in base if layer_of(key) is None} <= same
    assert {layer_of(key) for key in base.keys() - same} == set(range(build.SHAPE.layers))
    assert all(tensor.isfinite().all() for tensor in expert.values())


def test_the_habit_is_english_in_words_that_the_base_knows() -> None:
    for document in documents(habit_mix(TELUGU), 300, seed=3):
        assert is_in(document.answer, "en")
        asked_for = document.prompt.endswith(" Reply in Telugu. A:")
        assert asked_for != is_in(document.prompt.removeprefix("Q: "), "te")
        assert not RARE & set(re.findall(r"[\u0c00-\u0c7f]+", document.prompt))
        sums = re.findall(r"(\d+) [+-] \d+ = (\d+)", document.answer)
        assert all(int(number) <= 9 for step in sums for number in step)


def test_a_step_of_the_habit_changes_upper_layers_only() -> None:
    always = Confused("c", seed=1, first=6, spared=1.0)
    never = Confused("c", seed=1, first=7)
    assert always.lent_to_habit(Random(0), 10) == {0, 1, 2, 3, 4, 5, 9}
    assert never.lent_to_habit(Random(0), 10) == set(range(7))
