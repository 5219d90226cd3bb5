"""The writer of merged checkpoints: its bits, its memory, and what is left when it does not end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from search.checkpoints.checkpoint import Checkpoint
from search.checkpoints.family import Family, FittedFamily, fit
from search.common.errors import CheckpointError
from search.export import writer
from search.export.writer import write_export
from search.merging.arithmetic import combine
from search.merging.plan import Plan, plan
from search.merging.recipe import DareLinear, LayerSwap, Recipe, Single, Slerp, TaskArithmetic, Ties

PAIR = ("task/0", "lang/1")
SWAP = LayerSwap(0, 1, 1, 1, 1, 0, 0.3, 0.7)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def family(tiny_llama: Family) -> FittedFamily:
    return fit(tiny_llama.sources("te"))


def planned(family: FittedFamily, recipe: Recipe = SWAP) -> Plan:
    return plan(recipe, family.names, family.n_layers)


def export(family: FittedFamily, out: Path, recipe: Recipe = SWAP, **options: object) -> None:
    merged = planned(family, recipe)
    write_export(merged, family.sources, family.base, out, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "recipe",
    [SWAP, Single("task/1"), TaskArithmetic(PAIR, (0.5, 0.7)), Ties(PAIR, 0.3, (1.0, 1.0)),
     DareLinear(PAIR, 0.5, (0.5, 0.5)), Slerp(0, 1, (0.2, 0.6))],
    ids=lambda recipe: type(recipe).__name__,
)  # fmt: skip
def test_pieces_are_the_whole(
    family: FittedFamily, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written in pieces of 7 rows, every bit is that of the tensor merged at once."""
    monkeypatch.setattr(writer, "PIECE_BYTES", 7 * 2 * 64)
    pieces: list[int] = []
    export(family, tmp_path / "out", recipe, advance=pieces.append)
    written = load_file(tmp_path / "out" / "model.safetensors")
    for name, mix in planned(family, recipe).items():
        whole = combine(mix, {s: family.sources[s].read(name) for s in mix.sources}, name)
        assert torch.equal(written[name], whole), name
    assert sum(pieces) == family.base.bytes
    by_rows = isinstance(recipe, LayerSwap | Single | TaskArithmetic)
    assert (len(pieces) > 3 * len(family.names)) == by_rows


def test_types_of_several_widths_are_aligned(tmp_path: Path) -> None:
    """As the format wants: a float32 tensor after an odd number of bf16 would lie askew."""
    tensors = {
        "a": torch.randn(3).bfloat16(),
        "b": torch.randn(5),
        "c": torch.tensor(2.5),
        "d": torch.tensor([True, False, True]),
        "e": torch.arange(3),
    }
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 1}))
    save_file(tensors, folder / "model.safetensors")
    base = Checkpoint.open(folder)
    write_export(plan(Single("base"), base.tensors, 1), {"base": base}, base, tmp_path / "out")
    ours, theirs = ((f / "model.safetensors").read_bytes() for f in (tmp_path / "out", folder))
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    length = int.from_bytes(ours[:8], "little")
    header = json.loads(ours[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}  # without it transformers refuses
    assert length % 8 == 0 and len(ours) - length == len(theirs) - int.from_bytes(
        theirs[:8], "little"
    )
    for name, entry in header.items():
        assert entry["data_offsets"][0] % tensors[name].element_size() == 0


def test_several_shards(
    family: FittedFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SHARD_BYTES", 100_000)
    export(family, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": family.base.bytes}
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert [s.name for s in shards] == [f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    assert all(shard.stat().st_size < 110_000 for shard in shards)
    assert {name: shard.name for shard in shards for name in load_file(shard)} == index[
        "weight_map"
    ]


def test_what_goes_along(family: FittedFamily, tmp_path: Path) -> None:
    """Configuration, tokenizer, terms of use; no code, pickles, indexes, training state, card."""
    base = tmp_path / "base"
    shutil.copytree(family.base.path, base)
    extra = ["modeling_x.py", "pytorch_model.bin", "pytorch_model.bin.index.json", "README.md",
             "old.safetensors.index.json", "training_args.bin", "trainer_state.json"]  # fmt: skip
    kept = ["LICENSE", "vocab.txt", "tokenizer.model", "chat_template.jinja"]
    for name in extra + kept:
        (base / name).write_text("{}")
    opened = Checkpoint.open(base)
    merged = planned(family, Single("base"))
    write_export(merged, {"base": opened}, opened, tmp_path / "out", notes={"a.md": "é"})
    names = {file.name for file in (tmp_path / "out").iterdir()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert names >= {"config.json", "generation_config.json", "a.md", *tokenizer, *kept}
    assert not names & set(extra)
    assert (tmp_path / "out" / "a.md").read_text("utf-8") == "é"


def test_existing_folder_needs_force_and_force_an_export(
    family: FittedFamily, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "papers").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="out exists: name another folder, remove it, or"):
        export(family, out)
    with pytest.raises(CheckpointError, match=r"no earlier export \(it has no recipe.json\)"):
        export(family, out, force=True)
    (out / "papers").rmdir()
    export(family, out, Single("task/0"), force=True, notes={"recipe.json": "{}", "old": ""})
    export(family, out, force=True, notes={"recipe.json": "{}"})
    assert not (out / "old").exists() and (out / "recipe.json").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_the_old_export_stays_until_the_new_one_is_complete(
    family: FittedFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(family, out, Single("task/0"), notes={"recipe.json": "old"})
    before = (out / "model.safetensors").read_bytes()

    def full(size: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="out cannot be written: .*No space left"):
        export(family, out, force=True, advance=full)
    with pytest.raises(KeyboardInterrupt):
        export(family, out, force=True, advance=_interrupt)
    assert (out / "model.safetensors").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def _interrupt(size: int) -> None:
    raise KeyboardInterrupt


def test_a_part_of_the_merge_is_never_replaced(family: FittedFamily, tmp_path: Path) -> None:
    export(family, tmp_path / "out", notes={"recipe.json": "{}"})
    base = Checkpoint.open(tmp_path / "out")
    with pytest.raises(CheckpointError, match="out is itself a part of this merge"):
        write_export(planned(family, Single("base")), {"base": base}, base, base.path, force=True)


Usage = namedtuple("Usage", "total used free")


def test_disk_space_is_checked_first(
    family: FittedFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = Usage(10**9, 0, family.base.bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(CheckpointError, match=r"no disk space for .* kB are needed, [0-9.]+ kB"):
        export(family, tmp_path / "deep" / "er" / "out")
    assert not list(tmp_path.iterdir())


def test_merge_that_is_not_finite(family: FittedFamily, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"of the merge holds NaN or infinity"):
        export(family, tmp_path / "out", TaskArithmetic(PAIR, (1e39, 1.0)))
    assert not list(tmp_path.iterdir())


def test_two_exports_to_one_place(family: FittedFamily, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".out.lock"):
        with pytest.raises(CheckpointError, match="another process is exporting to .*out"):
            export(family, tmp_path / "out")
    export(family, tmp_path / "out")


KILLED = """
import json, os, signal, sys
from pathlib import Path
from search.export.writer import write_export
from search.checkpoints.family import fit
from search.merging.plan import plan
from search.merging.recipe import Single

family = fit(json.loads(sys.argv[1]))
pieces = []

def advance(size):
    pieces.append(size)
    if len(pieces) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

merged = plan(Single("task/0"), family.names, family.n_layers)
write_export(merged, family.sources, family.base, Path(sys.argv[2]), advance=advance)
"""


@pytest.mark.slow
def test_killed_export_never_looks_finished(family: FittedFamily, tmp_path: Path) -> None:
    """What it left is removed by the next export to that place."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, json.dumps(family.paths), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists() and (tmp_path / ".out.part" / "model.safetensors").exists()
    export(family, out)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
