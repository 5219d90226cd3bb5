"""Bad input of the main job: one clear error, exit status 2, nothing left behind, no engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from search.checkpoints.family import Family
from search.run import __main__ as run
from tests.data import write_lcb, write_mgsm


class Setup:
    """A valid command line for the tiny family, for tests to spoil."""

    def __init__(self, folder: Path, family: Family) -> None:
        self.folder = folder
        self.out = folder / "runs"
        self.mgsm, self.lcb = write_mgsm(folder / "mgsm"), write_lcb(folder / "lcb")
        self.family = {
            "name": family.name,
            "base": str(family.base),
            "task": [str(p) for p in family.task],
            "language": {k: [str(p) for p in v] for k, v in family.language.items()},
        }
        self.more: list[str] = []

    def main(self, lang: str = "te", study: str | None = "s") -> int:
        file = self.folder / "family.yaml"
        file.write_text(yaml.safe_dump(self.family))
        return run.main(
            [
                f"--lang={lang}",
                f"--out={self.out}",
                *([f"--study={study}"] if study else []),
                f"--mgsm-dir={self.mgsm}",
                f"--lcb-dir={self.lcb}",
                f"family={file}",
                "objective=mgsm_lcb",
                "objective.mgsm.shots=0",
                "objective.mgsm.search_items=6",
                "objective.mgsm.held_out_items=6",
                "objective.lcpr.search_items=4",
                "objective.lcpr.held_out_items=4",
                *self.more,
            ]
        )


@pytest.fixture
def setup(tmp_path: Path, tiny_llama: Family, monkeypatch: pytest.MonkeyPatch) -> Setup:
    def no_engine(*_: object, **__: object) -> bool:
        pytest.fail("the study was started")

    monkeypatch.setattr("search.run.job.run", no_engine)
    return Setup(tmp_path, tiny_llama)


def _spoil_shard(s: Setup) -> None:
    copy = s.folder / "lost"
    copy.mkdir()
    (copy / "config.json").write_text((Path(s.family["base"]) / "config.json").read_text())  # type: ignore[arg-type]
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    s.family["task"] = [str(copy)]


def _set(key: str, value: object) -> Callable[[Setup], None]:
    return lambda s: s.family.update({key: value})


def _more(*overrides: str) -> Callable[[Setup], None]:
    return lambda s: s.more.extend(overrides)


def _lines(text: str) -> Callable[[Setup], None]:
    return lambda s: (s.mgsm / "mgsm_te.tsv").write_text(text, encoding="utf-8") and None


def _overflow(s: Setup) -> None:
    s.family["task"] = s.family["language"]["xx"]  # type: ignore[index]


BAD = [
    ("missing expert", _set("task", ["nowhere"]), r"task/0: nowhere/config.json is missing"),
    ("missing shard", _spoil_shard, r"missing: model-00002-of-00002.safetensors"),
    ("unknown key", _set("tasks", []), r"family.tasks = \[\]: unknown key; allowed are name, base"),
    ("bounds", _more("space.b=[0,3]", "space.u=[0,3]"), r"reach 6 layers, but the model has 4"),
    ("empty data", _lines(""), r"mgsm_te.tsv"),
    ("malformed data", _lines("1 + 1 = ?\t2\nno tab here\n"), r"mgsm_te.tsv(:|, line )2"),
    ("too few items", _more("objective.mgsm.search_items=7"), r"12 items; .*7 \+ .*6 = 13"),
    ("no chat template", _more("objective.chat=true"), r"objective.chat: .* no chat template"),
    ("no examples", _more("space.decoding.shots=[1]"), r"shots.*examples|examples.*shots"),
    ("shards", _more("search.engine.tensor_parallel_size=3"), r"3 does not divide the 2 attention"),
    ("missing data", lambda s: (s.mgsm / "mgsm_te.tsv").unlink(), r"mgsm_te.tsv"),
]


@pytest.mark.parametrize(("spoil", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(
    setup: Setup, capsys: pytest.CaptureFixture[str], spoil: Callable[[Setup], None], message: str
) -> None:
    import re

    spoil(setup)
    assert setup.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error), error
    assert not (setup.out / "s").exists()


def test_unknown_language(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(lang="sw") == 2
    assert (
        "--lang sw: family tiny-llama has no expert for it; it has te, xx"
        in capsys.readouterr().err
    )


def test_nan_in_an_expert(setup: Setup, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "nan"
    shutil.copytree(str(setup.family["base"]), copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = torch.nan
    save_file(tensors, copy / "model.safetensors")
    setup.family["task"] = [str(copy)]
    assert setup.main() == 2
    assert f"task/0 ({copy}) has NaN or infinity in lm_head.weight" in capsys.readouterr().err


def test_output_folder_below_a_file(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    (setup.folder / "file").write_text("")
    setup.out = setup.folder / "file" / "runs"
    assert setup.main() == 2
    assert "cannot be written" in capsys.readouterr().err


def test_study_with_another_configuration(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: True)
    assert setup.main() == 0
    setup.more = ["search.trials=7"]
    assert setup.main() == 2
    assert "another configuration: search.trials (40 there, 7 here)" in capsys.readouterr().err


def test_resume_takes_no_configuration(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: True)
    assert setup.main() == 0
    folder = str(setup.out / "s")
    assert run.main(["--resume", folder]) == 0
    assert run.main(["--resume", folder, "--trials", "7"]) == 2
    assert "leave out --trials" in capsys.readouterr().err


def test_interrupted_is_130(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.run.job.run", lambda *_: False)
    assert setup.main() == 130


def test_only_its_own_ray_is_kept_on_loopback(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray looks at the environment; who starts nodes after a search must not inherit it."""
    seen = []

    def study(*_: object) -> bool:
        seen.append(dict(os.environ))
        return True

    monkeypatch.setattr("search.run.job.run", study)
    before = dict(os.environ)
    assert setup.main() == 0
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert setup.main(study="on-a-cluster") == 0
    monkeypatch.delenv("RAY_ADDRESS")
    assert dict(os.environ) == before
    local, cluster = seen
    assert local.keys() - before.keys() == {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in cluster


def test_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 2
    assert "--lang is missing" in capsys.readouterr().err
