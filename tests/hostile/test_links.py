"""Links in folders that came from somebody else: nothing is written through them, or passed on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from search.checkpoints.cache import companions
from search.checkpoints.family import Family, fit
from search.common.errors import CheckpointError, StudyError
from search.export.model_card import NOT_STATED, licence_of
from search.export.writer import check_target, write_export
from search.inspect import expert_vectors
from search.merging.recipe import Single
from search.records.durable import write_whole
from search.records.folder import FolderStore
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from search.results import figures
from search.study.proposing.storage import open_storage
from tests.hostile.limits import limited

SECRET = "whoever reads this has read too much"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Somebody's file, elsewhere."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text(SECRET)
    return tmp_path / "home" / "secret"


@pytest.mark.parametrize("name", ["study.yaml", "study.yaml.part"])
def test_what_is_written_whole_goes_through_no_link(
    tmp_path: Path, secret: Path, name: str
) -> None:
    (tmp_path / name).symlink_to(secret)
    write_whole(tmp_path / "study.yaml", b"a: 1")
    assert secret.read_text() == SECRET
    file = tmp_path / "study.yaml"
    assert file.read_bytes() == b"a: 1" and not file.is_symlink()
    assert not (tmp_path / "study.yaml.part").is_symlink()


@pytest.mark.parametrize("name", ["pareto.png", "expert_vectors.csv", "cosines.csv"])
def test_figures_and_tables_are_written_so(tmp_path: Path, secret: Path, name: str) -> None:
    (tmp_path / name).symlink_to(secret)
    if name.endswith("png"):
        figure, _ = figures._figure(1, 1)
        figures._save(figure, tmp_path / name)
    else:
        expert_vectors.write_csv(expert_vectors.ExpertVectors(1, {}, (), {}, {}, (), 0), tmp_path)
    assert secret.read_text() == SECRET and not (tmp_path / name).is_symlink()


@pytest.mark.parametrize("name", ["trials.jsonl", "items", "optuna.journal", "report.md"])
def test_a_study_that_holds_links_is_not_gone_on_with(
    tmp_path: Path, secret: Path, name: str
) -> None:
    """Else lines are added to somebody's file, or a store is sent it."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).symlink_to(secret.parent if name == "items" else secret)
    with pytest.raises(StudyError, match=rf"s/{name} is a link.*put the file itself there"):
        FolderStore(tmp_path / "s", "runs/s").take()
    assert secret.read_text() == SECRET and os.listdir(secret.parent) == ["secret"]


def _pipe(file: Path, secret: Path) -> None:
    os.mkfifo(file)


def _folder(file: Path, secret: Path) -> None:
    file.mkdir()


def _other_name(file: Path, secret: Path) -> None:
    os.link(secret, file)


@pytest.mark.parametrize("name", ["trials.jsonl", "optuna.journal", ".lock"])
@pytest.mark.parametrize(
    ("make", "said"),
    [(_pipe, "is no file"), (_folder, "is no file"), (_other_name, "has another name elsewhere")],
)
def test_nor_one_whose_files_are_something_else(
    make: Callable[[Path, Path], None], said: str, name: str, tmp_path: Path, secret: Path
) -> None:
    """A pipe is waited for without end; of two names of one file one may be anybody's."""
    (tmp_path / "s").mkdir()
    make(tmp_path / "s" / name, secret)
    with pytest.raises(StudyError, match=rf"s/{name} {said}"):
        FolderStore(tmp_path / "s", "runs/s").take()
    assert secret.read_text() == SECRET


@pytest.mark.parametrize("name", ["optuna.journal.lock", "mlflow.json", "report.md.part"])
def test_nor_one_with_pipes_of_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    os.mkfifo(tmp_path / "s" / name)
    with pytest.raises(StudyError, match=rf"s/{name} is no file: remove it"):
        FolderStore(tmp_path / "s", "runs/s").take()


@pytest.mark.slow
@pytest.mark.parametrize("make", [_pipe, lambda file, _: file.symlink_to("/dev/zero")])
def test_what_is_read_of_a_study_has_an_end(
    make: Callable[[Path, Path], None], tmp_path: Path, secret: Path
) -> None:
    study = tmp_path / "runs" / "s"
    RecordsWriter.create(study, StudyHead("s", {})).close()
    for name in (".lock", "trials.jsonl"):
        (study / name).unlink(missing_ok=True)
        make(study / name, secret)
    code = (
        "import signal, sys\n"
        "signal.alarm(60)\n"
        "from pathlib import Path\n"
        "from search import studies\n"
        "from search.common.errors import StudyError\n"
        "from search.records.reader import RecordsReader\n"
        "assert studies.main([sys.argv[1]]) == 0\n"
        "try: RecordsReader.read(Path(sys.argv[1]) / 's')\n"
        "except StudyError as error: print(error)\n"
    )
    run = limited("-c", code, str(tmp_path / "runs"))
    assert run.returncode == 0, run.stderr[-2000:]
    assert "s cannot be read: [Errno 22] it is no regular file" in run.stdout


@pytest.mark.parametrize("rest", ["", "0b7c.rename"])
def test_a_lock_that_a_killed_driver_left_is_removed_not_followed(
    tmp_path: Path, secret: Path, rest: str
) -> None:
    """Optuna locks its journal by a link, and renames it before it removes it."""
    lock = tmp_path / "s" / f"optuna.journal.lock{rest}"
    lock.parent.mkdir()
    lock.symlink_to(secret)
    FolderStore(tmp_path / "s", "runs/s").take()
    storage = open_storage(None, tmp_path / "s")
    optuna.create_study(storage=storage, study_name="s")
    assert not lock.is_symlink() and secret.read_text() == SECRET


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("target", ["home", "nowhere"])
def test_an_export_to_a_link_is_refused_before_all_work(
    tiny_llama: Family, tmp_path: Path, secret: Path, target: str, force: bool
) -> None:
    (tmp_path / "out").symlink_to(tmp_path / target)
    family = fit({"base": tiny_llama.base})
    plan = family.plan(Single("base"))
    with pytest.raises(CheckpointError, match="out is a link: name the folder itself"):
        check_target(plan, family.sources, family.base, tmp_path / "out", force=force)


@pytest.mark.parametrize("name", ["LICENSE", "generation_config.json"])
def test_an_export_passes_on_no_file_from_elsewhere(
    tiny_llama: Family, tmp_path: Path, secret: Path, name: str
) -> None:
    base = shutil.copytree(tiny_llama.base, tmp_path / "base")
    (base / name).unlink(missing_ok=True)
    (base / name).symlink_to(secret)
    family = fit({"base": base})
    with pytest.raises(CheckpointError, match=rf"{name} is a link out of its folder.*remove the"):
        write_export(family.plan(Single("base")), family.sources, family.base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_within_a_model_and_to_its_blobs_are_followed(
    tiny_llama: Family, tmp_path: Path, secret: Path
) -> None:
    """The hub's cache is made of links; those that lead to another model's blobs are not taken."""
    model = tmp_path / "models--org--name"
    folder = model / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    shutil.copytree(tiny_llama.base, model / "blobs")
    for file in (model / "blobs").iterdir():
        (folder / file.name).symlink_to(f"../../blobs/{file.name}")
    (folder / "LICENSE").write_text("mine")
    (folder / "LICENSE.txt").symlink_to("LICENSE")
    family = fit({"base": folder})
    write_export(family.plan(Single("base")), family.sources, family.base, tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE.txt").read_text() == "mine"
    other = tmp_path / "models--org--private" / "blobs"
    other.mkdir(parents=True)
    shutil.copy(secret, other / "x")
    (folder / "NOTICE").symlink_to(other / "x")
    with pytest.raises(CheckpointError, match="NOTICE is a link out of its folder"):
        companions(folder, lambda name: True)


def test_no_licence_is_read_from_elsewhere(tmp_path: Path, secret: Path) -> None:
    secret.write_text("---\nlicense: secret\n---\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").symlink_to(secret)
    assert licence_of(tmp_path / "model") == NOT_STATED
