"""Language confusion of responses: line-level and word-level errors, and the scores made of them.

Owns the benchmark's rules as its script has them (for-ai/language-confusion, compute_metrics.py at
6cb0fe2): what is stripped, which lines count, when a line or a word is an error. Knows neither
prompts nor files of prompts; MGSM's reasoning is judged by it as well.

- The response is cut at a new "Q:" line, stripped, and loses ASCII punctuation.
- A line counts if it has at least five tokens. A response without such a line is left out.
- A line is an error if its best label is not the language, or scores no more than 0.3.
- A response whose lines all pass has a word error if one of its tokens is an English word: lower
  case and at least four letters, in the benchmark's word list.

The script defines WPR for ar, hi, ja, ko, ru and zh only, "inaccurate for Latin-script languages";
here it applies to every script but the Latin one. Where it does not apply, LCPR equals LPR. The
script has no LCPR; it is the harmonic mean of the two (see `rates`).

The word list is the user's to name. Without one, a token of at least four lower-case ASCII letters
counts as English. That rule is ours: on the published completions of Command R and Llama 3 it moves
WPR by 0.8 points on average, by 8 in a cell with few responses.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objectives.errors import DataError, SettingError
from objectives.langid import LanguageIdentifier
from objectives.languages import Language
from objectives.letters import has_letter
from objectives.rates import Outcome, count_outcomes, pass_rates
from objectives.stats import lcpr_interval, proportion, wilson
from objectives.tokens import SplitLine
from objectives.types import Score, Verdict

MIN_TOKENS = 5
MIN_SCORE = 0.3
_STRIPPED = str.maketrans(dict.fromkeys(string.punctuation + "،") | {"—": " "})
_ENGLISH_LETTERS = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True)
class EnglishWords:
    """Decides whether a token is an English word.

    Attributes:
        known: the words of a list; None for the rule that needs no list.
    """

    known: frozenset[str] | None = None

    @classmethod
    def read(cls, path: Path | None) -> EnglishWords:
        """Read a list of one word a line; only lower-case words of four letters or more count.

        Raises:
            DataError: the file is missing, not UTF-8 or has no such word.
        """
        if path is None:
            return cls()
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError.at(path, f"cannot be read ({error})", "Name a word list") from error
        known = frozenset(w for line in lines if (w := line.strip()).islower() and len(w) > 3)
        if not known:
            raise DataError.at(path, "no lower-case word of four letters", "One word a line")
        return cls(known)

    def __contains__(self, token: str) -> bool:
        """Tell whether the token is an English word."""
        if self.known is None:
            return _ENGLISH_LETTERS.fullmatch(token) is not None
        return token in self.known


@dataclass(frozen=True)
class Judgement:
    """What was found about one response.

    Attributes:
        outcome: how it ended.
        n_lines: lines that count.
        n_line_errors: of these, lines in another language.
        first_error: label of the first line in another language, or the first English word.
    """

    outcome: Outcome
    n_lines: int
    n_line_errors: int
    first_error: str | None

    def verdict(self, wpr_applies: bool) -> Verdict:
        """Return the fields of a record; what was not looked at is None.

        `outcome` is the name of an `Outcome`: `Outcome[verdict["outcome"]]` is what
        `stats.paired_lcpr` compares.
        """
        scored = self.outcome is not Outcome.UNSCORED
        line_ok = self.outcome > Outcome.LINE_ERROR if scored else None
        return {
            "outcome": self.outcome.name,
            "scored": scored,
            "line_ok": line_ok,
            "word_ok": self.outcome is Outcome.PASS if line_ok and wpr_applies else None,
            "n_lines": self.n_lines,
            "n_line_errors": self.n_line_errors,
            "first_error": self.first_error,
        }


@dataclass(frozen=True)
class ConfusionJudge:
    """Judges responses that should be in one language.

    Attributes:
        lang: the language.
        split_line: how a line is cut into tokens, see `tokens.split_line`.
        lid: identifies a line's language.
        words: which tokens are English.
        skip_sums: whether a line without a letter is left out: "2 3 6" is in no language. The
            benchmark's script judges such lines as well.
    """

    lang: Language
    split_line: SplitLine
    lid: LanguageIdentifier
    words: EnglishWords
    skip_sums: bool = False

    def judge(self, response: str) -> Judgement:
        """Judge one response."""
        written = normalise(response).split("\n")
        if self.skip_sums:
            written = list(filter(has_letter, written))
        lines = [(line, self.split_line(line)) for line in written]
        lines = [(line, tokens) for line, tokens in lines if len(tokens) >= MIN_TOKENS]
        if not lines:
            return Judgement(Outcome.UNSCORED, 0, 0, None)
        found = self.lid.labels((line for line, _ in lines), MIN_SCORE)
        wrong = [label for label in found if label != self.lang.lid_label]
        if wrong:
            return Judgement(Outcome.LINE_ERROR, len(lines), len(wrong), wrong[0])
        if self.lang.wpr_applies:
            tokens = (token.strip() for _, tokens in lines for token in tokens)
            english = next((token for token in tokens if token in self.words), None)
            if english is not None:
                return Judgement(Outcome.WORD_ERROR, len(lines), 0, english)
        return Judgement(Outcome.PASS, len(lines), 0, None)


def normalise(response: str) -> str:
    """Return the part of a response that is judged, without punctuation."""
    return response.split("\nQ:")[0].strip().translate(_STRIPPED)


def confusion_scores(
    outcomes: Sequence[Outcome], strata: Sequence[str], lang: Language, seed: int
) -> dict[str, Score]:
    """Make lpr, wpr, lcpr and coverage of outcomes.

    LPR and WPR are averages over strata, as published, with Wilson's interval at the number of all
    responses behind them; LCPR has a bootstrap interval. Where no response was scored the script's
    rates are 1; here they have no value.

    Args:
        outcomes: one per response.
        strata: the source of each response.
        lang: the language of the responses.
        seed: seed of the bootstrap.
    """
    counts = count_outcomes(outcomes, strata)
    n_total = len(outcomes)
    n_scored = n_total - int(counts[:, Outcome.UNSCORED].sum())
    n_line_ok = n_scored - int(counts[:, Outcome.LINE_ERROR].sum())
    coverage = proportion(n_scored, n_total, n_total)
    nothing = Score(None, None, None, 0, n_total)
    if n_scored == 0:
        return {"lpr": nothing, "wpr": nothing, "lcpr": nothing, "coverage": coverage}
    rates = pass_rates(counts, lang.wpr_applies)
    lpr = Score(float(rates.lpr), *wilson(float(rates.lpr), n_scored), n_scored, n_total)
    if not lang.wpr_applies:
        return {"lpr": lpr, "wpr": nothing, "lcpr": lpr, "coverage": coverage}
    wpr = nothing
    if n_line_ok:
        wpr = Score(float(rates.wpr), *wilson(float(rates.wpr), n_line_ok), n_line_ok, n_total)
    ends = lcpr_interval(counts, lang.wpr_applies, seed)
    lcpr = Score(float(rates.lcpr), *ends, n_scored, n_total)
    return {"lpr": lpr, "wpr": wpr, "lcpr": lcpr, "coverage": coverage}


def too_little(outcomes: Sequence[Outcome], strata: Sequence[str], floor: float) -> str | None:
    """Say why these responses are too few to be scored at all; None when they are enough.

    A model that says nothing makes no error. So the share of responses that could be scored must
    reach a floor, and no source may be without any: its published rates would be 1.

    Args:
        outcomes: one per response.
        strata: the source of each response.
        floor: lowest share allowed, in [0, 1].
    """
    counts = count_outcomes(outcomes, strata)
    scored = counts[:, Outcome.LINE_ERROR :].sum(axis=1)
    n_scored, n_total = int(scored.sum()), len(outcomes)
    if n_scored == 0 or n_scored / n_total < floor:
        return (
            f"coverage {n_scored / n_total:.2f} is under the floor {floor:g} ({n_scored} of "
            f"{n_total} responses have a line of at least {MIN_TOKENS} tokens)"
        )
    for row, name in enumerate(sorted(set(strata))):
        if scored[row] == 0:
            return (
                f"coverage of {name} is 0: none of its {counts[row].sum()} responses has a line of "
                f"at least {MIN_TOKENS} tokens"
            )
    return None


def check_floor(floor: float) -> None:
    """Check a coverage floor.

    Raises:
        SettingError: it is outside [0, 1].
    """
    if not 0.0 <= floor <= 1.0:
        raise SettingError(f"coverage_floor is {floor}: it is a share between 0 and 1")
