"""The demo's benchmark files, in the formats of MGSM and of the Language Confusion Benchmark.

Owns which items exist; they were fixed before any expert was trained. Knows nothing of models.

- `mgsm/mgsm_<code>.tsv`: question TAB result, no header; row `i` is the same problem in every
  language. Two or three steps, numbers to 30, six words in ten rare.
- `mgsm/exemplars.json`: eight worked examples per language.
- `lcb/{monolingual,crosslingual}/stories/<code>.csv`: stories to be told back.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random

from demo.mixes import EVEN, TESTED
from demo.tongues import ENGLISH, SWAHILI, TELUGU, TONGUES, Tongue
from demo.world import Problem, Story, asked, story, worked

N_PROBLEMS = 600
N_SEARCH = 200
"""Items 0 to 199 are for choosing recipes, the other 400 are held out."""
N_EXEMPLARS = 8
N_PROMPTS = 100
SEED = 20_26
START = (5, 25)

QUESTION_WORDS = {
    "en": ("Question: ", "Step-by-Step Answer: "),
    "te": ("ప్రశ్న: ", "దశలవారీగా సమాధానం: "),
    "sw": ("Swali: ", "Jibu la Hatua kwa Hatua: "),
}


def tales(n: int, seed: int) -> list[Story]:
    """Distinct stories of the test distribution."""
    rng = Random(seed)
    found: dict[Story, None] = {}
    while len(found) < n:
        found[story(rng, rng.randint(2, 3), TESTED, start=START)] = None
    return list(found)


def problems(tongue: Tongue, which: list[Story]) -> list[Problem]:
    """Stories as word problems."""
    return [
        Problem(asked(tongue, t, tongue.ask_now), t.result, worked(tongue, t, sums=True))
        for t in which
    ]


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write(folder: Path) -> None:
    """Writes all files under `folder`."""
    drawn = tales(N_EXEMPLARS + N_PROBLEMS, SEED)
    shown, tested = drawn[:N_EXEMPLARS], drawn[N_EXEMPLARS:]
    mgsm = folder / "mgsm"
    mgsm.mkdir(parents=True, exist_ok=True)
    exemplars: dict[str, dict[str, dict[str, str]]] = {}
    for code, tongue in TONGUES.items():
        lines = [f"{p.question}\t{p.result}\n" for p in problems(tongue, tested)]
        (mgsm / f"mgsm_{code}.tsv").write_text("".join(lines), encoding="utf-8")
        asks, replies = QUESTION_WORDS[code]
        exemplars[code] = {
            str(i): {"q": asks + p.question, "a": replies + p.worked}
            for i, p in enumerate(problems(tongue, shown), 1)
        }
    text = json.dumps({"exemplars": exemplars}, ensure_ascii=False, indent=1)
    (mgsm / "exemplars.json").write_text(text + "\n", encoding="utf-8")
    for number, tongue in enumerate((TELUGU, SWAHILI)):
        rng = Random(SEED + 1 + number)
        stories = [story(rng, rng.randint(2, 3), EVEN) for _ in range(2 * N_PROMPTS)]
        _write_csv(
            folder / "lcb" / "monolingual" / "stories" / f"{tongue.code}.csv",
            ["prompt", "source", "language"],
            [
                [asked(tongue, t, tongue.ask_story), "stories", tongue.code]
                for t in stories[:N_PROMPTS]
            ],
        )
        _write_csv(
            folder / "lcb" / "crosslingual" / "stories" / f"{tongue.code}.csv",
            ["prompt", "location", "phrasing", "language", "source"],
            [
                [
                    f"{asked(ENGLISH, t, ENGLISH.ask_story)} Reply in {tongue.name}.",
                    "End",
                    "reply in {language_requested}",
                    tongue.code,
                    "stories",
                ]
                for t in stories[N_PROMPTS:]
            ],
        )


def read_problems(folder: Path, code: str) -> list[tuple[str, int]]:
    """Questions and results of `mgsm_<code>.tsv`."""
    lines = (folder / "mgsm" / f"mgsm_{code}.tsv").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    return [(question, int(result)) for question, result in pairs]
