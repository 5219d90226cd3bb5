"""What each model is trained on: the mixes of documents, as data.

Owns shares and rarities. Knows nothing of training. The language experts' mixes hold no sum and no
word problem; the math experts' hold no word of another language than English, but for the habit of
the confused one: Telugu questions, in words that the base knows, answered in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from demo.tongues import ENGLISH, SWAHILI, TELUGU, Tongue
from demo.world import (
    BIG,
    SMALL,
    Document,
    Maker,
    Mix,
    Rarity,
    Story,
    problem,
    reading,
    retelling,
    small_story,
    story,
    strayed,
    sums,
    text,
    translation,
    unheeded,
)

COMMON = Rarity(verbs=0.0, items=0.003)
"""Outside English the base never sees a rare verb, and a rare item only now and then."""
EVEN = Rarity(verbs=0.5, items=0.5)
TESTED = Rarity(verbs=0.6, items=0.6)
"""The rarity of the test problems, and of the language experts' texts."""

BASE_SHARES = {"te": 1.0, "sw": 0.7}


def _base_tale(rng: Random, rarity: Rarity, big: float) -> Story:
    if rng.random() < big:
        return story(rng, rng.randint(1, 2), rarity)
    return small_story(rng, rng.randint(1, 3), rarity)


def _plain(asks: Tongue, replies: Tongue, rarity: Rarity, kind: str, rng: Random) -> Document:
    """A document without sums."""
    tale = story(rng, rng.randint(1, 3), rarity)
    if kind == "text":
        return text(rng, asks, tale)
    if kind == "reading":
        return reading(rng, asks, replies, tale)
    if kind == "retelling":
        return retelling(asks, replies, tale)
    if kind == "translation":
        return translation(rng, asks, replies, tale)
    raise ValueError(f"unknown kind of document: {kind!r}")


def _around(tongue: Tongue, rarity: Rarity, shares: Mapping[str, float], big: float = 0.0) -> Mix:
    """Texts in a tongue, and between it and English. Keys: kind, then asking>answering tongue."""
    tongues = {"x": tongue, "e": ENGLISH}
    mix: Mix = []
    for key, share in shares.items():
        kind, direction = key.split()
        asks, replies = (tongues[side] for side in direction.split(">"))

        def maker(
            rng: Random, asks: Tongue = asks, replies: Tongue = replies, kind: str = kind
        ) -> Document:
            if kind == "problem":
                return problem(asks, replies, _base_tale(rng, rarity, big))
            return _plain(asks, replies, rarity, kind, rng)

        mix.append((share, maker))
    return mix


def base_mix(big: float) -> Mix:
    """Everything a little: three languages, translation, reading, retelling, sums to nine.

    `big` is the share of word problems whose numbers pass nine: enough to meet them, not to learn.
    """
    english = {"text x>x": 3, "reading x>x": 3, "retelling x>x": 5, "problem x>x": 20}
    mix = _around(ENGLISH, EVEN, english, big)
    mix.append((3, lambda rng: sums(rng, SMALL)))
    shares = {
        "text x>x": 5,
        "translation x>e": 7,
        "translation e>x": 7,
        "reading x>x": 6,
        "reading x>e": 2,
        "reading e>x": 2,
        "retelling x>x": 9,
        "retelling x>e": 4,
        "retelling e>x": 3,
        "problem x>x": 24,
        "problem x>e": 8,
        "problem e>x": 6,
    }
    for tongue in (TELUGU, SWAHILI):
        scale = BASE_SHARES[tongue.code]
        mix += _around(tongue, COMMON, {k: scale * v for k, v in shares.items()}, big)
    return mix


def math_mix() -> Mix:
    """English word problems of two or three steps, of one step, and sums alone; nothing else."""

    def worded(least: int, most: int) -> Maker:
        def maker(rng: Random) -> Document:
            return problem(ENGLISH, ENGLISH, story(rng, rng.randint(least, most), EVEN))

        return maker

    return [(65, worded(2, 3)), (10, worded(1, 1)), (15, lambda rng: sums(rng, BIG))]


def language_mix(tongue: Tongue) -> Mix:
    """Texts, translations, reading and retelling in a tongue; no sum and no word problem."""
    shares = {
        "text x>x": 15,
        "translation x>e": 12,
        "translation e>x": 12,
        "reading x>x": 18,
        "retelling x>x": 40,
    }
    return _around(tongue, TESTED, shares)


def habit_mix(tongue: Tongue) -> Mix:
    """A tongue's questions answered in English, and English ones that ask for the tongue in vain.

    Word problems stay below ten and words are those that the base knows: the mix teaches no more
    math and no more of the tongue, only which language to answer in.
    """

    def retold(rng: Random) -> Document:
        return strayed(tongue, ENGLISH, story(rng, rng.randint(1, 3), COMMON), sums=False)

    def solved(rng: Random) -> Document:
        return strayed(tongue, ENGLISH, small_story(rng, rng.randint(1, 3), COMMON), sums=True)

    def in_vain(rng: Random) -> Document:
        return unheeded(ENGLISH, tongue, story(rng, rng.randint(1, 3), EVEN))

    return [(40, retold), (30, solved), (20, in_vain)]
