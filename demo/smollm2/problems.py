"""Word problems told alike in English and in Swahili, with answers worked out step by step.

Owns the problems' words and forms. Knows nothing of prompts, tokens or models. Numbers are whole
and positive at each step; a problem's two tellings have the same numbers and the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

Code = Literal["en", "sw"]
PEOPLE = tuple(
    "Juma Asha Amina Baraka Neema Hamisi Zawadi Rehema Musa Fatuma Daudi Grace Joseph Maria Ali "
    "Sophia Daniel Esther Peter Halima".split()
)


class Thing(NamedTuple):
    """Something that can be counted and bought; Swahili words that agree with it stand beside it.

    Attributes:
        one: English singular.
        many: English plural.
        sw_one: Swahili singular with "one" (kitabu kimoja).
        sw_many: Swahili plural.
        how_many: "how many" in the noun's class.
        more: "others" in the noun's class.
    """

    one: str
    many: str
    sw_one: str
    sw_many: str
    how_many: str
    more: str


THINGS = tuple(
    Thing(*row.split("/"))
    for row in (
        "orange/oranges/chungwa moja/machungwa/mangapi/mengine",
        "mango/mangoes/embe moja/maembe/mangapi/mengine",
        "egg/eggs/yai moja/mayai/mangapi/mengine",
        "pineapple/pineapples/nanasi moja/mananasi/mangapi/mengine",
        "book/books/kitabu kimoja/vitabu/vingapi/vingine",
        "chair/chairs/kiti kimoja/viti/vingapi/vingine",
        "cup/cups/kikombe kimoja/vikombe/vingapi/vingine",
        "plate/plates/sahani moja/sahani/ngapi/nyingine",
        "pen/pens/kalamu moja/kalamu/ngapi/nyingine",
        "banana/bananas/ndizi moja/ndizi/ngapi/nyingine",
        "candle/candles/mshumaa mmoja/mishumaa/mingapi/mingine",
        "bag/bags/mfuko mmoja/mifuko/mingapi/mingine",
        "ball/balls/mpira mmoja/mipira/mingapi/mingine",
        "loaf of bread/loaves of bread/mkate mmoja/mikate/mingapi/mingine",
        "fish/fish/samaki mmoja/samaki/wangapi/wengine",
        "chicken/chickens/kuku mmoja/kuku/wangapi/wengine",
    )
)
"""Each fits "has", "buys", "costs" and "in a box"."""


class Telling(NamedTuple):
    """A problem in one language: the sentences before the question, the question, the steps."""

    story: tuple[str, ...]
    ask: str
    steps: tuple[str, ...]


class Problem(NamedTuple):
    """One problem in both languages."""

    en: Telling
    sw: Telling
    result: int

    def question(self, code: Code) -> str:
        """The whole question."""
        telling: Telling = getattr(self, code)
        return " ".join([*telling.story, telling.ask])

    def worked(self, code: Code) -> str:
        """The steps and the result, in the words of MGSM's exemplars."""
        telling: Telling = getattr(self, code)
        last = f"The answer is {self.result}." if code == "en" else f"Jibu ni {self.result}."
        return " ".join([*telling.steps, last])


def _changes(rng: Random) -> Problem:
    """Somebody has some, gets more, gives some away."""
    who, friend = rng.sample(PEOPLE, 2)
    thing = rng.choice(THINGS)
    has, more = rng.randint(3, 40), rng.randint(2, 20)
    gone = rng.randint(1, has + more - 1) if rng.random() < 0.7 else 0
    total, left = has + more, has + more - gone
    en = [f"{who} has {has} {thing.many}.", f"{who} buys {more} more."]
    sw = [f"{who} ana {thing.sw_many} {has}.", f"{who} ananunua {thing.more} {more}."]
    steps = [
        f"{who} starts with {has}.",
        f"After buying {more} there are {has} + {more} = {total}.",
    ]
    hatua = [f"{who} ana {has} mwanzoni.", f"Baada ya kununua {more} ana {has} + {more} = {total}."]
    if gone:
        en.append(f"Then {who} gives {gone} to {friend}.")
        sw.append(f"Kisha {who} anampa {friend} {gone}.")
        steps.append(f"After giving away {gone} there are {total} - {gone} = {left}.")
        hatua.append(f"Baada ya kutoa {gone} anabaki na {total} - {gone} = {left}.")
    return Problem(
        Telling(tuple(en), f"How many {thing.many} does {who} have now?", tuple(steps)),
        Telling(tuple(sw), f"{who} ana {thing.sw_many} {thing.how_many} sasa?", tuple(hatua)),
        left,
    )


def _boxes(rng: Random) -> Problem:
    """So many boxes with so many in each, and a few more."""
    thing = rng.choice(THINGS)
    boxes, each = rng.randint(2, 9), rng.randint(2, 12)
    loose = rng.choice((0, rng.randint(1, 15)))
    inside, total = boxes * each, boxes * each + loose
    en = [f"A shop has {boxes} boxes with {each} {thing.many} in each box."]
    sw = [f"Duka lina masanduku {boxes} na kila sanduku lina {thing.sw_many} {each}."]
    steps = [f"In the boxes there are {boxes} * {each} = {inside}."]
    hatua = [f"Ndani ya masanduku kuna {boxes} * {each} = {inside}."]
    if loose:
        en.append(f"There are also {loose} {thing.many} on the table.")
        sw.append(f"Pia kuna {thing.sw_many} {loose} juu ya meza.")
        steps.append(f"With those on the table there are {inside} + {loose} = {total}.")
        hatua.append(f"Pamoja na hizo za mezani kuna {inside} + {loose} = {total}.")
    return Problem(
        Telling(tuple(en), f"How many {thing.many} are there in all?", tuple(steps)),
        Telling(tuple(sw), f"Kuna {thing.sw_many} {thing.how_many} kwa jumla?", tuple(hatua)),
        total,
    )


def _price(rng: Random) -> Problem:
    """What some things cost, or what is left of the money."""
    who, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    price, count = rng.randint(2, 12), rng.randint(2, 9)
    cost = price * count
    en = [f"One {thing.one} costs {price} shillings.", f"{who} buys {count} {thing.many}."]
    sw = [f"Bei ya {thing.sw_one} ni shilingi {price}.", f"{who} ananunua {thing.sw_many} {count}."]
    steps = [f"{count} {thing.many} cost {count} * {price} = {cost} shillings."]
    hatua = [f"Bei ya {thing.sw_many} {count} ni {count} * {price} = {cost}."]
    if rng.random() < 0.5:
        ask, uliza = f"How many shillings does {who} pay?", f"{who} analipa shilingi ngapi?"
        return Problem(
            Telling(tuple(en), ask, tuple(steps)), Telling(tuple(sw), uliza, tuple(hatua)), cost
        )
    purse = cost + rng.randint(1, 50)
    en.append(f"{who} had {purse} shillings.")
    sw.append(f"{who} alikuwa na shilingi {purse}.")
    steps.append(f"There are {purse} - {cost} = {purse - cost} shillings left.")
    hatua.append(f"Zinabaki shilingi {purse} - {cost} = {purse - cost}.")
    return Problem(
        Telling(tuple(en), "How many shillings are left?", tuple(steps)),
        Telling(tuple(sw), "Zinabaki shilingi ngapi?", tuple(hatua)),
        purse - cost,
    )


def _shares(rng: Random) -> Problem:
    """Things shared among children in equal parts."""
    who, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    children, each = rng.randint(2, 9), rng.randint(2, 12)
    total = children * each
    return Problem(
        Telling(
            (f"{who} shares {total} {thing.many} equally among {children} children.",),
            f"How many {thing.many} does each child get?",
            (f"Each child gets {total} / {children} = {each}.",),
        ),
        Telling(
            (f"{who} anagawa {thing.sw_many} {total} sawa kwa watoto {children}.",),
            f"Kila mtoto anapata {thing.sw_many} {thing.how_many}?",
            (f"Kila mtoto anapata {total} / {children} = {each}.",),
        ),
        each,
    )


_MAKERS: tuple[Callable[[Random], Problem], ...] = (_changes, _boxes, _price, _shares)


def problem(rng: Random) -> Problem:
    """Draws one problem of any kind."""
    return rng.choice(_MAKERS)(rng)


def distinct(n: int, seed: int) -> list[Problem]:
    """Draws `n` problems, none twice."""
    rng = Random(seed)
    found: dict[Problem, None] = {}
    while len(found) < n:
        found[problem(rng)] = None
    return list(found)
