"""Task YAMLs of others run no code of theirs, however they write it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from objectives import lm_eval_tasks
from objectives.errors import DataError, SettingError
from objectives.lm_eval_tasks import load
from tests.objectives.lm_eval_yamls import write

pytest.importorskip("lm_eval")

RUNS = "runs Python code.*allow_code=true"
DEEP = "[" * 100_000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)
)
CASES: dict[str, tuple[dict[str, str], type[Exception], str]] = {
    **{
        tag: ({"bad.yaml": f"TASK, doc_to_text: {tag} utils.run"}, SettingError, RUNS)
        for tag in ("!function", "!%66unction", "!<!%66unction>")
    },
    "a handle": (
        {"bad.yaml": "%TAG !f! !func\n--- TASK, doc_to_text: !f!tion utils.run"},
        SettingError,
        RUNS,
    ),
    "included": (
        {"bad.yaml": "TASK, include: other.txt", "other.txt": "{doc_to_text: !function utils.run}"},
        SettingError,
        RUNS,
    ),
    "a metric": (
        {"bad.yaml": "TASK, metric_list: [{metric: FOLDER/m, hf_evaluate: true}]"},
        SettingError,
        "code elsewhere.*allow_code=true",
    ),
    "an address": ({"bad.yaml": 'TASK, description: "s3:\\x2f/x"'}, SettingError, "at a URL"),
    "deep": ({"bad.yaml": f"TASK, description: {DEEP}"}, DataError, "bad.yaml cannot be read"),
    "no text": ({"bad.yaml": "TASK, description: \udcff"}, DataError, "bad.yaml cannot be read"),
    "doubling": ({"bad.yaml": "TASK, x: 1", "b.yaml": BOMB}, DataError, "b.yaml cannot be read"),
    "cut off": ({"bad.yaml": "TASK, x: ["}, DataError, "bad.yaml cannot be read"),
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tasks"))


@pytest.mark.parametrize("name", CASES)
def test_no_code_is_run(name: str, tasks: Path, tmp_path: Path) -> None:
    files, error, message = CASES[name]
    task: dict[str, Any] = json.loads((tasks / "sums.yaml").read_text("utf-8")) | {"task": "bad"}
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\ndef run(doc): return 'x'\n"
    (tmp_path / "m").mkdir()
    for file in ("utils.py", "m/m.py"):
        (tmp_path / file).write_text(code)
    for file, text in files.items():
        mapping = text.replace("TASK", json.dumps(task)[:-1]).replace("FOLDER", str(tmp_path))
        closed = mapping + "}" * ("TASK" in text)
        (tmp_path / file).write_text(closed, "utf-8", "surrogateescape")
    with pytest.raises(error, match=message):
        load(["bad"], tmp_path, code=False, fetch=False)
    assert not (tmp_path / "ran").exists()


def test_the_harness_itself_is_kept_from_it(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a YAML was not seen for what it is."""
    monkeypatch.setattr("objectives.lm_eval_tasks.check_folder", lambda *given: None)
    task = json.loads((tasks / "sums.yaml").read_text("utf-8")) | {"task": "bad"}
    (tmp_path / "utils.py").write_text("def run(doc): return 'x'")
    mapping = json.dumps(task)[:-1] + ", doc_to_text: !function utils.run}"
    (tmp_path / "bad.yaml").write_text(mapping)
    with pytest.raises(SettingError, match=RUNS):
        load(["bad"], tmp_path, code=False, fetch=False)
    assert load(["bad"], tmp_path, code=True, fetch=False).items


LOOP = "{% for i in range(99999) %}{% for i in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "template", "said"),
    [
        (
            "doc_to_text",
            "{% set x = 'a' * 9999999999 %}x",
            "MemoryError: a template makes a text without end",
        ),
        ("doc_to_text", f"{LOOP}x", "it does not come to an end within 2 s"),
        ("doc_to_target", "{% if answer == '3' %}" + LOOP + "{% endif %}x", "does not come to an"),
    ],
    ids=["memory", "a prompt", "one right answer"],
)
def test_templates_come_to_an_end(
    key: str,
    template: str,
    said: str,
    tasks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(["sums"], tasks, code=False, fetch=False)  # all is imported now
    task = json.loads((tasks / "sums.yaml").read_text("utf-8")) | {"task": "bad"}
    (tmp_path / "bad.yaml").write_text(json.dumps(task | {"num_fewshot": 0, key: template}))
    monkeypatch.setattr(lm_eval_tasks, "PATIENCE", 2.0)  # it would take hours
    with pytest.raises(DataError, match=f"could not build bad: .*{said}"):
        load(["bad"], tmp_path, code=False, fetch=False)


ASKED = """
import sys
from pathlib import Path
from objectives.errors import DataError
from objectives.lm_eval_tasks import load
try:
    load(["bad"], Path(sys.argv[1]), code=sys.argv[2] == "code", fetch=sys.argv[3] == "fetch")
except DataError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "fetch"), [("", ""), ("code", ""), ("", "fetch")])
def test_the_hub_is_asked_only_if_it_may_be(
    code: str, fetch: str, tasks: Path, tmp_path: Path
) -> None:
    """Neither for the data set nor for its card, where the environment forbids nothing."""
    task = json.loads((tasks / "sums.yaml").read_text("utf-8")) | {"task": "bad"}
    (tmp_path / "bad.yaml").write_text(json.dumps(task | {"dataset_path": "nobody/nothing"}))
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_GET = do_POST = do_HEAD

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        kept = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
        done = subprocess.run(
            [sys.executable, "-c", ASKED, str(tmp_path), code, fetch],
            env=kept | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr[-2000:]
    assert bool(asked) == bool(fetch)
    assert ("are not fetched unless objective.lm_eval.fetch=true" in done.stdout) == (not fetch)
