r"""Worked examples before a prompt of the Language Confusion Benchmark.

Owns the file of examples and how they and a prompt become one text or one conversation. Knows no
score and no language.

The paper (arXiv 2406.20052, section 6) mitigates the confusion of base models with one or five
examples; its template, with or without them (for-ai/language-confusion, few_shot_prompting.py):

    Q: <prompt>\nA: <completion>\n\nQ: <prompt>\nA:

Its examples are questions of Dolly's kind that are not in the benchmark, answered in languages
*other* than the one to be scored: in the question's own language for monolingual prompts, in the
one that the question asks for ("Reply in German.") for cross-lingual ones. The benchmark's files
hold no answers, so examples come from a file of the user's, in any language:

    CSV          columns prompt, completion
    JSON lines   (*.jsonl) objects with prompt and completion
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from objectives.errors import DataError, SettingError
from objectives.rows import csv_rows, json_rows
from objectives.types import Message
from objectives.words import counted

QA_TEMPLATE = "Q: {prompt}\nA:"
MAX_SHOTS = 5
_FIELDS = ("prompt", "completion")


@dataclass(frozen=True)
class Example:
    """A prompt and a good answer to it."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Examples:
    """The examples there are, in the order they are shown.

    Attributes:
        path: the file they come from; None where none was named.
        rows: the examples.
    """

    path: Path | None = None
    rows: tuple[Example, ...] = ()

    @classmethod
    def read(cls, path: Path | None, scored: Iterable[str]) -> "Examples":
        """Read the examples of a file.

        Args:
            path: the file; None for no examples.
            scored: the prompts that are scored: no example may be one of them.

        Raises:
            DataError: the file is malformed, or an example is empty or a scored prompt.
        """
        if path is None:
            return cls()
        read = json_rows if path.suffix == ".jsonl" else csv_rows
        taken = {prompt.strip() for prompt in scored}
        rows = []
        for line, row in read(path, _FIELDS):
            texts = [row[name] for name in _FIELDS]
            if not all(isinstance(text, str) and text.strip() for text in texts):
                remedy = "Each example has a prompt and a completion"
                raise DataError.at(path, "an empty text, or no text", remedy, line)
            prompt, completion = (text.strip() for text in texts)
            if prompt in taken:
                problem = f"the example {prompt[:40]!r} is among the scored prompts"
                raise DataError.at(path, problem, "Take another example", line)
            rows.append(Example(prompt, completion))
        return cls(path, tuple(rows))

    def first(self, shots: int) -> tuple[Example, ...]:
        """Return the first examples.

        Raises:
            SettingError: the number is outside 0 to `MAX_SHOTS`, or no file was named.
            DataError: the file has fewer.
        """
        if not 0 <= shots <= MAX_SHOTS:
            raise SettingError(f"shots is {shots}: 0 to {MAX_SHOTS} are possible")
        if shots > 0 and self.path is None:
            raise SettingError(f"shots is {shots}, but no file of examples is named")
        if shots > len(self.rows) and self.path is not None:
            problem = f"{counted(len(self.rows), 'example')}, shots {shots} are asked for"
            raise DataError.at(self.path, problem, "Lower shots or add examples")
        return self.rows[:shots]


def text_prompt(prompt: str, examples: Sequence[Example], template: str) -> str:
    """Write a prompt for a model that continues text.

    Args:
        prompt: what is asked.
        examples: what is shown first.
        template: text with {prompt} in it, for the examples as well; their completions follow it
            after a space, if it does not end in one.
    """
    gap = "" if template[-1:].isspace() else " "
    shown = [template.replace("{prompt}", e.prompt) + gap + e.completion for e in examples]
    return "\n\n".join([*shown, template.replace("{prompt}", prompt)])


def chat_prompt(prompt: str, examples: Sequence[Example], template: str) -> tuple[Message, ...]:
    """Write a prompt for a model with a chat template; examples are earlier turns.

    Args:
        prompt: what is asked.
        examples: what is shown first.
        template: text with {prompt} in it, for every turn of the user's.
    """
    turns: list[Message] = []
    for example in examples:
        turns.append(Message("user", template.replace("{prompt}", example.prompt)))
        turns.append(Message("assistant", example.completion))
    return (*turns, Message("user", template.replace("{prompt}", prompt)))
