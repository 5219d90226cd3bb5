"""Hand an exported folder on: which files are its own, their upload to the hub, their registration.

Owns that nothing but the export leaves this machine: no link is followed, and a folder that holds
anything else is refused. The token is taken from where `hf auth login` or HF_TOKEN puts it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from objectives.bounds import read_whole
from search.common.errors import CheckpointError, ConfigError, HubError
from search.common.values import short
from search.export.writer import FILES, MARK
from search.records.study_path import is_name
from search.study.tracking.registry import Version
from search.study.tracking.runs import experiment_name

CARD = "README.md"
"""The model card."""
_OURS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
"""Weights as an export names them."""
_NAME = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
LOGIN = "log in with `hf auth login`, or name a token that may write in HF_TOKEN"
_FAULTS = (HfHubHTTPError, HTTPError, OSError, ValueError)


def files_of(folder: Path) -> dict[str, int]:
    """The files of an export and their sizes in bytes, by name.

    Raises:
        CheckpointError: it is no export, lacks one of its files, or holds a link or anything else;
            all of them are named.
    """
    faults = []
    try:
        listed = read_whole(folder / FILES).decode().splitlines()
        there = {entry.name: entry for entry in folder.iterdir()}
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} is no export, or one of an earlier version: it has no list of its files "
            f"({FILES}): {error}. Export it anew"
        ) from None
    for name in sorted({*listed, *there}):
        entry = there.get(name)
        if name not in listed:
            faults.append(f"{name} is not of the export")
        elif entry is None:
            faults.append(f"{name} is missing")
        elif entry.is_symlink() or not entry.is_file() or not is_name(name):
            faults.append(f"{name} is no plain file")
    if MARK not in listed:
        faults.append(f"{FILES} does not list {MARK}")
    if faults:
        raise CheckpointError(
            f"{folder} is not as it was exported: {'; '.join(faults)}. Nothing is handed on: put "
            "it right, or export anew"
        )
    return {name: there[name].stat().st_size for name in sorted(listed)}


def stated(folder: Path) -> Mapping[str, Any]:
    """What an export says of itself in its recipe.json.

    Raises:
        CheckpointError: nothing, or nothing that is JSON.
    """
    try:
        found = json.loads(read_whole(folder / MARK).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder / MARK} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{folder / MARK} says nothing of a merge")
    return found


def places_in(folder: Path) -> list[str]:
    """Files of an export that name folders of this machine."""
    texts = (folder / name for name in ("family.yaml", "mergekit.yaml"))
    named = re.compile(r"(^|[\s\"'\[])/\w", re.MULTILINE).search
    return [file.name for file in texts if file.is_file() and named(file.read_text("utf-8"))]


def check_name(repository: str) -> None:
    """Refuse what can't be a model of the hub.

    Raises:
        ConfigError: it is not ORG/NAME.
    """
    if not _NAME.fullmatch(repository) or ".." in repository or "--" in repository:
        raise ConfigError(f"--push {repository} is no model of the hub: write ORG/NAME")


def version_of(folder: Path, model: str, url: str = "") -> Version:
    """An export as a version of a model in MLflow's registry.

    Args:
        folder: the export's.
        model: the registered model's name.
        url: where it was uploaded to; empty where it was not, and the version leads to the folder.

    Raises:
        CheckpointError: its card or recipe.json cannot be read, or that holds odd scores.
    """
    said, where = stated(folder), folder.resolve()
    held_out = said.get("held_out", {})
    shares = held_out.values() if isinstance(held_out, dict) else [None]
    if not all(type(share) in (int, float) for share in shares):
        raise CheckpointError(
            f"{folder / MARK}: held_out is no mapping of scores to shares: {short(held_out)}"
        )
    try:
        card = read_whole(folder / CARD).decode()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / CARD} cannot be read: {error}") from None
    names = ("label", "key", "family", "lang", "study")
    tags = {name: str(said.get(name, "")) for name in names}
    tags |= {"recipe": json.dumps(said.get("recipe")), "folder": str(where), "hub": url}
    tags["card"] = f"{url}/blob/main/{CARD}" if url else str(where / CARD)
    tags |= {f"held_out_{n}": f"{100 * value:.4g}" for n, value in held_out.items()}
    return Version(
        model,
        url or where.as_uri(),
        card,
        {name: value for name, value in tags.items() if value},
        experiment_name(tags["family"], tags["lang"]) if tags["study"] else "",
        tags["study"],
        tags["key"],
    )


def check_login() -> None:
    """Whether this machine may ask the hub, and in somebody's name; the hub is not asked.

    Raises:
        HubError: it may not, or nobody has logged in.
    """
    if constants.is_offline_mode():
        raise HubError("the hub may not be asked (HF_HUB_OFFLINE is set)", unreachable=True)
    if get_token() is None:
        raise HubError(f"nobody has logged in to the hub: {LOGIN}")


@dataclass(frozen=True)
class Pushed:
    """Where an export is now.

    Attributes:
        url: of the model's page.
        private: whether only its owner's people see it.
    """

    url: str
    private: bool


def push(folder: Path, repository: str, *, public: bool) -> Pushed:
    """Upload an export in one commit; weights of an earlier one that it lacks are removed there.

    Args:
        folder: the export's.
        repository: ORG/NAME, made where there is none.
        public: whether everybody may see it.

    Raises:
        CheckpointError: the folder is not what was exported.
        ConfigError: the repository's name cannot be one.
        HubError: the hub refuses or is away, or the repository is public and that was not said.
    """
    check_name(repository)
    check_login()
    names = list(files_of(folder))
    api = HfApi()
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        private = bool(api.model_info(repository).private)
        if not (private or public):
            raise HubError(
                f"{repository} exists on the hub and is public: write --public, or name another"
            )
        there = set(api.list_repo_files(repository))
        old = sorted(name for name in there - set(names) if _OURS.fullmatch(name))
        parts = [CommitOperationAdd(name, folder / name) for name in names]
        gone = [CommitOperationDelete(name) for name in old]
        api.create_commit(repository, [*parts, *gone], commit_message="Upload the merged model")
    except _FAULTS as error:
        raise _explain(repository, error) from error
    return Pushed(f"{constants.ENDPOINT}/{repository}", private)


def _explain(repository: str, error: Exception) -> HubError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    first = (str(error).splitlines() or [type(error).__name__])[0]
    if status in (401, 403):
        return HubError(f"the hub does not take {repository} from you ({status}): {LOGIN}")
    if response is None:
        return HubError(
            f"{repository}: no upload to {constants.ENDPOINT}: {first}", unreachable=True
        )
    return HubError(f"the hub refuses {repository}: {first}")
