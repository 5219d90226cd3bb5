"""Programs against tests: what is asked, what passes, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from objectives import code, sandbox
from objectives.code import CodeObjective, CodeSettings, Problem
from objectives.errors import DataError, SettingError
from objectives.langid import LanguageIdentifier
from objectives.sandbox import End, Limits
from objectives.settings import Shared
from objectives.splits import Parts
from objectives.types import Completion, Sampling

TEST = "def check(candidate):\n    assert candidate(2) == {}\n"


def problem(n: int) -> Problem:
    return Problem(f"t/{n}", f'def f{n}(x):\n    """Times {n}."""\n', f"f{n}", TEST.format(2 * n))


def row(n: int, **changed: Any) -> str:
    one = problem(n)
    fields = {"task_id": one.id, "prompt": one.prompt, "entry_point": one.entry_point}
    return json.dumps(fields | {"test": one.test, "canonical_solution": "..."} | changed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "HumanEval.jsonl").write_text("\n".join(map(row, range(6))))
    return tmp_path


def shared(**changed: Any) -> Shared:
    given = {"lang": "te", "chat": False} | changed
    return Shared(
        seed=0, lid=LanguageIdentifier(None), words=None, coverage_floor=0.5, trace=False, **given
    )


def settings(folder: Path, **more: Any) -> CodeSettings:
    return CodeSettings(data_dir=folder, search_items=3, held_out_items=3, **more)


def test_off_unless_asked_for(folder: Path) -> None:
    with pytest.raises(SettingError, match="docs/code.md, then set .*allow_code=true"):
        settings(folder).build(shared())
    with pytest.raises(SettingError, match="objective.chat=false"):
        settings(folder, allow_code=True).build(shared(chat=True))


def test_a_machine_that_cannot_isolate_is_refused_unless_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise SettingError("no namespaces")

    monkeypatch.setattr(sandbox, "check", refuse)
    with pytest.raises(SettingError, match="no namespaces"):
        settings(folder, allow_code=True).build(shared())
    built = settings(folder, allow_code=True, isolated=False).build(shared())
    assert len(built.requests("search")) == 3


def test_programs_are_run_and_counted() -> None:
    right, wrong = "    return 3 * x\n", "    return 0\n"
    problems = (problem(3), problem(4), problem(5))
    objective = CodeObjective(
        Parts(problems, problems), Sampling(64, stop=code.STOP), Limits(), isolated=False
    )
    asked = objective.requests("search")
    assert asked[0].prompt == problems[0].prompt and asked[0].sampling.stop == code.STOP
    said = [Completion(text, 5, "stop") for text in (right, right, "  ")]
    found = pickle.loads(pickle.dumps(objective)).score("search", said)
    assert [i.verdict["passed"] for i in found.items] == [True, False, False]
    assert found.items[2].verdict["reason"] == "nothing was written"
    assert found.scores["pass_at_1"].value == pytest.approx(1 / 3)
    marks = CodeSettings.target.marks(found.items)
    assert marks == {"t/3": True, "t/4": False, "t/5": False}
    with pytest.raises(ValueError, match="zip"):
        objective.score("search", [Completion(wrong, 5, "stop")])


def test_what_a_look_has_run_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(program: str, limits: Limits, *, isolated: bool) -> End:
        ran.append(program)
        return End(True, "")

    monkeypatch.setattr(sandbox, "run", run)
    problems = tuple(map(problem, range(4)))
    objective = CodeObjective(Parts(problems, problems), Sampling(64), Limits(), isolated=True)
    said = [Completion(f"    return {n}", 5, "stop") for n in range(4)]
    assert objective.score("search", said[:2], first=2).scores["pass_at_1"].n_total == 2
    objective.score("search", said)
    assert len(ran) == 4 == len(set(ran))
    assert problems[3].program("    return 3") in ran


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the file is empty"),
        ([row(1), row(1)], "line 2: task_id t/1 twice"),
        ([row(1, entry_point="f(); g")], r"line 1: entry_point is 'f\(\); g'"),
        ([row(1, test=3)], "line 1: test is 3"),
        (["{}"], "line 1: no field task_id, prompt"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "HumanEval.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=said):
        code.read(tmp_path, "te")


def test_a_languages_own_file_comes_first(folder: Path) -> None:
    (folder / "humaneval_te.jsonl").write_text(row(9))
    assert [one.id for one in code.read(folder, "te")] == ["t/9"]
    assert len(code.read(folder, "sw")) == 6
    with pytest.raises(DataError, match="neither humaneval_te.jsonl nor HumanEval.jsonl is there"):
        code.read(folder / "nowhere", "te")
