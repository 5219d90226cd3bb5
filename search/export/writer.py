"""A merged model as a Hugging Face folder, written piece by piece.

Owns the layout of the folder, and that a half-written one never looks finished: everything goes to
`.NAME.part` beside it, which is renamed at the end; what a killed process left there is removed by
the next export to the same place. Knows nothing of families, recipes or engines.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType

import torch
from filelock import FileLock, Timeout

from objectives.words import scaled
from search.checkpoints.cache import companions
from search.checkpoints.checkpoint import Checkpoint, TensorInfo, is_finite
from search.checkpoints.files import ADAPTER_CONFIG, INDEX
from search.common.errors import CheckpointError
from search.merging.arithmetic import combine, is_elementwise
from search.merging.mix import Mix, Plan, linear
from search.records.durable import sync_folder

SHARD_BYTES = 4 * 1024**3  # transformers' save_pretrained splits at 5 GB; a bit less loads anywhere
PIECE_BYTES = 64 * 1024**2
"""What is merged and written at a time, where the method allows it."""
MARK = "recipe.json"
"""A file that only exports have: what --force may replace."""
FILES = "files.txt"
"""The names of an export's files, one a line: what may be handed on."""

# Configuration and tokenizer, no code, no weights and no training state; terms of use go along.
_COPIED = (".json", ".jinja", ".txt", ".model", ".tiktoken")
_TERMS = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
_LEFT_OUT = (ADAPTER_CONFIG, "trainer_state.json", "all_results.json", MARK, FILES)


def write_export(
    plan: Plan,
    sources: Mapping[str, Checkpoint],
    base: Checkpoint,
    out: Path,
    *,
    notes: Mapping[str, str] | None = None,
    force: bool = False,
    advance: Callable[[int], None] = lambda size: None,
) -> None:
    """Write the merged model as a Hugging Face folder: base's config and tokenizer, new weights.

    The folder appears under its name only when it is complete and on disk. Memory: some
    `PIECE_BYTES` of each source; of TIES, DARE and SLERP the largest tensor of each source.

    Args:
        plan: how every tensor of the base is made.
        sources: source name -> checkpoint, for each source of the plan.
        base: whose config, generation config and tokenizer are taken.
        out: folder to make.
        notes: further text files: name -> text.
        force: replace an earlier export.
        advance: told of every piece, in bytes.

    Raises:
        CheckpointError: what `check_target` finds, the merge holds NaN or infinity, the disk
            refuses, or another process exports to the same place.
    """
    check_target(plan, sources, base, out, force=force)
    plan, sources = _with_carried(plan, sources, base)
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _alone(out):
            part = out.with_name(f".{out.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            part.mkdir()
            try:
                for file in _companions(base):
                    shutil.copyfile(file, part / file.name)
                for name, text in (notes or {}).items():
                    (part / name).write_text(text, encoding="utf-8")
                with _one_thread():
                    _write_shards(plan, sources, part, advance)
                Checkpoint.open(part)
                names = sorted({FILES, *(file.name for file in part.iterdir())})
                (part / FILES).write_text("\n".join(names) + "\n", encoding="utf-8")
                _publish(part, out)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{out} cannot be written: {error}") from None


def check_target(
    plan: Plan, sources: Mapping[str, Checkpoint], base: Checkpoint, out: Path, *, force: bool
) -> None:
    """Check that an export may be written and has room; cheap, so that it can come before all work.

    Arguments as of `write_export`; of checkpoints, headers are enough.

    Raises:
        CheckpointError: `out` exists, is not what `force` may replace, or the disk is too full.
    """
    out = out.absolute()
    if out.is_symlink():  # to a folder or to nothing: it could not be given its place at the end
        raise CheckpointError(f"{out} is a link: name the folder itself, or remove the link")
    if out.exists() and not force:
        raise CheckpointError(
            f"{out} exists: name another folder, remove it, or replace an earlier export by --force"
        )
    if out.resolve() in {c.path.resolve() for c in (base, *sources.values())}:
        raise CheckpointError(f"{out} is itself a part of this merge: name another folder")
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        raise CheckpointError(
            f"{out} is no earlier export (it has no {MARK}), and --force replaces nothing else: "
            "name another folder, or remove it yourself"
        )
    needed = sum(i.bytes for i in _infos(*_with_carried(plan, sources, base)).values())
    needed += sum(file.stat().st_size for file in _companions(base))
    there = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CheckpointError(
            f"no disk space for {out}: {scaled(needed)} are needed, {scaled(free)} are "
            f"free in {there}: make room or name a folder on another disk"
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the place against other processes; the lock's file goes while it is held."""
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"another process is exporting to {out}: wait for it") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _companions(base: Checkpoint) -> list[Path]:
    def wanted(name: str) -> bool:
        return name not in _LEFT_OUT and (name.endswith(_COPIED) or name.startswith(_TERMS))

    return companions(base.path, wanted)


def _publish(part: Path, out: Path) -> None:
    """Give a complete folder its name; an earlier one goes only then."""
    sync_folder(part)
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    try:
        os.replace(part, out)
    except OSError:
        if old.exists():
            os.replace(old, out)
        raise
    sync_folder(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _with_carried(
    plan: Plan, sources: Mapping[str, Checkpoint], base: Checkpoint
) -> tuple[Plan, Mapping[str, Checkpoint]]:
    """A plan that also copies what the base has beside its text decoder."""
    if not base.carried:
        return plan, sources
    copied = dict.fromkeys(base.carried, linear([("base", 1.0)]))
    return {**plan, **copied}, {**sources, "base": base.whole()}


def _infos(plan: Plan, sources: Mapping[str, Checkpoint]) -> dict[str, TensorInfo]:
    """What the merged model's headers will say; a merge has the dtype of its sources."""
    return {name: sources[mix.sources[0]].tensors[name] for name, mix in plan.items()}


def _write_shards(
    plan: Plan, sources: Mapping[str, Checkpoint], folder: Path, advance: Callable[[int], None]
) -> None:
    infos = _infos(plan, sources)
    shards: list[list[str]] = [[]]
    size = 0
    for name, info in infos.items():
        if shards[-1] and size + info.bytes > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += info.bytes
    where: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        last = f"-{number:05}-of-{len(shards):05}" if len(shards) > 1 else ""
        file = f"model{last}.safetensors"
        with open(folder / file, "wb") as out:
            # wide types first, so that every tensor is aligned to its own (safetensors does so too)
            names = sorted(names, key=lambda name: -_width(infos[name]))
            out.write(_header({name: infos[name] for name in names}))
            for name in names:
                for piece in _pieces(plan[name], sources, name, infos[name]):
                    _refuse_non_finite(piece, name)
                    # any dtype as bytes; memory is little-endian, as the format wants
                    data = piece.contiguous().reshape(-1).view(torch.uint8).numpy()
                    out.write(data.data)
                    advance(data.nbytes)
                    del piece, data  # before the next piece is made
            out.flush()
            os.fsync(out.fileno())
        where |= dict.fromkeys(names, file)
    if len(shards) > 1:
        total = sum(info.bytes for info in infos.values())
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _width(info: TensorInfo) -> int:
    return info._replace(shape=(1,)).bytes


def _header(infos: Mapping[str, TensorInfo]) -> bytes:
    """The head of a safetensors file: length (8 bytes), JSON, spaces up to a multiple of 8.

    https://github.com/huggingface/safetensors#format; the library writes whole dictionaries only.
    """
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, info in infos.items():
        end = start + info.bytes
        entries[name] = {"dtype": info.dtype, "shape": info.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _pieces(
    mix: Mix, sources: Mapping[str, Checkpoint], name: str, info: TensorInfo
) -> Iterator[torch.Tensor]:
    """The merged tensor, in rows where each element is computed alone.

    Every piece opens its files anew: mapped pages that have been read count as this process's
    memory until the mapping goes.
    """
    places: list[slice | EllipsisType] = [...]
    if is_elementwise(mix) and info.shape and info.bytes > PIECE_BYTES:
        rows = max(1, PIECE_BYTES * info.shape[0] // info.bytes)
        places = [slice(start, start + rows) for start in range(0, info.shape[0], rows)]
    for place in places:
        opened = ((source, sources[source]) for source in mix.sources)
        parts = {
            source: Checkpoint(c.path, c.config, c.tensors, c.derived).read(name)[place]
            for source, c in opened
        }
        yield combine(mix, parts, name)


def _refuse_non_finite(piece: torch.Tensor, name: str) -> None:
    if not is_finite(piece):
        raise CheckpointError(
            f"{name} of the merge holds NaN or infinity: a source does, or the recipe scales it "
            "too far; nothing was written"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Merging works in chunks too small to share out: beside other work, two threads wait most.

    Seen on two busy cores: 0.05 GB/s with two threads, 1 GB/s with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
