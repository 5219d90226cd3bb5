"""Confusion points: the tokens at which responses leave their language, and how sure they were.

Owns where a traced response switches and the averages of the paper's table 7 (arXiv 2406.20052,
section 5): entropy and nucleus size overall, at the points, elsewhere. Whether a response is
confused is for `confusion` to say; what an entropy and a nucleus are, for `types.Step`.

The literature takes as the point the position where the language switches (arXiv 2505.16538). Here
each confused response has one, found like this:

- A line-level error: in the first line that is judged to be in another language, the first letter
  of a script that is not the wanted language's. Where both languages share a script, the first
  character of the line.
- A word-level error: the first letter of the first English word.

The point is the token that this character begins in. What follows it was written in a context that
had switched already, so it counts as elsewhere.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from objectives.confusion import ConfusionJudge
from objectives.languages import LANGUAGES
from objectives.rates import Outcome
from objectives.types import ItemResult, Step

_SCRIPTS = {
    "Japanese": frozenset({"HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC"}),
    "Han": frozenset({"CJK", "IDEOGRAPHIC"}),
}
"""Script -> first words of its letters' Unicode names, where that is not the script's own name."""


@dataclass(frozen=True)
class Switch:
    """Where a response leaves its language.

    Attributes:
        step: place of the confusion point among the response's steps.
        start: place of the character in the text at which the other language begins.
        end: place in the text after the confusion point.
        found: label of the other language, or the English word.
    """

    step: int
    start: int
    end: int
    found: str


@dataclass(frozen=True)
class TracedResponse:
    """One response that was traced.

    Attributes:
        id: the item's id.
        steps: its tokens.
        switch: where it leaves its language; None where it does not.
    """

    id: str
    steps: tuple[Step, ...]
    switch: Switch | None

    @property
    def point(self) -> Step | None:
        """The token at the confusion point."""
        return None if self.switch is None else self.steps[self.switch.step]


@dataclass(frozen=True)
class Average:
    """Averages over tokens.

    Attributes:
        n: number of tokens.
        entropy: in nats; None where there is no token.
        nucleus: in tokens; None where there is no token.
    """

    n: int
    entropy: float | None
    nucleus: float | None


@dataclass(frozen=True)
class PointTable:
    """What one model's traces say; the three averages are the rows of the paper's table 7.

    Attributes:
        responses: responses that were traced.
        confused: of these, responses with a confusion point.
        overall: all tokens.
        at_points: tokens at confusion points.
        elsewhere: all others.
    """

    responses: int
    confused: int
    overall: Average
    at_points: Average
    elsewhere: Average


def traced(items: Iterable[ItemResult], judge: ConfusionJudge) -> list[TracedResponse]:
    """Find the confusion points of recorded items; those without a trace are left out.

    Args:
        items: results of any objective; their `id` and `steps` are read.
        judge: the judge of the language that the responses should be in.
    """
    return [
        TracedResponse(item.id, item.steps, find_switch(item.steps, judge))
        for item in items
        if item.steps
    ]


def points(responses: Sequence[TracedResponse]) -> PointTable:
    """Average entropy and nucleus size over the tokens of all responses."""
    at: list[Step] = []
    elsewhere: list[Step] = []
    for response in responses:
        place = None if response.switch is None else response.switch.step
        for i, step in enumerate(response.steps):
            (at if i == place else elsewhere).append(step)
    return PointTable(
        responses=len(responses),
        confused=len(at),
        overall=_average([*at, *elsewhere]),
        at_points=_average(at),
        elsewhere=_average(elsewhere),
    )


def find_switch(steps: Sequence[Step], judge: ConfusionJudge) -> Switch | None:
    """Find where a response leaves its language; None where the judge has nothing to say."""
    text = "".join(step.text for step in steps)
    outcome = judge.judge(text).outcome
    if outcome not in (Outcome.LINE_ERROR, Outcome.WORD_ERROR):
        return None
    start = len(text) - len(text.lstrip())
    for line in text.strip().split("\n"):
        found = judge.judge(f".{line}.")  # drops full stops, but would strip a bare line's spaces
        if found.outcome is outcome:
            error = found.first_error or ""
            if outcome is Outcome.WORD_ERROR:
                place = _word(line, error)
            else:
                place = _letter(line, judge.lang.script, error)
            step, end = _token_at(steps, start + place)
            return Switch(step, start + place, end, error)
        start += len(line) + 1
    return None


def _letter(line: str, script: str, label: str) -> int:
    """Place of the first character of another script, or of the line where there is none."""
    own = _names(script)
    other = LANGUAGES.get(label)
    if other is None or own.isdisjoint(_names(other.script)):
        foreign = (i for i, character in enumerate(line) if _is_foreign(character, own))
        if (place := next(foreign, None)) is not None:
            return place
    return len(line) - len(line.lstrip())


def _word(line: str, word: str) -> int:
    """Place of a token of the judge's, which has lost the punctuation that it may have held."""
    gap = f"[{re.escape(string.punctuation)}]*"
    inside = gap.join(map(re.escape, word))
    found = re.search(f"(?<![A-Za-z0-9]){inside}(?![A-Za-z0-9])", line)
    return found.start() if found else len(line) - len(line.lstrip())


def _names(script: str) -> frozenset[str]:
    return _SCRIPTS.get(script, frozenset({script.upper()}))


def _is_foreign(character: str, own: frozenset[str]) -> bool:
    """Whether a character is a letter of another script; full-width forms count as plain ones."""
    plain = unicodedata.normalize("NFKC", character)[:1]
    return plain.isalpha() and re.split("[ -]", unicodedata.name(plain, ""))[0] not in own


def _token_at(steps: Sequence[Step], place: int) -> tuple[int, int]:
    """The step that a character begins in, and where in the text that character's token ends.

    A character of several tokens comes with the last of them; those before it have no text.
    """
    end = 0
    for i, step in enumerate(steps):
        begin, end = end, end + len(step.text)
        if place < end:
            while place == begin and i > 0 and not steps[i - 1].text:
                i -= 1
            return i, end
    raise IndexError(f"character {place} of {end}")


def _average(steps: Sequence[Step]) -> Average:
    n = len(steps)
    if n == 0:
        return Average(0, None, None)
    return Average(n, sum(s.entropy for s in steps) / n, sum(s.nucleus for s in steps) / n)
