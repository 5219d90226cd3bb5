"""A merged model as a Hugging Face folder, written shard by shard.

Owns the layout of the folder and that a half-written one never looks finished. Knows nothing of
families, recipes or engines.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from search.checkpoint import Checkpoint
from search.errors import CheckpointError
from search.merge import combine
from search.plan import Plan

SHARD_BYTES = 4 * 1024**3  # transformers' save_pretrained splits at 5 GB; a bit less loads anywhere
_INDEX = "model.safetensors.index.json"


def write_export(
    plan: Plan, sources: Mapping[str, Checkpoint], base: Checkpoint, out: Path
) -> None:
    """Write the merged model as a Hugging Face folder: base's config and tokenizer, new weights.

    Streams shard by shard; the folder appears under its name only when it is complete.

    Args:
        plan: how every tensor of the base is made.
        sources: source name -> checkpoint, for each source of the plan.
        base: whose config, generation config and tokenizer are taken.
        out: folder to make; must not exist.

    Raises:
        CheckpointError: `out` exists.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists: name another folder or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for file in base.path.iterdir():
            if file.is_file() and file.suffix not in {".safetensors", ".bin", ".pt", ".pth"}:
                if file.name != _INDEX:
                    shutil.copy2(file, part / file.name)
        _write_shards(plan, sources, part)
        part.chmod(0o755)
        os.replace(part, out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_shards(plan: Plan, sources: Mapping[str, Checkpoint], folder: Path) -> None:
    shards: list[list[str]] = [[]]
    sizes, total = [0], 0
    for name, mix in plan.items():
        tensor = sources[mix.sources[0]].read(name)
        size = tensor.numel() * tensor.element_size()
        if sizes[-1] and sizes[-1] + size > SHARD_BYTES:
            shards.append([])
            sizes.append(0)
        shards[-1].append(name)
        sizes[-1] += size
        total += size
    where = {}
    for number, names in enumerate(shards, 1):
        single = len(shards) == 1
        file = (
            "model.safetensors" if single else f"model-{number:05}-of-{len(shards):05}.safetensors"
        )
        merged = {
            n: combine(plan[n], {s: sources[s].read(n) for s in plan[n].sources}, n) for n in names
        }
        save_file(
            {n: t.contiguous() for n, t in merged.items()}, folder / file, metadata={"format": "pt"}
        )
        where.update(dict.fromkeys(names, file))
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / _INDEX).write_text(json.dumps(index, indent=2))
