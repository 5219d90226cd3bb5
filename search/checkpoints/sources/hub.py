"""Models of the Hugging Face hub: from `org/name@revision` to a folder in the hub's cache.

Owns what is downloaded (safetensors, JSON, tokenizer; pickled weights only where allowed, code
never), once for all engines of a node, and what is said when a model cannot be had. Knows nothing
of families.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants, get_session, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    NotASafetensorsRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SafetensorsParsingError,
)

from search.checkpoints.checkpoint import TensorInfo, headers_of, revision_of
from search.checkpoints.files import INDEX, Weights, choose_of
from search.checkpoints.sources.node_files import locked, progress
from search.common.errors import HubError

WAYS_OUT = (
    "Two ways out: with a connection, run this command or `hf download ORG/NAME` once, after which "
    "the hub's cache has the model; or write the folder where it lies into the family's YAML."
)

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@\w[\w./-]*)?")
SMALL = [
    *("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja"),
    *("README.md", "LICENSE*", "adapter_model.safetensors"),
]
NEVER = ["*/*", "consolidated*"]  # other formats' folders; Mistral's second copy of the weights
_NO_ANSWER = (LocalEntryNotFoundError, ConnectionError, HTTPError)
_FAULTS = (OSError, ValueError, HTTPError, NotASafetensorsRepoError, SafetensorsParsingError)


def is_id(location: str | Path) -> bool:
    """Whether a place names a model of the hub: `org/name` or `org/name@revision`, no folder.

    `..` is in no id: the hub's cache makes paths of names and revisions.
    """
    text = str(location)
    return bool(_ID.fullmatch(text)) and ".." not in text and not Path(text).exists()


def reachable() -> bool:
    """Whether the hub answers: asked once, because each later request tries for half a minute."""
    try:
        get_session().head(constants.ENDPOINT, timeout=constants.DEFAULT_ETAG_TIMEOUT)
    except (OSError, HTTPError):
        return False
    return True


def fetch(location: str, *, online: bool, weights: bool, allow_bin: bool = False) -> Path:
    """The model's folder in the hub's cache; what it lacks is downloaded.

    Args:
        location: `org/name` or `org/name@revision`; a branch is looked up anew when online.
        online: whether the hub may be asked.
        weights: False leaves the weights (an adapter's excepted) where they are.
        allow_bin: take pickled weights where the model has no safetensors.

    Raises:
        HubError: it is not cached and cannot be downloaded; the message has both readings of
            `location`, a folder and an id.
    """
    try:
        folder = _snapshot(location, SMALL, online)
        wanted = choose_there(Path(folder), online=online)
        files = list(wanted.needed(weights=weights, allow_bin=allow_bin))
        if files:
            repository = Path(folder).parents[1]
            pinned = f"{location.partition('@')[0]}@{Path(folder).name}"
            with locked(repository.name), progress(location, repository):
                never = NEVER if wanted.kind == "pickled" else ()  # shards may lie in folders
                _snapshot(pinned, files, online, never)
        if weights and not online and wanted.kind == "":
            raise LocalEntryNotFoundError("no weights in the cache")
    except _FAULTS as error:
        raise _explain(location, error) from error
    return Path(folder)


def _snapshot(
    location: str, patterns: list[str], online: bool, never: Sequence[str] = NEVER
) -> str:
    name, _, revision = location.partition("@")
    return snapshot_download(
        name,
        revision=revision or None,
        local_files_only=not online,
        allow_patterns=patterns,
        ignore_patterns=list(never),
    )


def choose_there(folder: Path, *, online: bool) -> Weights:
    """Which of a model's files hold its weights, by the names on the hub.

    Without the hub, by what the cache has.

    Args:
        folder: of the hub's cache, from `fetch`.
        online: whether the hub may be asked.

    Raises:
        CheckpointError: what `files.choose_of` finds.
        HubError: the hub may not be asked, and the cache lacks shards that the index names.
    """
    revision = revision_of(folder)
    name, _, commit = revision.partition("@")
    names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    if online:
        try:
            names = HfApi().list_repo_files(name, revision=commit)
        except _FAULTS as error:
            raise _explain(revision, error) from error
    elif INDEX in names and not any(file.endswith(".safetensors") for file in names):
        raise _explain(revision, ConnectionError())
    return choose_of(revision, names, (folder / INDEX).read_bytes)


def headers(folder: Path, weights: Weights, *, online: bool) -> Iterator[tuple[str, TensorInfo]]:
    """Names, dtypes and shapes of a model whose weights are still on the hub: kilobytes are read.

    Args:
        folder: of the hub's cache, from `fetch`.
        weights: what `choose_there` says.
        online: whether the hub may be asked.

    Raises:
        HubError: the hub cannot be reached, or the model has no safetensors.
        CheckpointError: the index names what no file holds.
    """
    revision = revision_of(folder)
    name, _, commit = revision.partition("@")
    if not online:
        raise _explain(revision, ConnectionError())
    if not weights.files:
        raise _explain(revision, NotASafetensorsRepoError())

    def read(file: str) -> Iterator[tuple[str, TensorInfo]]:
        try:
            found = HfApi().parse_safetensors_file_metadata(name, file, revision=commit)
        except _FAULTS as error:
            raise _explain(revision, error) from error
        for tensor, info in found.tensors.items():
            yield tensor, TensorInfo(file, info.dtype, tuple(info.shape))

    yield from headers_of(revision, weights, read)


def _explain(location: str, error: Exception) -> HubError:
    name, _, revision = location.partition("@")
    unreachable = False
    if isinstance(error, GatedRepoError):
        why = f"{name} is gated on the hub: accept its terms there and log in with `hf auth login`"
    elif isinstance(error, RepositoryNotFoundError):
        why = f"the hub has no model {name}, or a private one: log in with `hf auth login`"
    elif isinstance(error, RevisionNotFoundError):
        why = f"the hub's model {name} has no revision {revision}"
    elif isinstance(error, NotASafetensorsRepoError):
        why = (
            f"the hub's model {name} has no safetensors; if it has pytorch_model*.bin that you "
            "trust, set allow_bin: true in the family's YAML"
        )
    elif not isinstance(error, HfHubHTTPError) and isinstance(error, _NO_ANSWER):
        unreachable = True
        offline = constants.is_offline_mode()
        reason = "HF_HUB_OFFLINE is set" if offline else f"no answer from {constants.ENDPOINT}"
        why = (
            f"as a model of the hub it is not (or not wholly) in {constants.HF_HUB_CACHE}, and the "
            f"hub cannot be reached ({reason})"
        )
    else:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        why = f"the hub's model {name} cannot be downloaded: {first}"
    return HubError(f"{location}: no such folder, and {why}", unreachable=unreachable)
