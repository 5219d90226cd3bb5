"""Scores completions that were made anywhere.

    python -m objectives.score lcb COMPLETIONS.csv [MORE.csv ...] [--words WORDS] [--lid PATH]
    python -m objectives.score mgsm ANSWERS.jsonl [MORE.jsonl ...] [--show-errors]

Owns the command line and what is printed. The formats are in `completions`, the rules of the
metrics in `confusion`, `lcb_table` and `answers`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objectives.command_line import Parser
from objectives.errors import ObjectiveError
from objectives.letters import visible

if TYPE_CHECKING:
    from decimal import Decimal

    from objectives.completions import LcbCompletion, MgsmCompletion
    from objectives.langid import LanguageIdentifier
    from objectives.lcb_table import JudgedResponse

_LCB = """\
Scores responses to the Language Confusion Benchmark's prompts.

Input: CSV with the columns model, completion, task, source, language, as the benchmark's
outputs/*.csv; "-" is standard input. Output: a tab-separated table with the head
  task model source language lpr wpr lcpr coverage n
and a row for each source and language, the means of each source and of each language, and the
mean over all languages.

  lpr       share of scored responses with no line in another language
  wpr       share of those without an English word; N/A for languages in Latin script
  lcpr      2 LPR WPR / (LPR + WPR) of the row; equal to LPR where WPR is not defined
  coverage  share of responses that were scored: that have a line of at least five tokens
  n         responses

LPR and WPR are exactly the published ones, also where no response was scored: 100%, with a
coverage of 0%."""

_MGSM = """\
Scores answers to MGSM's questions.

Input: JSON lines with the fields language, question, target, completion; "-" is standard input.
Output: a tab-separated table of accuracy by language and over all answers, with Wilson's 95%
intervals, by two ways of finding the number in an answer:

  strict    the last number after the language's answer phrase ("The answer is")
  flexible  the same with the English phrase as well; without a phrase, the last number"""

_STRICT = ("strict", "strict_low", "strict_high")
_FLEXIBLE = ("flexible", "flexible_low", "flexible_high")
MGSM_HEAD = ("language", *_STRICT, *_FLEXIBLE, "n")


_EXAMPLES = """examples:
  python -m objectives.score lcb outputs/*.csv --words words
  python -m objectives.score mgsm answers.jsonl --show-errors
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    main_parser = Parser(
        prog="python -m objectives.score",
        description="Scores completions that were made anywhere.",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    commands = main_parser.add_subparsers(dest="command", required=True)
    lcb = commands.add_parser(
        "lcb", description=_LCB, formatter_class=raw, help="Language Confusion Benchmark"
    )
    lcb.add_argument("files", nargs="+", type=Path, metavar="COMPLETIONS.csv")
    lcb.add_argument(
        "--words",
        type=Path,
        help="the benchmark's list of English words, one a line; without it, a file `words` in the "
        "first file's folder or the one above; without that, every token of at least four "
        "lower-case ASCII letters is an English word, and WPR is not the published one",
    )
    lcb.add_argument(
        "--lid",
        type=Path,
        help="a fastText model that identifies languages, such as the paper's lid.176.bin; "
        "without it, lid.176.ftz",
    )
    mgsm = commands.add_parser("mgsm", description=_MGSM, formatter_class=raw, help="MGSM")
    mgsm.add_argument("files", nargs="+", type=Path, metavar="ANSWERS.jsonl")
    mgsm.add_argument(
        "--show-errors", action="store_true", help="after the table, list every wrong answer"
    )
    return main_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score and print.

    Returns:
        0, or 2 for bad input.
    """
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "lcb":
            text = _lcb(arguments.files, arguments.words, arguments.lid)
        else:
            text = _mgsm(arguments.files, arguments.show_errors)
    except ObjectiveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(visible(text), end="")
    return 0


def judge_all(
    completions: Iterable[LcbCompletion], lid: LanguageIdentifier, words: Path | None
) -> list[JudgedResponse]:
    """Judge responses by the benchmark's own rules and tokens.

    Args:
        completions: responses in any language.
        lid: identifies a line's language.
        words: the list of English words; None for the rule without a list.

    Raises:
        DataError: the word list or the model is missing or malformed, or the model does not know
            a language.
        DependencyError: A language's tokeniser is not installed.
    """
    from objectives.confusion import ConfusionJudge, EnglishWords
    from objectives.languages import language
    from objectives.lcb_table import JudgedResponse
    from objectives.tokens import split_line

    english = EnglishWords.read(words)
    judges: dict[str, ConfusionJudge] = {}
    found = []
    for row in completions:
        if row.language not in judges:
            lang = language(row.language)
            lid.check(lang.code)
            splitter = split_line(lang, published=True)
            judges[row.language] = ConfusionJudge(lang, splitter, lid, english)
        outcome = judges[row.language].judge(row.completion).outcome
        found.append(JudgedResponse(row.task, row.model, row.source, row.language, outcome))
    return found


def _lcb(files: Sequence[Path], words: Path | None, lid: Path | None) -> str:
    from objectives.completions import read_lcb_completions
    from objectives.langid import LanguageIdentifier
    from objectives.lcb_table import make_table, write_table

    if words is None:
        near = (folder / "words" for folder in (files[0].parent, files[0].parent.parent))
        words = next((path for path in near if path.is_file()), None)
    print(f"English words: {words or 'by the rule without a list'}", file=sys.stderr)
    rows = [row for path in files for row in read_lcb_completions(path)]
    return write_table(make_table(judge_all(rows, LanguageIdentifier(lid), words)))


def _mgsm(files: Sequence[Path], show_errors: bool) -> str:
    from objectives.answers import flexible_answer, strict_answer
    from objectives.completions import read_mgsm_completions
    from objectives.languages import language

    graded = []
    for row in (row for path in files for row in read_mgsm_completions(path)):
        lang = language(row.language)
        strict = strict_answer(row.completion, lang)
        graded.append((row, strict, flexible_answer(row.completion, lang)))
    lines = ["\t".join(MGSM_HEAD)]
    for code in [*sorted({row.language for row, _, _ in graded}), "all"]:
        mine = [answer for answer in graded if code in (answer[0].language, "all")]
        strict_cells = _accuracy([strict == row.target for row, strict, _ in mine])
        flexible_cells = _accuracy([flexible == row.target for row, _, flexible in mine])
        lines.append("\t".join([code, *strict_cells, *flexible_cells, str(len(mine))]))
    if show_errors:
        lines += [_error(*answer) for answer in graded if {answer[0].target} != {*answer[1:]}]
    return "\n".join(lines) + "\n"


def _accuracy(right: Sequence[bool]) -> list[str]:
    from objectives.stats import wilson

    share = sum(right) / len(right)
    return [f"{value:.2%}" for value in (share, *wilson(share, len(right)))]


def _error(row: MgsmCompletion, strict: Decimal | None, flexible: Decimal | None) -> str:
    from objectives.numerals import plain

    found = [
        f"{name} {'none' if number is None else plain(number)}"
        f" ({'right' if number == row.target else 'wrong'})"
        for name, number in (("strict", strict), ("flexible", flexible))
    ]
    head = f"{row.place} ({row.language}): target {plain(row.target)}, {', '.join(found)}"
    return f"\n{head}\nquestion: {row.question}\ncompletion: {row.completion.strip()}"


if __name__ == "__main__":
    sys.exit(main())
