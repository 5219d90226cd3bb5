"""Programs that a model writes, run against tests: HumanEval (arXiv 2107.03374) and files like it.

Owns the prompt, which part of a completion is the program, and pass@1. Programs are run by
`objectives.sandbox`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives import sandbox
from objectives.errors import DataError, SettingError
from objectives.rows import json_rows
from objectives.sandbox import End, Limits
from objectives.settings import Positive, Settings, Shared, StopString
from objectives.splits import Parts, split_items
from objectives.stats import proportion
from objectives.target import Target
from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Request,
    Sampling,
    Split,
)

FIELDS = ("task_id", "prompt", "entry_point", "test")
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")  # as published, section 3.2
AT_ONCE = min(4, os.cpu_count() or 1)


class CodeSettings(Settings):
    """Functions to be written in Python, in files of HumanEval's form; see docs/code.md."""

    target = Target("pass_at_1", "code", "pass@1", item="passed")
    all_shares = True

    data_dir: Path
    """Folder with `humaneval_<lang>.jsonl`, or HumanEval.jsonl where there is none: JSON lines
    with `task_id`, `prompt`, `entry_point` and `test`."""

    allow_code: bool = False
    """Whether programs that a model writes, and the file's tests, may be run. See docs/code.md for
    what they are kept from, and from what not."""

    isolated: bool = True
    """Run each without network, files and other processes. false: with limits alone."""

    max_tokens: Positive = 512
    """Most new tokens of a program."""

    stop: tuple[StopString, ...] = STOP
    """Strings at which a program ends; none of them is part of it."""

    seconds: Positive = 5
    """Processor time that a program may take, in seconds; four times that by the clock, and five
    more."""

    memory_mib: Positive = 512
    """Memory that each of a program's processes may take, in MiB."""

    search_items: Positive = 82
    """Problems that the search scores each recipe on."""

    held_out_items: Positive = 82
    """Problems that only the final table is scored on."""

    def build(self, shared: Shared) -> CodeObjective:
        """The objective, with its data read and a sandbox tried."""
        if shared.chat:
            raise SettingError(
                "objective.code has its prompts continued, not answered: set objective.chat=false"
            )
        problems = read(self.data_dir, shared.lang)
        if not self.allow_code:
            raise SettingError(
                "objective.code runs programs that a model writes. Read docs/code.md, then set "
                "objective.code.allow_code=true"
            )
        if self.isolated:
            sandbox.check()
        where = str(self.data_dir)
        parts = split_items(problems, self.search_items, self.held_out_items, shared.seed, where)
        limits = Limits(seconds=self.seconds, memory_mib=self.memory_mib)
        return CodeObjective(
            parts, Sampling(self.max_tokens, stop=self.stop), limits, self.isolated
        )


@dataclass(frozen=True)
class Problem:
    """One function to be written: its head and description, and the tests of it."""

    id: str
    prompt: str
    entry_point: str
    test: str
    stratum: str = ""

    def program(self, completion: str) -> str:
        """The whole program: it comes to its end if the tests pass."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})\n"


def read(folder: Path, lang: str) -> tuple[Problem, ...]:
    """The problems of a folder.

    Raises:
        DataError: there is no such file, or it is malformed.
    """
    names = (f"humaneval_{lang}.jsonl", "HumanEval.jsonl")
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise DataError.at(
            folder,
            f"neither {' nor '.join(names)} is there",
            "Put the file of HumanEval there (openai/human-eval on GitHub, data/, unpacked)",
        )
    found: dict[str, Problem] = {}
    for line, row in json_rows(file, FIELDS):
        problem = Problem(*(_text(row[name], name, file, line) for name in FIELDS))
        if problem.id in found:
            raise DataError.at(file, f"task_id {problem.id} twice", "Each is named once", line)
        if not problem.entry_point.isidentifier():
            fault = f"entry_point is {problem.entry_point!r}"
            raise DataError.at(file, fault, "It is the function's name", line)
        found[problem.id] = problem
    return tuple(found.values())


def _text(value: Any, name: str, file: Path, line: int) -> str:
    if not isinstance(value, str):
        raise DataError.at(file, f"{name} is {value!r}", "It is a text", line)
    return value


class CodeObjective:
    """Pass@1 of greedy programs: the share of problems whose tests pass.

    Attributes:
        name: "code".
        split_hash: 16 hex digits that name the items of both parts, for the records.
    """

    def __init__(
        self, parts: Parts[Problem], sampling: Sampling, limits: Limits, isolated: bool
    ) -> None:
        """Take the problems, how they are answered, and how programs are run."""
        self.name = "code"
        self.split_hash = parts.hash
        self._parts, self._sampling = parts, sampling
        self._limits, self._isolated = limits, isolated
        self._ends: dict[str, End] = {}  # of the programs of the latest trial

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """One for each problem."""
        return [Request(each.prompt, self._sampling) for each in self._parts.of(split)]

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Run one program for each problem, or for the first so many.

        Raises:
            ValueError: their number is not the number of requests.
            SandboxError: this node cannot isolate them.
        """
        pairs = list(zip(self._parts.of(split)[:first], completions, strict=True))
        programs = [problem.program(said.text) for problem, said in pairs]
        with ThreadPoolExecutor(AT_ONCE) as pool:  # each waits for a process
            written = [bool(said.text.strip()) for _, said in pairs]
            ends = pool.map(self._end, programs, written)
            self._ends = dict(zip(programs, ends, strict=True))
        items = []
        for (problem, said), program in zip(pairs, programs, strict=True):
            passed, reason = self._ends[program]
            end = said.n_tokens, said.finish_reason
            verdict: dict[str, bool | int | float | str | None]
            verdict = {"passed": passed, "reason": reason}
            items.append(
                ItemResult(self.name, problem.id, problem.prompt, said.text, *end, verdict)
            )
        right = sum(bool(item.verdict["passed"]) for item in items)
        score = proportion(right, len(items), len(items))
        return Evaluation({"pass_at_1": score}, tuple(items), None)

    def _end(self, program: str, written: bool) -> End:
        """How a program ends; one that a look has run is not run again."""
        if not written:
            return End(False, "nothing was written")
        known = self._ends.get(program)
        return known or sandbox.run(program, self._limits, isolated=self._isolated)
