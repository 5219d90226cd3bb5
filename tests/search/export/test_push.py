"""An export is handed on as it was made and nothing else: to a hub on this machine, to MLflow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from search.common.errors import CheckpointError, ConfigError, HubError
from search.export import push
from search.export.writer import FILES
from tests.hub_server import Hub

TOKEN = "hf_only_for_this_test"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder as an export leaves it, its weights in two shards."""
    folder = tmp_path / "merged"
    folder.mkdir()
    texts = {
        "README.md": "---\nlicense: mit\n---\n# merged\n",
        "recipe.json": json.dumps({"key": "abc", "label": "te b1", "recipe": {"b": 1}}),
        "config.json": "{}",
        "model-00001-of-00002.safetensors": "first",
        "model-00002-of-00002.safetensors": "second",
        "model.safetensors.index.json": "{}",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / FILES).write_text("\n".join([*texts, FILES]) + "\n")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that takes uploads with the token of the environment."""
    hub = Hub(tmp_path / "hub", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    hub.close()


def uploaded(hub: Hub, name: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in hub.models[name].iterdir()}


def test_the_folder_is_uploaded_private_in_one_commit(hub: Hub, export: Path) -> None:
    found = push.push(export, "org/merged", public=False)
    assert found == push.Pushed(f"{hub.url}/org/merged", private=True)
    assert uploaded(hub, "org/merged") == {f.name: f.read_bytes() for f in export.iterdir()}
    assert sorted(hub.uploads.values()) == [b"first", b"second"]  # weights go to LFS
    assert hub.private == {"org/merged"} and len(hub.commits["org/merged"]) == 1


@pytest.mark.slow
def test_a_second_export_takes_the_place_of_the_first(hub: Hub, export: Path) -> None:
    push.push(export, "org/merged", public=True)
    assert hub.private == set()
    (hub.models["org/merged"] / "notes.md").write_text("somebody's")
    names = [name for name in push.files_of(export) if not name.startswith("model")]
    for file in export.glob("model*"):
        file.unlink()
    (export / "model.safetensors").write_text("whole")
    (export / FILES).write_text("\n".join([*names, "model.safetensors"]))
    push.push(export, "org/merged", public=True)
    there = uploaded(hub, "org/merged")
    assert there.keys() == {*names, "model.safetensors", "notes.md"}
    assert there["model.safetensors"] == b"whole"


def test_a_public_model_gets_nothing_that_was_meant_to_be_private(hub: Hub, export: Path) -> None:
    push.push(export, "org/merged", public=True)
    (export / "config.json").write_text('{"secret": 1}')
    with pytest.raises(HubError, match="org/merged exists on the hub and is public: write --pub"):
        push.push(export, "org/merged", public=False)
    assert uploaded(hub, "org/merged")["config.json"] == b"{}"


def test_what_the_hub_does_not_take(
    hub: Hub, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(HubError, match=r"does not take org/x from you \(401\): log in with `hf"):
        push.push(export, "org/x", public=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="org/x: no upload to http://127.0.0.1:9"):
        push.push(export, "org/x", public=False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(export / "none"))
    with pytest.raises(HubError, match="nobody has logged in to the hub: log in with `hf auth"):
        push.push(export, "org/x", public=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push.push(export, "org/x", public=False)
    assert hub.models == {}


@pytest.mark.parametrize("name", ["merged", "a/b/c", "a/..", "org/na me", "/x", ""])
def test_names_that_no_model_has(name: str) -> None:
    with pytest.raises(ConfigError, match="is no model of the hub"):
        push.check_name(name)


def _link(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/etc/hostname")


def _list(folder: Path, name: str) -> None:
    with (folder / FILES).open("a") as file:
        file.write(f"{name}\n")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_link, "config.json is no plain file"),
        (lambda f: (f / "id_rsa").write_text("x"), "id_rsa is not of the export"),
        (lambda f: (f / ".env").write_text("x"), r"\.env is not of the export"),
        (lambda f: (f / "more").mkdir(), "more is not of the export"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: _list(f, "../secret"), r"\.\./secret is missing"),
        (lambda f: ((f / ".git").mkdir(), _list(f, ".git")), r"\.git is no plain file"),
        (lambda f: os.mkfifo(f / "pipe") or _list(f, "pipe"), "pipe is no plain file"),
        (lambda f: (f / FILES).unlink(), "has no list of its files"),
        (lambda f: (f / FILES).write_text("README.md"), f"{FILES} does not list recipe.json"),
    ],
)
def test_a_folder_that_is_not_as_exported_stays_here(
    hub: Hub, export: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(export)
    with pytest.raises(CheckpointError, match=why):
        push.push(export, "org/x", public=False)
    assert hub.models == {}


def test_an_edited_card_goes_along(export: Path) -> None:
    (export / "README.md").write_text("mine")
    assert push.files_of(export)["README.md"] == 4


def test_folders_of_this_machine_are_seen(export: Path) -> None:
    assert push.places_in(export) == []
    (export / "family.yaml").write_text("base: /home/me/base\n")
    (export / "mergekit.yaml").write_text("model: org/name\n")
    assert push.places_in(export) == ["family.yaml"]


def test_a_version_leads_to_the_folder_or_the_hub(export: Path) -> None:
    here = push.version_of(export, "te-math")
    assert here.source == export.as_uri() and here.card.endswith("# merged\n")
    assert here.tags["card"] == str(export / "README.md") and "hub" not in here.tags
    there = push.version_of(export, "te-math", "https://hub/org/x")
    assert there.source == there.tags["hub"] == "https://hub/org/x"
    assert there.tags["card"] == "https://hub/org/x/blob/main/README.md"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "says nothing of a merge"),
        ('{"held_out": null}', "held_out is no mapping of scores to shares: None"),
        ('{"held_out": 0.5}', "held_out is no mapping of scores to shares: 0.5"),
        ('{"held_out": [0.5]}', r"held_out is no mapping of scores to shares: \[0.5\]"),
        ('{"held_out": {"accuracy": "much"}}', "held_out is no mapping .*'much'"),
        ('{"held_out": {"accuracy": true}}', "held_out is no mapping .*True"),
    ],
)
def test_an_export_that_says_odd_things_of_itself(export: Path, text: str, fault: str) -> None:
    (export / "recipe.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"recipe.json.* {fault}"):
        push.version_of(export, "te-math")
