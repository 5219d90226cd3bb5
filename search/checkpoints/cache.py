"""Weights that are made once and kept: LoRA merges and pickled checkpoints, as safetensors.

A folder of the user's cache holds one ordinary checkpoint for each content hash. It appears under
its name only when it is complete, so a half-written one never looks finished; a lock makes a second
process wait and use what the first one wrote. Any folder there may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import save_file

from search.checkpoints.checkpoint import (
    FETCHED_FROM,
    ORIGIN,
    Checkpoint,
    TensorInfo,
    revision_of,
)
from search.checkpoints.files import ADAPTER_CONFIG, INDEX, choose, is_own
from search.common.errors import CheckpointError

SHARD_BYTES = 1024**3  # what is in memory at once
_FORMAT = "1"  # raise it when the same inputs give other weights
ALONE = "alone"
"""Our folder of links; see `alone`."""
_LEFT_OUT = (".safetensors", ".bin", ".pt", ".pth", ".index.json", ".py")


def root() -> Path:
    """The project's folder in the user's cache: in $XDG_CACHE_HOME, or ~/.cache."""
    return user_cache_path("layer-swap-search")


def digest(*parts: Path | str) -> str:
    """SHA-256 of files' bytes and of texts, in their order."""
    total = hashlib.sha256(_FORMAT.encode())
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        else:
            total.update(hashlib.sha256(part.encode()).digest())
    return total.hexdigest()


def identity(files: Iterable[Path]) -> str:
    """What tells large files from others without reading them: path, size and time of change.

    In the hub's cache a file's real path is the hash of its content.
    """
    real = sorted({file.resolve() for file in files})
    return json.dumps([(str(f), (state := f.stat()).st_size, state.st_mtime_ns) for f in real])


def store(checkpoint: Checkpoint) -> Checkpoint:
    """A derived checkpoint as an ordinary one, from the cache or written to it now.

    Raises:
        CheckpointError: the cache cannot be written or lacks room.
    """
    derived = checkpoint.derived
    if derived is None:
        return checkpoint
    try:
        final = root() / f"{checkpoint.label.replace('/', '--')}-{derived.key()[:20]}"
        root().mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):
            if not final.exists():
                part = final.with_name(f"{final.name}.part")
                shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
                _write(checkpoint, part)
                os.replace(part, final)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{checkpoint.label} cannot be kept in {root()}: {error}; name another folder in "
            "XDG_CACHE_HOME"
        ) from None
    return Checkpoint.open(final)


def alone(base: Checkpoint) -> Checkpoint:
    """A base in a folder of links to what belongs to it, where its own holds more or has folders.

    vLLM is given the folder, and follows an index and takes files that are to be left alone; it
    looks into no folder below.

    Raises:
        CheckpointError: the cache cannot be written.
    """
    shards = {info.file for info in (*base.whole().tensors.values(), *base.spare.values())}
    nested = any("/" in shard for shard in shards)
    if not (base.notes or nested) or base.derived is not None:
        return base
    links = {shard.replace("/", "--"): base.path / shard for shard in shards}
    links |= {file.name: file for file in companions(base.path, lambda name: True)}
    links.pop(ADAPTER_CONFIG, None)
    where = choose(base.path).where
    if where and not nested:
        links[INDEX] = base.path / INDEX
    try:
        final = root() / ALONE / digest(identity(links.values()))[:20] / base.path.name
        final.parent.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final.parent}.lock"):
            if not final.exists():
                part = final.with_name("part")
                shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
                part.mkdir(parents=True)
                for name, file in links.items():
                    (part / name).symlink_to(file.absolute())
                if nested:
                    flat = {name: shard.replace("/", "--") for name, shard in where.items()}
                    (part / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": flat}))
                if revision := revision_of(base.path):
                    (part / FETCHED_FROM).write_text(revision, encoding="utf-8")
                os.replace(part, final)
    except OSError as error:
        raise CheckpointError(
            f"{base.label} cannot be linked to in {root()}: {error}; name another folder in "
            "XDG_CACHE_HOME"
        ) from None
    return Checkpoint.open(final)


def belongs(file: Path, folder: Path) -> bool:
    """Whether a file is of a model's folder (`files.is_own`), or a link that `alone` made to it."""
    return is_own(file, folder) or (
        file.is_file() and folder.absolute().is_relative_to((root() / ALONE).absolute())
    )


def companions(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """The files beside a model's weights, sorted: configuration, tokenizer, terms; no code.

    Args:
        folder: the model's.
        wanted: says of a name whether it is.

    Raises:
        CheckpointError: one leads out of the folder: what is copied is passed on to others.
    """
    found = [f for f in sorted(folder.iterdir()) if not f.name.endswith(_LEFT_OUT) and f.is_file()]
    found = [file for file in found if wanted(file.name)]
    for file in found:
        if not belongs(file, folder):
            raise CheckpointError(
                f"{file} is a link out of its folder, and would be passed on with the model: put "
                "the file itself there, or remove the link"
            )
    return found


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    derived = checkpoint.derived
    assert derived is not None
    free = shutil.disk_usage(folder.parent).free
    if free < checkpoint.bytes:
        raise OSError(f"{checkpoint.bytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    folder.mkdir()
    for file in companions(derived.files, lambda name: True):
        shutil.copyfile(file, folder / file.name)
    # by their own names: what is kept serves every base
    infos = {info.key or name: info for name, info in checkpoint.whole().tensors.items()}
    shards = list(_shards(infos))
    where: dict[str, str] = {}
    label = f"making {checkpoint.label} once"
    for number, names in enumerate(track(shards, label, console=Console(stderr=True)), 1):
        file = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {name: derived.get(name).contiguous() for name in names}
        save_file(tensors, file, metadata={"format": "pt"})
        with file.open("rb") as written:
            os.fsync(written.fileno())
        where |= dict.fromkeys(names, file.name)
    metadata = {"total_size": checkpoint.bytes, ORIGIN: derived.origin}
    index = {"metadata": metadata, "weight_map": where}
    (folder / INDEX).write_text(json.dumps(index, indent=2))


def _shards(infos: Mapping[str, TensorInfo]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, info in infos.items():
        if names and size + info.bytes > SHARD_BYTES:
            yield names
            names, size = [], 0
        names.append(name)
        size += info.bytes
    if names:
        yield names
