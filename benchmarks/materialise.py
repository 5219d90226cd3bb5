"""Seconds and bandwidth of rewriting a live engine, against reload, mergekit and a fresh engine.

python -m benchmarks.materialise [--shapes llama-3.1-8b] [--expert-gpu-gib 36] [--folder DIR]

Random Llama checkpoints (a base and two experts, bf16) are written to a folder, an engine starts on
them, and each kind of recipe is materialised several times. Bytes moved are what the merge cannot
do without: each source read once, the result written once; their rate is held against that of a
plain copy of as many bytes in the same process. mergekit runs in the Python that MERGEKIT_PYTHON
names.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from search.checkpoints.family import FittedFamily, fit
from search.config import compose
from search.engine.staging import Sizes
from search.export.mergekit_yaml import mergekit_yaml
from search.merging.recipe import DareLinear, LayerSwap, Recipe, Single, Soup, Ties

SHAPES: dict[str, dict[str, int]] = {
    "tiny": dict(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=4096,
    ),
    "500m": dict(
        hidden_size=1536,
        intermediate_size=4096,
        num_hidden_layers=16,
        num_attention_heads=12,
        num_key_value_heads=4,
        vocab_size=32000,
    ),
    "llama-3.1-8b": dict(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    ),
}
SOURCES = ("base", "task/0", "lang/0")
PAIR = ("task/0", "lang/0")
REPEATS = 5
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def recipes(n_layers: int) -> dict[str, Sequence[Recipe]]:
    """What is timed -> recipes that follow one another in a circle."""
    quarter = n_layers // 4
    return {
        "full swap": [Single("task/0"), Single("lang/0")],
        "25% of the layers": [LayerSwap(0, 0, 0, 0, 0, 0), LayerSwap(0, 0, quarter, 0, 0, 0)],
        "soup of the whole": [Soup(PAIR, (0.5, 0.5)), Soup(PAIR, (0.4, 0.6))],
        "TIES of the whole": [Ties(PAIR, 0.3, (0.5, 0.5)), Ties(PAIR, 0.5, (0.5, 0.5))],
        "DARE of the whole": [DareLinear(PAIR, 0.3, (0.5, 0.5)), DareLinear(PAIR, 0.5, (0.5, 0.5))],
    }


def write_family(folder: Path, shapes: str, n_layers: int | None = None) -> None:
    """Random checkpoints, one file for each layer.

    Args:
        folder: where, a folder for each source.
        shapes: key of `SHAPES`.
        n_layers: another number of layers than the model's.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig  # takes seconds

    chosen = compose.load([], {"lang": "te"}).family
    chosen_shapes = SHAPES[shapes] | ({"num_hidden_layers": n_layers} if n_layers else {})
    settings = LlamaConfig(**chosen_shapes, max_position_embeddings=2048, dtype="bfloat16")
    with torch.device("meta"):
        names = AutoModelForCausalLM.from_config(settings).state_dict()
    noise = torch.randn(2**24, generator=torch.Generator().manual_seed(0)).mul_(0.02)
    start = itertools.count(step=2**20 + 1)
    for source in SOURCES:
        out = folder / source.replace("/", "-")
        out.mkdir(parents=True)
        settings.architectures = ["LlamaForCausalLM"]
        settings.save_pretrained(out)
        for file in TOKENIZER:
            if (Path(chosen.base) / file).exists():
                shutil.copyfile(Path(chosen.base) / file, out / file)
        where: dict[str, str] = {}
        groups = itertools.groupby(names.items(), lambda entry: entry[0].split(".")[2:3])
        for number, (_, group) in enumerate(groups):
            tensors = {}
            for name, meta in group:
                rolled = noise.roll(next(start) % noise.numel())
                repeats = -(-meta.numel() // noise.numel())
                values = rolled.repeat(repeats)[: meta.numel()].view(meta.shape)
                tensors[name] = (values if meta.dim() > 1 else values + 1).to(torch.bfloat16)
            file = f"model-{number}.safetensors"
            save_file(tensors, out / file, metadata={"format": "pt"})
            where |= dict.fromkeys(tensors, file)
        index = {"metadata": {}, "weight_map": where}
        (out / "model.safetensors.index.json").write_text(json.dumps(index))


def write_tensors(folder: Path, shapes: Mapping[str, Sequence[int]], seed: int) -> None:
    """One file of random bf16 tensors that opens as a checkpoint of one layer."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(tuple(shape), generator=generator).mul_(0.02).to(torch.bfloat16)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))


def measure(folder: Path, direct: bool, expert_gpu_gib: float, pinned_gib: float) -> dict[str, Any]:
    """Start an engine and time it; in a process of its own."""
    from search.engine.contract import Materialised
    from search.engine.live import Engine
    from tests.engine_options import engine_options

    paths = {source: folder / source.replace("/", "-") for source in SOURCES}
    family = fit(paths, check_finite=False)
    import vllm  # noqa: F401  the import is not the engine's

    start = time.perf_counter()
    options = engine_options(
        max_model_len=256,
        max_num_seqs=8,
        enforce_eager=True,
        direct_writes=direct,
        expert_gpu_gib=expert_gpu_gib,
        expert_pinned_gib=pinned_gib,
    )
    engine = Engine(family, options)
    found: dict[str, Any] = {"fresh": time.perf_counter() - start, "bytes": family.base.bytes}
    gpu = torch.cuda.is_available()
    rings = Sizes().device_slots * Sizes().slot  # made when the engine started
    found["device"] = torch.cuda.get_device_name() if gpu else "CPU"
    found["copy"] = _copy_rate("cuda" if gpu else "cpu")

    def timed(recipe: Recipe) -> float:
        begun = time.perf_counter()
        done = engine.materialise(family.plan(recipe))
        if gpu:
            torch.cuda.synchronize()
        assert isinstance(done, Materialised) and done.tensors
        return time.perf_counter() - begun

    for title, circle in recipes(family.n_layers).items():
        times = [timed(recipe) for recipe in circle]  # reads the files and fills the tiers
        before = torch.cuda.memory_allocated() if gpu else 0
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        times = [timed(recipe) for recipe in list(circle) * REPEATS]
        peak = torch.cuda.max_memory_allocated() - before + rings if gpu else 0
        found[title] = [statistics.median(times), _moved(family, circle), peak]
    if direct:
        times = [_reload(engine, paths["task/0"]) for _ in range(3)]
        found["reload"] = min(times)
    engine.close()
    return found


def _reload(engine: Any, path: Path) -> float:
    begun = time.perf_counter()
    engine.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(path)})
    return time.perf_counter() - begun


def _copy_rate(device: str) -> float:
    """Bytes read and written in a second by a plain copy of 1 GiB."""
    source = torch.ones(2**29, dtype=torch.bfloat16, device=device)
    target = torch.zeros_like(source)
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return 2 * 2**30 / statistics.median(times)


def _moved(family: FittedFamily, circle: Sequence[Recipe]) -> float:
    """Bytes that a step of the circle reads and writes on average."""
    plans = [family.plan(recipe) for recipe in circle]
    total = sum(
        family.base.tensors[name].bytes * (len(new[name].sources) + 1)
        for old, new in zip(plans, plans[1:] + plans[:1], strict=True)
        for name in new
        if old[name] != new[name]
    )
    return total / len(circle)


def _mergekit(folder: Path) -> float | None:
    """Seconds that mergekit takes to write a soup; None without it."""
    python = os.environ.get("MERGEKIT_PYTHON")
    if python is None:
        return None
    family = fit({s: folder / s.replace("/", "-") for s in SOURCES}, check_finite=False)
    recipe = Soup(PAIR, (0.5, 0.5))
    file, out = folder / "soup.yaml", folder / "mergekit"
    file.write_text(mergekit_yaml(recipe, family.paths, family.names, family.n_layers, "BF16"))
    begun = time.perf_counter()
    command = [str(Path(python).with_name("mergekit-yaml")), str(file), str(out), "--quiet"]
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    seconds = time.perf_counter() - begun
    shutil.rmtree(out)
    return seconds


def measured(place: Path, direct: bool, expert_gpu_gib: float, pinned_gib: float) -> dict[str, Any]:
    """`measure` in a process of its own."""
    code = (
        "import json, sys; from pathlib import Path; from benchmarks.materialise import *; "
        f"found = measure(Path({str(place)!r}), {direct}, {expert_gpu_gib}, {pinned_gib}); "
        "print(json.dumps(found))"
    )
    environment = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(
    shapes: str = "500m",
    expert_gpu_gib: float = 0.0,
    pinned_gib: float = 0.0,
    folder: Path | None = None,
) -> list[str]:
    """Measure; lines of Markdown."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary) / "family"
        if not place.exists():
            write_family(place, shapes)

        fast, slow = (measured(place, d, expert_gpu_gib, pinned_gib) for d in (True, False))
        merged = _mergekit(place)
    return list(_lines(shapes, fast, slow, merged))


def _lines(
    shapes: str, fast: dict[str, Any], slow: dict[str, Any], merged: float | None
) -> Iterator[str]:
    yield (
        f"{shapes}: {fast['bytes'] / 1e9:.2f} GB in bf16 on {fast['device']}; a plain copy moves "
        f"{fast['copy'] / 1e9:.1f} GB/s (read and written)."
    )
    yield ""
    yield "| | s | GB moved | of a plain copy's rate | s by vLLM's reload |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for title, (seconds, moved, _) in ((t, v) for t, v in fast.items() if isinstance(v, list)):
        share = moved / seconds / fast["copy"]
        yield (
            f"| {title} | {seconds:.3f} | {moved / 1e9:.2f} | {share:.0%} | {slow[title][0]:.3f} |"
        )
    yield f"| plain `reload_weights` from disk | {fast['reload']:.3f} | | | |"
    yield f"| fresh engine (vLLM imported already) | {fast['fresh']:.1f} | | | |"
    if merged is None:
        yield "| mergekit to disk | not measured: MERGEKIT_PYTHON names no Python | | | |"
    else:
        total = merged + fast["fresh"]
        yield f"| mergekit's soup to disk, then a fresh engine | {total:.1f} | | | |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", choices=SHAPES, default="500m")
    parser.add_argument("--expert-gpu-gib", type=float, default=0.0, help="experts in GPU memory")
    parser.add_argument("--pinned-gib", type=float, default=0.0, help="experts in pinned memory")
    parser.add_argument("--folder", type=Path, help="keep the random checkpoints here")
    given = parser.parse_args()
    print("\n".join(main(given.shapes, given.expert_gpu_gib, given.pinned_gib, given.folder)))
