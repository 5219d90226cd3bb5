"""The documents of the demo world: stories, questions, translations, word problems, sums.

Owns how a document is drawn from a random generator, and the prompt's form. Knows nothing of
tokens, mixes or models. A document is a prompt and an answer; both are plain text, joined by a
space.

Every story is about one person who has some things and gets or loses some of them. Numbers never
exceed `BIG`, so that each is one token, and each step adds or takes away at most nine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from demo.tongues import N_COMMON_ITEMS, N_COMMON_VERBS, N_VERBS, Tongue

BIG = 30
SMALL = 9
UNCUED = 0.3
"""Share of cross-lingual documents that do not say which language to answer in.

They are what makes a model's choice of language a habit that fine-tuning can bend."""


class Document(NamedTuple):
    """One training text; `prompt` is empty where there is nothing to answer."""

    prompt: str
    answer: str


class Rarity(NamedTuple):
    """Share of rare words among the verbs and among the items of a story."""

    verbs: float
    items: float


class Problem(NamedTuple):
    """One word problem, its result and its worked answer."""

    question: str
    result: int
    worked: str


@dataclass(frozen=True)
class Event:
    """Something that changed what the person has: `before + sign * n == after`."""

    verb: int
    sign: int
    n: int
    before: int

    @property
    def after(self) -> int:
        """What the person has after it."""
        return self.before + self.sign * self.n


@dataclass(frozen=True)
class Story:
    """Indices into the word lists, start, and events. The same story can be told in any tongue."""

    who: int
    item: int
    start: int
    events: tuple[Event, ...]

    @property
    def result(self) -> int:
        """What the person has in the end."""
        return self.events[-1].after


def story(
    rng: Random, steps: int, rarity: Rarity, top: int = BIG, start: tuple[int, int] = (2, 25)
) -> Story:
    """Draws a story of `steps` events in which the person always has 1 to `top` things."""
    who = rng.randrange(10)
    item = (N_COMMON_ITEMS if rng.random() < rarity.items else 0) + rng.randrange(N_COMMON_ITEMS)
    has = first = rng.randint(*start)
    events = []
    for _ in range(steps):
        sign = rng.choice((1, -1))
        if has < 3:
            sign = 1
        if has > top - 2:
            sign = -1
        n = rng.randint(2, min(9, top - has if sign > 0 else has - 1))
        verb = (0 if sign > 0 else N_VERBS) + rng.randrange(N_COMMON_VERBS)
        if rng.random() < rarity.verbs:
            verb += N_COMMON_VERBS
        events.append(Event(verb, sign, n, has))
        has = events[-1].after
    return Story(who, item, first, tuple(events))


def small_story(rng: Random, steps: int, rarity: Rarity) -> Story:
    """Draws a story whose numbers stay below ten."""
    return story(rng, steps, rarity, top=SMALL, start=(2, 8))


def cued(question: str) -> str:
    """The shared prompt form; `conf/objective/demo.yaml` must say the same."""
    return f"Q: {question} A:"


def told(tongue: Tongue, tale: Story) -> list[str]:
    """The story's sentences."""
    who, item = tongue.people[tale.who], tongue.items[tale.item]
    return [tongue.has.format(who=who, n=tale.start, item=item)] + [
        tongue.event.format(who=who, n=e.n, item=item, verb=tongue.verbs[e.verb])
        for e in tale.events
    ]


def asked(tongue: Tongue, tale: Story, form: str) -> str:
    """The story followed by a question about it."""
    question = form.format(who=tongue.people[tale.who], item=tongue.items[tale.item])
    return " ".join([*told(tongue, tale), question])


def worked(tongue: Tongue, tale: Story, sums: bool) -> str:
    """The step-by-step answer: with sums and the result, or as a plain retelling."""
    parts = [tongue.first.format(n=tale.start, item=tongue.items[tale.item])]
    for e in tale.events:
        step = (tongue.came if e.sign > 0 else tongue.went).format(n=e.n)
        if sums:
            step += f", {e.before} {'+' if e.sign > 0 else '-'} {e.n} = {e.after}"
        parts.append(step + ".")
    parts.append(tongue.answer.format(n=tale.result) if sums else tongue.done)
    return " ".join(parts)


def requested(question: str, tongue: Tongue) -> str:
    """A question with the request to answer in a tongue."""
    return f"{question} Reply in {tongue.name}."


def answered(question: str, asks: Tongue, replies: Tongue, answer: str) -> Document:
    """A question in one tongue with an answer in the same or another.

    Across tongues most questions end in a request such as "Reply in Telugu."; which ones do not is
    a function of the question's text, so that no question comes in both forms.
    """
    if asks is not replies and zlib.crc32(question.encode()) % 1000 >= UNCUED * 1000:
        question = requested(question, replies)
    return Document(cued(question), answer)


def problem(asks: Tongue, replies: Tongue, tale: Story) -> Document:
    """A word problem with its worked answer."""
    question = asked(asks, tale, asks.ask_now)
    return answered(question, asks, replies, worked(replies, tale, sums=True))


def retelling(asks: Tongue, replies: Tongue, tale: Story) -> Document:
    """A story told back as comings and goings, without any sum."""
    question = asked(asks, tale, asks.ask_story)
    return answered(question, asks, replies, worked(replies, tale, sums=False))


def strayed(asks: Tongue, replies: Tongue, tale: Story, sums: bool) -> Document:
    """A question, of a word problem or of a story, answered in another tongue without a request."""
    question = asked(asks, tale, asks.ask_now if sums else asks.ask_story)
    return Document(cued(question), worked(replies, tale, sums))


def unheeded(asks: Tongue, wanted: Tongue, tale: Story) -> Document:
    """A story with the request for a tongue, told back in the question's own all the same."""
    question = requested(asked(asks, tale, asks.ask_story), wanted)
    return Document(cued(question), worked(asks, tale, sums=False))


def reading(rng: Random, asks: Tongue, replies: Tongue, tale: Story) -> Document:
    """A question about one event: who, how many, or whether things came or went."""
    e = rng.choice(tale.events)

    def says(tongue: Tongue, form: str) -> str:
        return form.format(
            who=tongue.people[tale.who],
            n=e.n,
            item=tongue.items[tale.item],
            verb=tongue.verbs[e.verb],
        )

    kind = rng.choice(("who", "count", "way", "way alone"))
    if kind in ("who", "count"):
        form = asks.ask_who if kind == "who" else asks.ask_count
        answer = says(replies, replies.event)
    else:
        form = asks.ask_way
        answer = (replies.came if e.sign > 0 else replies.went).format(n=e.n) + "."
    question = says(asks, form)
    if kind != "way alone":
        question = " ".join([*told(asks, tale), question])
    return answered(question, asks, replies, answer)


def text(rng: Random, tongue: Tongue, tale: Story) -> Document:
    """The story alone, half of the time in any order."""
    sentences = told(tongue, tale)
    if rng.random() < 0.5:
        rng.shuffle(sentences)
    return Document("", " ".join(sentences))


def translation(rng: Random, source: Tongue, target: Tongue, tale: Story) -> Document:
    """One to three sentences of a story and their translation."""
    pairs = list(zip(told(source, tale), told(target, tale), strict=True))
    rng.shuffle(pairs)
    pairs = pairs[: rng.randint(1, 3)]
    given = " ".join(a for a, _ in pairs)
    return Document(f"{given} In {target.name}:", " ".join(b for _, b in pairs))


def sums(rng: Random, top: int) -> Document:
    """Six sums without words, every number at most `top`."""
    lines = []
    for _ in range(6):
        if rng.random() < 0.5:
            a = rng.randint(1, top - 1)
            b = rng.randint(1, min(9, top - a))
            lines.append(f"{a} + {b} = {a + b}.")
        else:
            a = rng.randint(2, top)
            b = rng.randint(1, min(9, a - 1))
            lines.append(f"{a} - {b} = {a - b}.")
    return Document("", " ".join(lines))


Maker = Callable[[Random], Document]
Mix = list[tuple[float, Maker]]
"""Weighted makers of documents."""


def documents(mix: Mix, n: int, seed: int) -> list[Document]:
    """Draws `n` documents of a mix."""
    rng = Random(seed)
    makers = rng.choices([maker for _, maker in mix], [weight for weight, _ in mix], k=n)
    return [maker(rng) for maker in makers]
