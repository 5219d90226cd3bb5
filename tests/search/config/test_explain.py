"""What is wrong with a configuration: one line for each key, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import ConfigError
from search.config import compose

TE = {"lang": "te"}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("search.trial=4", "search.trial = 4: unknown key (did you mean search.trials?); al"),
        ("trials=4", "trials = 4: unknown key (did you mean search.trials?); allowed are lang, "),
        ("serch.trials=4", "serch = {'trials': 4}: unknown key (did you mean search?); allowed"),
        (
            "objective.mgsm.shot=3",
            "objective.mgsm.shot = 3: unknown key (did you mean objective.mgsm.shots?); allowed "
            "are data_dir, ",
        ),
        ("search.zzz=4", "search.zzz = 4: unknown key; allowed are trials, "),
        ("search.sampler=tpee", "'random' or 'nsga2' (did you mean tpe?)"),
        ("space.ramp=linaer", "'constant' or 'linear' (did you mean linear?)"),
        ("search.baselines.slrep=3", "'slerp' (did you mean slerp?)"),
        ("objective.task=mgsmm", "package.module:Class (did you mean mgsm?)"),
        ("objective.also=[englsh]", "also: englsh is none of"),
        ("objective.also=[mgsm]", "also: mgsm is scored already"),
        ("objective.also=[lcpr]", "also: lcpr is scored already"),
        ("objective.also=[english,english]", "also: english is scored already, or named twice"),
        ("objective.constraints={lpr: true}", "objective.constraints.lpr = True"),
        ("objective.also=[englsh]", "(did you mean english?)"),
        ("objective.mgsm.data_dir=3", "data_dir = 3: must be the path of a file or folder"),
        ("objective=code", "code.data_dir = None: must be the path of a file or folder"),
        ("space.t_b=x", "space.t_b = 'x': must be a list, such as [1, 2]"),
        ("search.engine.expert_gpu_gib=x", "search.engine.expert_gpu_gib = 'x': Input should be"),
        ("search.engine.expert_gpu_gib=x", "as a number, or Input should be 'auto'"),
    ],
)
def test_one_line_for_a_key(override: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose.load([override], TE)
    assert line in str(error.value)
    assert str(error.value).startswith("1 fault in the configuration:\n  ")
    assert "[" not in str(error.value).partition(" = ")[0].partition(":\n")[2]


@pytest.mark.parametrize(
    ("lang", "meant"), [("telugu", "te"), ("Telgu", "te"), ("Swahilli", "sw"), ("12", "")]
)
def test_a_language_by_its_name(lang: str, meant: str) -> None:
    guess = rf" \(did you mean {meant}\?\)$" if meant else "$"
    with pytest.raises(ConfigError, match="must be the code of a language, such as te" + guess):
        compose.load([], {"lang": lang})


def test_a_file_of_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_family.yaml").touch()
    for choice, meant in (
        *(("search=laptopp", "laptop"), ("objective=mgsm_lbc", "mgsm_lcb")),
        ("family=my_famly.yaml", "my_family.yaml"),
    ):
        with pytest.raises(ConfigError, match=rf"no such file \(did you mean {meant}\?\); shipped"):
            compose.load([choice], TE)
