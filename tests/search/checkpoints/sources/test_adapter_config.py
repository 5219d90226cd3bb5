"""adapter_config.json: the factor of a product, what must be held whole, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.checkpoints.sources.adapter_config import AdapterConfig
from search.common.errors import CheckpointError

NAMES = (
    *("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"),
    *(f"model.layers.{n}.self_attn.q_proj.{part}" for n in (1, 11) for part in ("weight", "bias")),
)


def read(folder: Path, **changes: Any) -> AdapterConfig:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8} | changes))
    return AdapterConfig.read(folder)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({}, 2.0),
        ({"lora_alpha": 3}, 0.75),
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q_proj": 4, "1.self_attn.q_proj": 16}}, 1.0),  # the first that fits
        ({"alpha_pattern": {"1.self_attn.q_proj": 16, "q_proj": 4}}, 4.0),
        ({"alpha_pattern": {"proj": 16}}, 2.0),  # whole parts of a name
        ({"alpha_pattern": {r"^model\.layers\.1\.self_attn\.q_proj$": 16}}, 4.0),
    ],
)
def test_scale(tmp_path: Path, changes: dict[str, Any], scale: float) -> None:
    assert read(tmp_path, **changes).scale("model.layers.1.self_attn.q_proj", 4) == scale


def test_another_rank(tmp_path: Path) -> None:
    found = read(tmp_path, rank_pattern={"q_proj": 2})
    assert found.scale("model.layers.1.self_attn.q_proj", 2) == 4.0
    with pytest.raises(CheckpointError, match=r"says rank 4 .* of model.norm, and .* have 2"):
        found.scale("model.norm", 2)


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, set()),
        ({"modules_to_save": ["lm_head", "norm"]}, {"lm_head.weight", "model.norm.weight"}),
        ({"modules_to_save": ["layers.1.self_attn"]}, set(NAMES[3:5])),
        ({"modules_to_save": ["score"]}, set()),  # of a classifier, which this base is none
        ({"bias": "all"}, {NAMES[4], NAMES[6]}),
        ({"bias": "lora_only"}, {NAMES[6]}),
        ({"bias": "lora_only", "modules_to_save": ["norm"]}, {NAMES[6], "model.norm.weight"}),
    ],
)
def test_held_whole(tmp_path: Path, changes: dict[str, Any], held: set[str]) -> None:
    assert read(tmp_path, **changes).held_whole(NAMES, [NAMES[5]]) == held


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lora_alpha", None, "lora_alpha: Input should be a valid number, not None"),
        ("lora_alpha", "16", "lora_alpha: Input should be a valid number, not '16'"),
        ("lora_alpha", 10**400, "lora_alpha: Input should be .*, not 1000"),
        ("r", "4", "r: Input should be a valid integer, not '4'"),
        ("r", True, "r: Input should be a valid integer, not True"),
        ("alpha_pattern", ["q_proj"], "alpha_pattern: Input should be a valid dictionary"),
        ("rank_pattern", {"q": "4"}, "rank_pattern.q: Input should be a valid integer, not '4'"),
        ("use_rslora", "no", "use_rslora: Input should be a valid boolean, not 'no'"),
        ("bias", "some", "bias: Input should be 'none', 'all' or 'lora_only', not 'some'"),
        ("modules_to_save", "lm_head", "modules_to_save: Input should be a valid list, not 'lm_h"),
        ("modules_to_save", [7], "modules_to_save.0: Input should be a valid string, not 7"),
    ],
)
def test_values_that_peft_does_not_write(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"adapter_config.json: {message}") as raised:
        read(tmp_path, **{key: value})
    assert len(str(raised.value)) < 500
