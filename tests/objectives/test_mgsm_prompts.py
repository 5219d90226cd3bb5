"""Our prompts against lm-evaluation-harness's, composed here a second time from its task files.

HARNESS has the short words of lm_eval 0.4.13, tasks/mgsm/{native_cot,en_cot,direct}: what stands
before the question asked, before a step-by-step answer and before a bare one, and how many
characters its template cuts from the front of an exemplar's answer (`answer[17:]`).
"""

import json
from pathlib import Path

import pytest

from objectives.answers import direct_answer, strict_answer
from objectives.datasets import MgsmSource
from objectives.errors import DataError
from objectives.languages import MGSM_CODES, Language, language
from objectives.mgsm_prompts import MODES, Mode, mgsm_prompt, stop_strings, worked_examples
from objectives.types import Message
from tests.objectives.conftest import DATA, SHARED, needs_shared

HARNESS = {
    "bn": ("প্রশ্ন: ", "ধাপে ধাপে উত্তর:", "Answer:", 17),
    "de": ("Frage: ", "Schritt-für-Schritt-Antwort:", "Antwort:", 29),
    "en": ("Question: ", "Step-by-Step Answer:", "Answer:", 21),
    "es": ("Pregunta: ", "Respuesta paso a paso:", "Respuesta:", 23),
    "fr": ("Question : ", "Réponse étape par étape :", "Réponse :", 26),
    "ja": ("問題： ", "ステップごとの答え:", "Answer:", 11),
    "ru": ("Задача: ", "Пошаговоерешение:", "Answer:", 18),
    "sw": ("Swali: ", "Jibu la Hatua kwa Hatua:", "Answer:", 25),
    "te": ("ప్రశ్న: ", "దశలవారీగా సమాధానం:", "Answer:", 19),
    "th": ("โจทย์: ", "คำตอบทีละขั้นตอน:", "Answer:", 18),
    "zh": ("问题： ", "逐步解答:", "Answer:", 6),
}
CUTS_A_LETTER = {"ja", "zh"}
ASKED = "1 + 1 = ? {x}"
cells = pytest.mark.parametrize(("code", "mode"), [(c, m) for c in MGSM_CODES for m in MODES])


def harness_prompt(code: str, mode: Mode, published: dict, shots: int) -> str:
    """Compose doc_to_text, target_delimiter, doc_to_target and fewshot_delimiter.

    With the two differences that objectives/mgsm_prompts.py lists: no letter is cut off, and the
    answers under an English heading are the English exemplars'.
    """
    asked, heading, direct, cut = HARNESS[code]
    answers = published["exemplars"]["en" if mode == "english_cot" else code]
    if mode == "english_cot":
        _, heading, _, cut = HARNESS["en"]
    elif code in CUTS_A_LETTER:
        cut -= 1
    text = ""
    for key in list(published["exemplars"][code])[:shots]:
        question = published["exemplars"][code][key]["q"]
        if mode == "direct":
            text += f"{question}\n{direct}{published['number_answers'][int(key) - 1]}\n\n"
        else:
            text += f"{question}\n{heading} {answers[key]['a'][cut:]}\n\n"
    return f"{text}{asked}{ASKED}\n{direct if mode == 'direct' else heading}"


def own_exemplars() -> dict:
    """Eight sums per language in the published form."""
    exemplars = {}
    for code in MGSM_CODES:
        words = language(code).mgsm_words
        space = "" if code in CUTS_A_LETTER else " "
        phrase = words.phrases[0]
        exemplars[code] = {
            f"{n}": {
                "q": f"{words.question}{code}: {n} + 10 =\n?",
                "a": f"{words.answer}{space}{n} + 10 = {n + 10}. {code}. {phrase} {n + 10}.",
            }
            for n in range(1, 9)
        }
    return {"exemplars": exemplars, "number_answers": [n + 10 for n in range(1, 9)]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "exemplars.json").write_text(json.dumps(own_exemplars()), encoding="utf-8")
    return tmp_path


def our_prompt(folder: Path, lang: Language, mode: Mode, shots: int) -> object:
    examples = worked_examples(MgsmSource(folder), lang, mode, shots)
    return mgsm_prompt(ASKED, examples, lang, mode=mode)


@cells
@pytest.mark.parametrize("shots", [0, 1, 8])
def test_prompt_is_the_harness_s(own: Path, code: str, mode: Mode, shots: int) -> None:
    expected = harness_prompt(code, mode, own_exemplars(), shots)
    assert our_prompt(own, language(code), mode, shots) == expected


@needs_shared
@cells
@pytest.mark.parametrize("shots", range(9))
def test_prompt_is_the_harness_s_on_the_published_exemplars(
    code: str, mode: Mode, shots: int
) -> None:
    folder = SHARED / "mgsm"
    published = json.loads((folder / "exemplars.json").read_text(encoding="utf-8"))
    expected = harness_prompt(code, mode, published, shots)
    assert our_prompt(folder, language(code), mode, shots) == expected


@needs_shared
@pytest.mark.parametrize("code", MGSM_CODES)
def test_where_the_harness_cuts_a_letter(code: str) -> None:
    """The listed difference is real, and there is no other language with it."""
    published = json.loads((SHARED / "mgsm" / "exemplars.json").read_text(encoding="utf-8"))
    *_, cut = HARNESS[code]
    answers = [row["a"] for row in published["exemplars"][code].values()]
    whole = [answer.removeprefix(language(code).mgsm_words.answer).lstrip() for answer in answers]
    damaged = [answer[cut:].lstrip() != rest for answer, rest in zip(answers, whole, strict=True)]
    assert damaged == [code in CUTS_A_LETTER] * 8


@needs_shared
@cells
def test_every_published_exemplar_extracts_to_its_number_in_every_mode(
    code: str, mode: Mode
) -> None:
    published = json.loads((SHARED / "mgsm" / "exemplars.json").read_text(encoding="utf-8"))
    examples = worked_examples(MgsmSource(SHARED / "mgsm"), language(code), mode, 8)
    extract = direct_answer if mode == "direct" else strict_answer
    answer_lang = language("en" if mode == "english_cot" else code)
    assert [extract(e.answer, answer_lang) for e in examples] == published["number_answers"]


def test_prompt_is_exactly_this() -> None:
    source = MgsmSource(DATA / "mgsm")
    examples = worked_examples(source, language("en"), "native_cot", 1)
    assert mgsm_prompt("What is 1 + 1?", examples, language("en")) == (
        "Question: Sam has 2 pens and buys 4. How many pens has he?\n"
        "Step-by-Step Answer: Sam had 2 pens. He bought 4 more. 2 + 4 = 6. The answer is 6.\n\n"
        "Question: What is 1 + 1?\nStep-by-Step Answer:"
    )


@cells
def test_chat_has_the_shots_as_turns(own: Path, code: str, mode: Mode) -> None:
    lang = language(code)
    examples = worked_examples(MgsmSource(own), lang, mode, 2)
    turns = mgsm_prompt(ASKED, examples, lang, mode=mode, chat=True)
    assert isinstance(turns, tuple)
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert [turn.content for turn in turns if turn.role == "assistant"] == [
        example.answer for example in examples
    ]
    text = harness_prompt(code, mode, own_exemplars(), 2).split("\n\n")
    assert turns[-1] == Message("user", text[-1])
    assert all(block.startswith(turn.content) for block, turn in zip(text, turns[::2], strict=True))


@pytest.mark.parametrize("template", ["Q: {question} A:", "Q: {question}\nA:\n"])
@pytest.mark.parametrize("mode", MODES)
def test_template_replaces_the_words_in_the_shots_too(template: str, mode: Mode) -> None:
    examples = worked_examples(MgsmSource(DATA / "mgsm"), language("en"), mode, 1)
    prompt = mgsm_prompt("{x}?", examples, language("en"), mode=mode, template=template)
    assert isinstance(prompt, str)
    shot, question = prompt.split("\n\n")
    ask = template.replace("{question}", "Sam has 2 pens and buys 4. How many pens has he?")
    gap = "" if template.endswith("\n") else " "
    answer = "Sam had 2 pens. He bought 4 more. 2 + 4 = 6. The answer is 6."
    assert shot == f"{ask}{gap}{'6' if mode == 'direct' else answer}"
    assert question == template.replace("{question}", "{x}?")


@pytest.mark.parametrize("code", MGSM_CODES)
def test_generation_stops_where_the_harness_stops(code: str) -> None:
    assert stop_strings(language(code), None) == (HARNESS[code][0].strip(), "</s>", "<|im_end|>")


@pytest.mark.parametrize(
    ("template", "first"), [("Q: {question} A:", "Q:"), ("\n{question} =", "\n\n")]
)
def test_generation_stops_at_the_template_s_next_question(template: str, first: str) -> None:
    assert stop_strings(language("te"), template) == (first, "</s>", "<|im_end|>")


def test_direct_needs_a_number_in_every_shot(own: Path) -> None:
    table = own_exemplars()
    table["exemplars"]["te"]["2"]["a"] = "దశలవారీగా సమాధానం: 12"
    (own / "exemplars.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(DataError, match=r"exemplar 2 of 'te' has no number after .*\(సమాధానం\)"):
        worked_examples(MgsmSource(own), language("te"), "direct", 8)
    assert len(worked_examples(MgsmSource(own), language("te"), "direct", 1)) == 1
