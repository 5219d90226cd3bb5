"""The three languages of the demo world: words and sentence forms, one table each.

Owns every word that a document can contain. Knows nothing of documents, arithmetic or models.

Word lists run in parallel: entry `i` of a list means the same in every language. Verbs: 0 to 11 add
to what somebody has, 12 to 23 take away; in each dozen the first six are common and the last six
are *rare*: outside English the base model never sees them, only the language experts do. Items 8 to
15 are rare as well. Grammar is simplified: one form per noun, one past form per verb.
"""

from __future__ import annotations

from dataclasses import dataclass

N_COMMON_VERBS = 6
N_VERBS = 12
N_COMMON_ITEMS = 8


@dataclass(frozen=True)
class Tongue:
    """Words and sentence forms of one language.

    Attributes:
        code: ISO 639-1 code, also the fastText label.
        name: English name, used in requests such as "Reply in Telugu."
        people: ten first names.
        items: sixteen countable things, the last eight rare.
        verbs: twenty-four past-tense verbs, see the module's docstring.
        has: "somebody has n things".
        event: "somebody did n things".
        ask_now: how many things somebody has in the end.
        ask_story: what happened to somebody's things.
        ask_who: who did n things.
        ask_count: how many things somebody did.
        ask_way: did n things come or go.
        first: opening of an answer.
        came: one step of an answer, something was added.
        went: one step of an answer, something was taken away.
        answer: end of an answer to `ask_now`.
        done: end of an answer to `ask_story`.
    """

    code: str
    name: str
    people: tuple[str, ...]
    items: tuple[str, ...]
    verbs: tuple[str, ...]
    has: str
    event: str
    ask_now: str
    ask_story: str
    ask_who: str
    ask_count: str
    ask_way: str
    first: str
    came: str
    went: str
    answer: str
    done: str


ENGLISH = Tongue(
    code="en",
    name="English",
    people=tuple("Ravi Sita Radha Gita Raju Lata Usha Vani Gopi Meena".split()),
    items=tuple(
        "fruits flowers eggs leaves balls pens fish stones "
        "ropes bangles pots lamps hats feathers lemons bells".split()
    ),
    verbs=tuple(
        "bought brought plucked gathered took made "
        "received won found fried saved wove "
        "ate sold gave broke sent left "
        "handed threw split melted drank poured".split()
    ),
    has="{who} has {n} {item}.",
    event="{who} {verb} {n} {item}.",
    ask_now="How many {item} does {who} have?",
    ask_story="What happened to the {item} of {who}?",
    ask_who="Who {verb} {n} {item}?",
    ask_count="{who} {verb} how many {item}?",
    ask_way="{who} {verb} {n} {item}, came or went?",
    first="First {n} {item}.",
    came="Then came {n}",
    went="Then went {n}",
    answer="The answer is {n}.",
    done="That is all.",
)

TELUGU = Tongue(
    code="te",
    name="Telugu",
    people=tuple("రవి సీత రాధ గీత రాజు లత ఉష వాణి గోపి మీనా".split()),
    items=tuple("పండు పూవు గుడ్డు ఆకు బంతి కలం చేప రాయి తాడు గాజు కుండ దీపం టోపీ ఈక నిమ్మ గంట".split()),
    verbs=tuple(
        "కొనె తెచ్చె కోసె ఏరె తీసె చేసె అందె జయించె దొరికె వేచె మిగిల్చె నేసె "
        "తినె అమ్మె ఇచ్చె విరిచె పంపె వదిలె అప్పగించె విసిరె చీల్చె కరిగించె తాగె పోసె".split()
    ),
    has="{who} వద్ద {n} {item}.",
    event="{who} {n} {item} {verb}.",
    ask_now="{who} వద్ద ఎన్ని {item}?",
    ask_story="{who} {item} ఏమైంది?",
    ask_who="{n} {item} ఎవరు {verb}?",
    ask_count="{who} ఎన్ని {item} {verb}?",
    ask_way="{who} {n} {item} {verb}, వచ్చె పోయె?",
    first="మొదట {n} {item}.",
    came="వచ్చె {n}",
    went="పోయె {n}",
    answer="సమాధానం {n}.",
    done="అంతే.",
)

SWAHILI = Tongue(
    code="sw",
    name="Swahili",
    people=ENGLISH.people,
    items=tuple(
        "tunda ua yai jani mpira kalamu samaki jiwe "
        "kamba bangili chungu taa kofia unyoya limau kengele".split()
    ),
    verbs=tuple(
        "alinunua alileta alichuma aliokota alitwaa aliunda "
        "alipokea alishinda alipata alikaanga aliweka alifuma "
        "alikula aliuza alitoa alivunja alituma aliacha "
        "alikabidhi alirusha alipasua aliyeyusha alikunywa alimwaga".split()
    ),
    has="{who} ana {item} {n}.",
    event="{who} {verb} {item} {n}.",
    ask_now="{who} ana {item} ngapi?",
    ask_story="Vipi {item} ya {who}?",
    ask_who="Nani {verb} {item} {n}?",
    ask_count="{who} {verb} {item} ngapi?",
    ask_way="{who} {verb} {item} {n}, kuja au kwenda?",
    first="Mwanzo wa {item} ni {n}.",
    came="Kuja kwa {n}",
    went="Kwenda kwa {n}",
    answer="Jibu ni {n}.",
    done="Ni hayo.",
)

TONGUES = {tongue.code: tongue for tongue in (ENGLISH, TELUGU, SWAHILI)}
