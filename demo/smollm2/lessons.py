"""What the experts are trained on, and the test items that need both abilities at once.

Owns the mixes of documents, which topics and problems are kept for the test, and its files, in the
formats of MGSM and of the Language Confusion Benchmark. Knows nothing of tokens or models. A
problem of the test is in no training document: its seed is another, and equal ones are left out.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from random import Random

from demo.smollm2.problems import Code, Problem, distinct, problem
from demo.smollm2.swahili import TOPICS, ombi, request, text
from demo.world import Document, Mix

N_TOPICS = 12  # of all; the others are asked about in the test
N_EXEMPLARS, N_PROBLEMS, N_PROMPTS = 8, 300, 60
SEED = 2026
QUESTION: dict[Code, tuple[str, str]] = {
    "en": ("Question: ", "Step-by-Step Answer:"),
    "sw": ("Swali: ", "Jibu la Hatua kwa Hatua:"),
}
"""The words of MGSM's prompts (`objectives/languages.py`)."""


@cache
def tested() -> tuple[Problem, ...]:
    """The exemplars, then the test's problems."""
    return tuple(distinct(N_EXEMPLARS + N_PROBLEMS, SEED))


def _fresh(rng: Random) -> Problem:
    while (drawn := problem(rng)) in tested():
        pass
    return drawn


def word_problem(rng: Random) -> Document:
    """An English problem with its worked answer."""
    drawn = _fresh(rng)
    word, heading = QUESTION["en"]
    return Document(f"{word}{drawn.question('en')}\n{heading}", drawn.worked("en"))


def reply(rng: Random) -> Document:
    """A request, more often in English than not, with an answer in Swahili."""
    topic = rng.choice(TOPICS[:N_TOPICS])
    ask = request if rng.random() < 0.7 else ombi
    return Document(ask(rng, topic), text(rng, topic))


def translation(rng: Random) -> Document:
    """A problem's sentences, without its steps or result, from English into Swahili or back."""
    drawn = _fresh(rng)
    pairs = list(zip([*drawn.en.story, drawn.en.ask], [*drawn.sw.story, drawn.sw.ask], strict=True))
    rng.shuffle(pairs)
    en, sw = (" ".join(side) for side in zip(*pairs[: rng.randint(1, 3)], strict=True))
    if rng.random() < 0.3:
        return Document(f"Translate into English: {sw}", en)
    return Document(f"Translate into Swahili: {en}", sw)


MIXES: dict[str, Mix] = {
    "math": [(1.0, word_problem)],
    "sw": [(0.6, reply), (0.4, translation)],
}


def write_test(folder: Path) -> None:
    """Writes `mgsm/` and `lcb/` under `folder`: problems in both languages, and requests."""
    shown, asked = tested()[:N_EXEMPLARS], tested()[N_EXEMPLARS:]
    mgsm, lcb = folder / "mgsm", folder / "lcb" / "crosslingual" / "own"
    for made in (mgsm, lcb):
        made.mkdir(parents=True, exist_ok=True)
    exemplars: dict[str, dict[str, dict[str, str]]] = {}
    for code, (word, heading) in QUESTION.items():
        lines = [f"{p.question(code)}\t{p.result}\n" for p in asked]
        (mgsm / f"mgsm_{code}.tsv").write_text("".join(lines), encoding="utf-8")
        exemplars[code] = {
            str(number): {"q": word + p.question(code), "a": f"{heading} {p.worked(code)}"}
            for number, p in enumerate(shown, 1)
        }
    content = json.dumps({"exemplars": exemplars}, ensure_ascii=False, indent=1)
    (mgsm / "exemplars.json").write_text(content + "\n", encoding="utf-8")
    rng = Random(SEED)
    rows = [["prompt", "location", "phrasing", "language", "source"]]
    prompts: dict[str, None] = {}
    while len(prompts) < N_PROMPTS:
        topic = rng.choice(TOPICS[N_TOPICS:])
        prompts[request(rng, topic)] = None
    rows += [[prompt, "End", "reply in {language_requested}", "sw", "own"] for prompt in prompts]
    with (lcb / "sw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
