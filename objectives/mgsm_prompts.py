r"""MGSM's prompts: worked examples, then the question between the language's words.

Owns the prompt of each mode, its shots and the strings at which generation ends. Knows no score.

A prompt is lm-evaluation-harness's, character by character (lm_eval 0.4.13, `tasks/mgsm`), with the
first `shots` exemplars in their published order (its sampler first_n):

    <word><exemplar question>\n<heading> <answer>\n\n ... <word><question>\n<heading>

- native_cot is `mgsm_native_cot_<lang>`: question, heading and reasoning in the language.
- english_cot is `mgsm_en_cot_<lang>`: the heading and the reasoning are in English.
- direct is `mgsm_direct_<lang>`: the answer is only the number.

The harness's own spellings are kept, because its scores come from them: in Japanese and Chinese
another colon in the heading, and a space before the question asked, than in the exemplars; in
Russian a heading without its space and two spaces after it; in direct no space before the number.
Generation ends at its strings: the question word, "</s>" and "<|im_end|>". As a conversation the
turns are those of its --apply_chat_template --fewshot_as_multiturn.

It differs from the harness in this:

- Japanese and Chinese, native_cot: the harness cuts off the first character of each exemplar's
  answer (`answer[11:]`, `answer[6:]`, a place for a space that these answers do not have), so that
  "5 balls" or "$3" loses its number or sign. Here the answer is whole.
- english_cot with shots: the harness puts the language's own reasoning under the English heading,
  and then looks for the English answer phrase, which no shot has. Here a shot's answer is that of
  the English exemplar with the same number, as in the paper (arXiv 2210.03057, table 1, EN-CoT).
- Order: the harness's default sampler draws the exemplars anew for each question; here every
  question has the same ones before it, which is also what a prefix cache needs.
- Russian, native_cot, as a conversation: a turn does not begin with the harness's second space.
"""

from collections.abc import Sequence
from typing import Literal

from objectives.answers import strict_answer
from objectives.datasets import Exemplar, MgsmSource, read_exemplars
from objectives.errors import DataError
from objectives.languages import Language, language
from objectives.numerals import plain
from objectives.types import Message, Prompt

Mode = Literal["native_cot", "english_cot", "direct"]
MODES: tuple[Mode, ...] = ("native_cot", "english_cot", "direct")
_ENDS = ("</s>", "<|im_end|>")


def mgsm_prompt(
    question: str,
    examples: Sequence[Exemplar],
    lang: Language,
    *,
    mode: Mode = "native_cot",
    template: str | None = None,
    chat: bool = False,
) -> Prompt:
    """Write the prompt of one question.

    Args:
        question: the question, without a word before it.
        examples: what is shown first, see `worked_examples`.
        lang: the language, for its words.
        mode: which words stand before an answer.
        template: text with {question} in it that takes the place of all words, in the shots as
            well; an answer follows it after a space, if it does not end in one.
        chat: whether to write turns: each shot one of the user's and one of the assistant's.
    """
    words = lang.mgsm_words
    heading, gap = _before_answer(lang, mode)
    asked = words.question if words.asked is None else words.asked
    shown, last = (f"{word}{{question}}\n{heading}" for word in (words.question, asked))
    if template is not None:
        shown, last, gap = template, template, "" if template[-1:].isspace() else " "
    shots = [(shown.replace("{question}", e.question), e.answer) for e in examples]
    final = last.replace("{question}", question)
    if not chat:
        return "\n\n".join([*(ask + gap + answer for ask, answer in shots), final])
    turns = [
        turn
        for ask, answer in shots
        for turn in (Message("user", ask), Message("assistant", answer))
    ]
    return (*turns, Message("user", final))


def worked_examples(source: MgsmSource, lang: Language, mode: Mode, shots: int) -> list[Exemplar]:
    """Read the first exemplars, each with the answer that the mode wants.

    Raises:
        DataError: the data is missing or malformed, or has fewer exemplars; or, in direct mode, an
            answer has no number after the answer phrase.
        DependencyError: the hub is asked and `datasets` is not installed.
        LanguageError: MGSM has no such language.
    """
    examples = read_exemplars(source, lang, shots)
    if mode == "native_cot":
        return examples
    if mode == "english_cot":
        english = read_exemplars(source, language("en"), shots)
        pairs = zip(examples, english, strict=True)
        return [Exemplar(asked.question, solved.answer) for asked, solved in pairs]
    return [
        Exemplar(example.question, _number_of(number, example, lang))
        for number, example in enumerate(examples, 1)
    ]


def stop_strings(lang: Language, template: str | None) -> tuple[str, ...]:
    """Return where generation ends: where the model goes on to invent the next question.

    A template's question begins with what it has before {question}; where that is nothing, an empty
    line ends the answer.
    """
    if template is None:
        return (lang.mgsm_words.question.strip(), *_ENDS)
    return (template.partition("{question}")[0].strip() or "\n\n", *_ENDS)


def _before_answer(lang: Language, mode: Mode) -> tuple[str, str]:
    """Return the word before an answer, and what is between it and the answer of a shot."""
    if mode == "direct":
        return lang.mgsm_words.direct, ""
    words = (language("en") if mode == "english_cot" else lang).mgsm_words
    return words.answer if words.heading is None else words.heading, words.gap


def _number_of(number: int, example: Exemplar, lang: Language) -> str:
    found = strict_answer(example.answer, lang)
    if found is None:
        raise DataError(
            f"exemplar {number} of {lang.code!r} has no number after its answer phrase "
            f"({' or '.join(lang.mgsm_words.phrases)}): mode direct shows that number. End the "
            "exemplar's answer with both, or set shots to 0"
        )
    return plain(found)
