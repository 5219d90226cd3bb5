"""Configurations and heads of studies that others made: read or refused, at once, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from objectives.types import Score
from search.common.errors import ConfigError, StudyError
from search.config import compose
from search.records.head import StudyHead
from search.records.writer import RecordsWriter
from tests.hostile.limits import limited
from tests.search.records.samples import record

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
)
FAMILY = "name: n\ntask: [t]\nlanguage: {te: [l]}\nbase: "
FILES = {
    "environment": FAMILY + "s3://host/${oc.env:HOSTILE_SECRET}/x",
    "decoded": FAMILY + "b\nreferences: ${oc.decode:${oc.env:HOSTILE_SECRET}}",
    "in a key": FAMILY + "b\nreferences: {'${oc.env:HOSTILE_SECRET}': r}",
    "half": FAMILY + "${oc.env:",
    "nested": FAMILY + "${oc.env:${oc.env:HOSTILE_SECRET}}",
    "bomb": FAMILY + "b\n" + BOMB,
    "merges": FAMILY + "b\n" + MERGES,
    "within itself": FAMILY + "b\nreferences: &r {r: *r}",
    "deep": FAMILY + "[" * 200_000,
    "deep and closed": FAMILY + "[" * 5000 + "]" * 5000,
    "long number": FAMILY + "9" * 5000,
    "hexadecimal": FAMILY + "0x" + "f" * 100_000,
    "large": FAMILY + "b\n" + "# x\n" * 400_000,
    "bytes": FAMILY + "\udcff",
    "python": FAMILY + "!!python/object/apply:os.system ['false']",
    "nothing": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (made / f"{name}.yaml").write_text(text, "utf-8", "surrogateescape")
    return made


@pytest.mark.slow
def test_hostile_families(folder: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from search.config import compose\n"
        "from search.common.errors import ConfigError\n"
        "for file in sys.argv[1:]:\n"
        "    for more in ([], ['family.references.more=x']):\n"
        "        try: print(compose.load([f'family={file}', *more], {'lang': 'te'}))\n"
        "        except ConfigError as error: print('refused', str(error)[:500].splitlines()[0])\n"
    )
    files = [str(folder / f"{name}.yaml") for name in FILES]
    run = limited("-c", code, *files, environment={"HOSTILE_SECRET": "{hunter2: hunter2}"})
    assert run.returncode == 0, run.stderr[-2000:]
    assert "hunter2" not in run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 2 * len(FILES) and all(line.startswith("refused") for line in lines)
    assert "holds ${...}, which nothing is put in for: write the value itself" in lines[0]


@pytest.mark.slow
def test_hostile_overrides() -> None:
    code = (
        "import sys\n"
        "from search.config import compose\n"
        "from search.common.errors import ConfigError\n"
        "for given in sys.argv[1:]:\n"
        "    try: print(compose.load([given], {'lang': 'te'}))\n"
        "    except ConfigError as error: print('refused', str(error)[:500].splitlines()[0])\n"
    )
    given = ["family.base=${oc.env:HOSTILE_SECRET}", "search.seed=" + "9" * 5000]
    given += ["search.seed=" + "[" * 5000, "family.references=${oc.decode:'{a: b}'}"]
    run = limited("-c", code, *given, environment={"HOSTILE_SECRET": "hunter2"})
    assert run.returncode == 0, run.stderr[-2000:]
    lines = run.stdout.splitlines()
    assert len(lines) == 4 and all(line.startswith("refused") for line in lines)
    assert "hunter2" not in run.stdout + run.stderr


@pytest.mark.slow
def test_hostile_heads(folder: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from search.common.errors import StudyError\n"
        "from search.records.head import StudyHead\n"
        "for file in sys.argv[1:]:\n"
        "    text = Path(file).read_bytes().replace(b'\\n', b'\\n  ')\n"
        "    try: StudyHead.from_yaml(b'schema: 2\\nname: s\\nconfig:\\n  ' + text, 's')\n"
        "    except StudyError as error: print('refused', str(error)[:200].splitlines()[0])\n"
        "    else: print('read')\n"
    )
    run = limited("-c", code, *(str(folder / f"{name}.yaml") for name in FILES))
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(run.stdout.splitlines()) == len(FILES)


@pytest.mark.slow
def test_no_module_of_a_strangers_study_is_run_to_read_it(tmp_path: Path) -> None:
    """A folder that somebody may well stand in while they look at what is there."""
    (tmp_path / "evil_objective.py").write_text("open('ran', 'w').close()")
    objective = {"task": "evil_objective:Thing", "own": {"a": 1}}
    config = compose.load([], {"lang": "te"}).model_dump(mode="json")
    config["objective"] |= objective
    records = RecordsWriter.create(tmp_path / "s", StudyHead("s", config, layers=8))
    score = Score(0.5, 0.4, 0.6, 60, 60)
    records.append(record("a", scores={"accuracy": score, "lcpr": score}))
    records.close()
    code = (
        "from pathlib import Path\n"
        "from search import best, studies\n"
        "from search.records.reader import RecordsReader\n"
        "from search.results.study_result import StudyResult\n"
        "print(studies.main(['.']), best.main(['s']), best.main(['s', '--json']))\n"
        "print(StudyResult.of(RecordsReader.read(Path('s'))).rows)\n"
    )
    run = limited("-c", code, cwd=tmp_path)
    assert run.returncode == 0 and "FinalRow" in run.stdout, run.stderr[-2000:]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("layers", 10**9, "layers is 1000000000"),
        ("layers", -1, "layers is -1"),
        (
            "targets",
            [{"objective": "m", "score": "s", "title": "t"}] * 5000,
            "targets has a length",
        ),
        ("id", "x" * 100_000, "id has a length of 100000"),
    ],
)
def test_heads_with_made_up_sizes(entry: str, value: object, said: str) -> None:
    head = {"schema": 2, "name": "s", "config": {}, entry: value}
    with pytest.raises(StudyError, match=said):
        StudyHead.from_yaml(yaml.safe_dump(head).encode(), "s")


@pytest.mark.slow
def test_a_family_of_too_many(tmp_path: Path) -> None:
    """All their pairs would be made."""
    (tmp_path / "f.yaml").write_text(FAMILY.replace("[t]", f"[{'t, ' * 5000}]") + "b")
    with pytest.raises(ConfigError, match="family.*task has 5000 experts, and at most 100"):
        compose.load([f"family={tmp_path / 'f.yaml'}"], {"lang": "te"})
