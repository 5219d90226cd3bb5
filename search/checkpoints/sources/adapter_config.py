"""The adapter_config.json of a LoRA adapter (PEFT's LoraConfig).

Owns the factor of each product, what the adapter's file must hold beside its LoRA matrices, and
which of PEFT's variants are a plain sum of base and product; the weights themselves are
`search.checkpoints.sources.lora`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from search.checkpoints.files import ADAPTER_CONFIG, read_json
from search.common.errors import CheckpointError
from search.common.values import misfits, short

REMEDY = "merge it with PEFT's merge_and_unload() and give the folder that save_pretrained() writes"
_BESIDE = {
    *("init_lora_weights", "peft_type", "peft_version", "task_type", "auto_mapping", "revision"),
    *("inference_mode", "target_modules", "exclude_modules", "layers_to_transform"),
    *("layers_pattern", "lora_dropout", "eva_config", "megatron_core", "qalora_group_size"),
    *("runtime_config", "ensure_weight_tying"),
}
"""Entries that do not change what a merge gives."""

_INITS = (True, False, "gaussian", "eva", "orthogonal")  # the others change the base's weights too
_N = TypeVar("_N", int, float)
_NAME = re.compile(r"\^?[\w.-]+\$?")  # of a module, or of the end of some; no regular expression


class AdapterConfig(BaseModel):
    """The entries that are used here, with PEFT's names, types and defaults."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    base_model_name_or_path: str | None = None
    r: int = 8
    lora_alpha: float = 8
    use_rslora: bool = False
    rank_pattern: dict[str, int] | None = None
    alpha_pattern: dict[str, float] | None = None
    fan_in_fan_out: bool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    modules_to_save: list[str] | None = None

    @classmethod
    def read(cls, folder: Path) -> AdapterConfig:
        """What PEFT's folder says.

        Raises:
            CheckpointError: it cannot be read, holds other values than PEFT writes, or is of a kind
                that is more than base + scale x B A; every reason is named.
        """
        file = folder / ADAPTER_CONFIG
        found = read_json(file, "a PEFT adapter folder holds one")
        _refuse_variants(file, found)
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise CheckpointError(f"{file}: {misfits(error)}; PEFT writes no such value") from None

    def scale(self, module: str, rank: int) -> float:
        """The factor of a module's B A: its alpha is the first of `alpha_pattern` that fits.

        PEFT takes regular expressions there, which might never come to an end: names alone are
        taken, of modules or of their last parts, with ^ for the whole name.

        Args:
            module: its name in the base.
            rank: that its LoRA matrices have, 1 or more.

        Raises:
            CheckpointError: a pattern is more than a name, or the configuration says another rank:
                PEFT divides by the one that it says.
        """
        alpha = _by_name(module, self.alpha_pattern, self.lora_alpha)
        said = _by_name(module, self.rank_pattern, self.r)
        if said != rank:
            raise CheckpointError(
                f"{ADAPTER_CONFIG} says rank {short(said, 40)} (r, rank_pattern) of {module}, and "
                f"its LoRA matrices have {rank}"
            )
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def held_whole(self, names: Iterable[str], adapted: Iterable[str]) -> set[str]:
        """The tensors that the adapter must hold as they were trained, by its own words.

        Args:
            names: of the base's tensors.
            adapted: those that LoRA matrices are added to.
        """
        wanted = {name for name in names if _within(name, self.modules_to_save or [])}
        biases = {name for name in names if name.endswith(".bias")}
        if self.bias == "lora_only":
            biases &= {f"{name.removesuffix('.weight')}.bias" for name in adapted}
        return wanted if self.bias == "none" else wanted | biases


KNOWN = _BESIDE | set(AdapterConfig.model_fields)
"""All entries that may be on; any other that is on is refused by its name."""


def _ends(module: str, name: str) -> bool:
    return f".{module}".endswith(f".{name}")


def _within(tensor: str, modules: Iterable[str]) -> bool:
    """Whether a tensor is of a module whose name ends with one of these, or of a part of one."""
    return any(f".{name}." in f".{tensor}" for name in modules)


def _refuse_variants(file: Path, config: Mapping[str, Any]) -> None:
    faults = [f"{k} = {short(v, 80)}" for k, v in sorted(config.items()) if v and k not in KNOWN]
    if config.get("peft_type") != "LORA":
        faults.insert(0, f"peft_type = {short(repr(config.get('peft_type')), 80)}")
    if config.get("init_lora_weights", True) not in _INITS:
        faults.append(
            f"init_lora_weights = {short(repr(config['init_lora_weights']), 80)}, which changes "
            "the base"
        )
    if faults:
        raise CheckpointError(
            f"{file} has {'; '.join(faults)}: that is more than base + scale x B A; {REMEDY}"
        )


def _by_name(module: str, patterns: Mapping[str, _N] | None, otherwise: _N) -> _N:
    """The value of the first name that is a module's, whole or its last parts.

    Raises:
        CheckpointError: a pattern is more than a name.
    """
    for pattern, value in (patterns or {}).items():
        name = pattern.replace("\\.", ".")
        if not _NAME.fullmatch(name):
            raise CheckpointError(
                f"{ADAPTER_CONFIG}: pattern {short(repr(pattern), 60)} is no plain name of "
                f"modules, and other patterns are not followed; {REMEDY}"
            )
        name = name.removesuffix("$")
        if _ends(module, name) or f"^{module}" == name:
            return value
    return otherwise
