"""MGSM, Multilingual Grade School Math (arXiv 2210.03057), in one language.

Owns the objective and what is recorded of each answer. The prompts, and how they differ from
lm-evaluation-harness's, are in `mgsm_prompts`; where the answer is found in a completion is in
`answers`, the files are in `datasets`, the language of the reasoning in `confusion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from objectives.answers import (
    answered,
    direct_answer,
    flexible_answer,
    strict_answer,
    the_answer,
)
from objectives.confusion import (
    ConfusionJudge,
    EnglishWords,
    Judgement,
    check_floor,
    confusion_scores,
    normalise,
    too_little,
)
from objectives.datasets import MgsmItem, MgsmSource, read_mgsm
from objectives.errors import DataError, SettingError
from objectives.langid import LanguageIdentifier
from objectives.languages import Language, language
from objectives.mgsm_prompts import MODES, Mode, mgsm_prompt, stop_strings, worked_examples
from objectives.numerals import plain
from objectives.settings import Positive, Settings, Shared, StopString
from objectives.splits import split_apart, split_items
from objectives.stats import proportion
from objectives.target import Target
from objectives.tokens import split_line
from objectives.types import (
    Completion,
    Decoding,
    Evaluation,
    ItemResult,
    Request,
    Sampling,
    Score,
    Split,
)

Extraction = Literal["strict", "flexible"]


@dataclass(frozen=True)
class _Answer:
    """What was found about one completion."""

    strict: Decimal | None
    flexible: Decimal | None
    target: Decimal
    in_language: bool
    label: str | None
    empty: bool
    truncated: bool
    reasoning: Judgement

    def right(self, extraction: Extraction) -> bool:
        return self.extracted(extraction) == self.target

    def extracted(self, extraction: Extraction) -> Decimal | None:
        return self.strict if extraction == "strict" else self.flexible


class MgsmSettings(Settings):
    """Math problems in MGSM's files (`data_dir`) or of the Hugging Face hub (`dataset`).

    One of the two is to be named.
    """

    target = Target("accuracy", "mgsm", "accuracy", item="correct")
    all_shares = True

    data_dir: Path | None = None
    """Folder with `mgsm_<lang>.tsv` and, if there are shots, the exemplars (`--mgsm-dir`). None
    where `dataset` is named."""

    dataset: str | None = None
    """A data set of the hub in place of the folder, such as `juletxara/mgsm`. None where `data_dir`
    is named."""

    search_data: Path | None = None
    """Folder with a `mgsm_<lang>.tsv` of other problems, translated training problems for example,
    that the search scores recipes on; those of `data_dir` or `dataset` are then all to be held out.
    None: one set is split in two."""

    mode: Literal["native_cot", "english_cot", "direct"] = "native_cot"
    """What stands before an answer: chain of thought in the language or in English, or the bare
    number."""

    shots: Annotated[int, Field(ge=0, le=8)] = 8
    """Worked examples before each question."""

    template: str | None = None
    """Text around every question, with `{question}` where it goes. None: the language's own
    question and answer words."""

    max_tokens: Positive = 512
    """Most new tokens of an answer."""

    stop: tuple[StopString, ...] | None = None
    """Strings at which an answer ends; none of them is part of it. None: at the next question."""

    search_items: Positive = 150
    """Questions that the search scores each recipe on, in items."""

    held_out_items: Positive = 100
    """Questions that only the final table is scored on, in items."""

    extraction: Literal["strict", "flexible"] = "strict"
    """Which number of an answer counts: the last after the answer phrase of the language (strict),
    or the last whatever language it is in (flexible). Both are recorded."""

    shuffle: bool = True
    """Draw the split by `objective.seed`. Without, the first items of the file are searched on and
    those after them held out."""

    @model_validator(mode="after")
    def _source(self) -> MgsmSettings:
        if (self.data_dir is None) == (self.dataset is None):
            raise ValueError(
                "name one of the two: the folder of MGSM's files with --mgsm-dir (data_dir), or a "
                "data set of the hub (dataset)"
            )
        return self

    def build(self, shared: Shared) -> MgsmObjective:
        """The objective, with its data read."""
        return MgsmObjective(
            self.data_dir,
            shared.lang,
            dataset=self.dataset,
            search_data=self.search_data,
            mode=self.mode,
            chat=shared.chat,
            shots=self.shots,
            template=self.template,
            max_tokens=self.max_tokens,
            stop=self.stop,
            thinking_tokens=shared.thinking_tokens,
            search_items=self.search_items,
            held_out_items=self.held_out_items,
            seed=shared.seed,
            extraction=self.extraction,
            lid=shared.lid,
            coverage_floor=shared.coverage_floor,
            words=shared.words,
            shuffle=self.shuffle,
        )


def greedy_sampling(
    lang: Language,
    max_tokens: int,
    stop: tuple[str, ...] | None,
    template: str | None,
    thinking_tokens: int,
) -> Sampling:
    """How answers are decoded: greedily, up to the next question.

    A model that thinks may well write the question's word while it does: without strings of the
    user's it ends by itself.

    Args:
        lang: the language, for its words.
        max_tokens: most new tokens of an answer.
        stop: the user's own strings; None for the next question.
        template: text around every question; None for the published words.
        thinking_tokens: most tokens before an answer.
    """
    if stop is None:
        stop = () if thinking_tokens else stop_strings(lang, template)
    return Sampling(max_tokens=max_tokens + thinking_tokens, stop=stop)


class MgsmObjective:
    """MGSM in one language, decoded greedily, as published.

    Scores, over all items unless said otherwise: `accuracy` (by the configured extraction),
    `accuracy_strict`, `accuracy_flexible`; `in_language`, where the whole answer is identified as
    the language asked in, and `right_and_in_language`; `mgsm_lpr`, `mgsm_wpr`, `mgsm_lcpr`, the
    language confusion of the reasoning, over answers that can be scored, and `mgsm_coverage`, their
    share (a line without a letter, such as a sum, is in no language and left out); `empty` and
    `truncated` answers.

    The strict extraction follows the mode: the language's answer phrase in native_cot, the English
    one in english_cot, a line with one number and no other in direct. A bare number is in no
    language, so direct has no `in_language`, `right_and_in_language` nor floor of coverage.

    Attributes:
        name: "mgsm".
        split_hash: 16 hex digits that name the items of both parts, for the records.
    """

    def __init__(
        self,
        data_dir: Path | None,
        language_code: str,
        *,
        shots: int,
        template: str | None,
        max_tokens: int,
        stop: tuple[str, ...] | None,
        search_items: int,
        held_out_items: int,
        seed: int,
        lid: LanguageIdentifier,
        coverage_floor: float,
        extraction: Extraction = "strict",
        words: Path | None = None,
        shuffle: bool = True,
        dataset: str | None = None,
        search_data: Path | None = None,
        mode: Mode = "native_cot",
        chat: bool = False,
        thinking_tokens: int = 0,
    ) -> None:
        """Read the questions and split them.

        Args:
            data_dir: folder with mgsm_<lang>.tsv, and exemplars if there are shots; or None.
            language_code: one of MGSM's languages.
            shots: worked examples in the prompt, 0 to as many as there are (8).
            template: text around every question, see `mgsm_prompt`; None for the published words.
            max_tokens: most new tokens of an answer.
            stop: strings at which generation ends; None for the next question.
            search_items: questions to search on, at least 1.
            held_out_items: questions to hold out, at least 1.
            seed: seed of the split and of the bootstrap.
            lid: identifies the language of the reasoning.
            coverage_floor: lowest share of answers whose reasoning can be scored, in [0, 1].
            extraction: which extraction `accuracy` goes by, see `answers`.
            words: A list of English words for `mgsm_wpr`, see `confusion`.
            shuffle: whether the split is drawn; without, it follows the order of the data.
            dataset: A data set of the Hugging Face hub in place of the folder, see `MgsmSource`.
            search_data: folder with a mgsm_<lang>.tsv of its own to search on; None: the questions
                are split.
            mode: what stands before an answer, see `mgsm_prompts`.
            chat: whether prompts are turns, for models with a chat template.
            thinking_tokens: most tokens that a model may think before an answer, on top of
                `max_tokens`.

        Raises:
            LanguageError: MGSM has no such language.
            DataError: data is missing or malformed, or there are too few questions or exemplars.
            SettingError: A value is out of range.
            DependencyError: A data set is named and `datasets` is not installed.
        """
        check_floor(coverage_floor)
        if template is not None and template.count("{question}") != 1:
            raise SettingError(f"template {template!r} must hold {{question}} once")
        for name, number, least in (("shots", shots, 0), ("max_tokens", max_tokens, 1)):
            if number < least:
                raise SettingError(f"{name} is {number}: at least {least} is needed")
        if mode not in MODES:
            raise SettingError(f"mode is {mode!r}: it is one of {', '.join(MODES)}")
        self.name = "mgsm"
        self._lang = language(language_code)
        source = MgsmSource(data_dir, dataset)
        items, where = read_mgsm(source, self._lang)
        self._examples = worked_examples(source, self._lang, mode, shots)
        order = seed if shuffle else None
        if search_data is None:
            self._parts = split_items(items, search_items, held_out_items, order, where)
        else:
            own, place = read_mgsm(MgsmSource(search_data, None), self._lang)
            both = {item.question for item in own} & {item.question for item in items}
            if both:
                raise DataError(
                    f"{place} and {where} have {len(both)} questions in common, such as "
                    f"{sorted(both)[0]!r}: what is searched on cannot be held out, leave them out "
                    "of one"
                )
            numbers = search_items, held_out_items
            self._parts = split_apart(own, items, *numbers, order, (place, where))
        self.split_hash = self._parts.hash
        self._sampling = greedy_sampling(self._lang, max_tokens, stop, template, thinking_tokens)
        self._thinking = thinking_tokens
        self._template = template
        self._mode: Mode = mode
        self._chat = chat
        self._answer_lang = language("en") if mode == "english_cot" else self._lang
        self._extraction: Extraction = extraction
        self._lid = lid
        lid.check(self._lang.code)
        # no published number stands on MGSM's reasoning, so no tokeniser has to be installed for it
        self._judge = ConfusionJudge(
            self._lang,
            split_line(self._lang, published=False),
            lid,
            EnglishWords.read(words),
            skip_sums=True,
        )
        self._floor = coverage_floor
        self._seed = seed

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """Return one greedy request per question; `decoding` is for other objectives."""
        return tuple(self._request(item) for item in self._parts.of(split))

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Score one completion per request, or of the first so many, whatever `decoding` is.

        Raises:
            ValueError: their number is not the number of requests.
        """
        items = self._parts.of(split)[:first]
        pairs = list(zip(items, completions, strict=True))
        answers = [self._answer(item, completion) for item, completion in pairs]
        results = tuple(
            ItemResult(
                objective=self.name,
                id=item.id,
                prompt=self._request(item).prompt,
                completion=completion.text,
                n_tokens=completion.n_tokens,
                finish_reason=completion.finish_reason,
                verdict=self._verdict(answer),
            )
            for (item, completion), answer in zip(pairs, answers, strict=True)
        )
        outcomes = [answer.reasoning.outcome for answer in answers]
        strata = [item.stratum for item in items]
        confusion = confusion_scores(outcomes, strata, self._lang, self._seed)
        scores = self._shares(answers) | {f"mgsm_{name}": s for name, s in confusion.items()}
        too_few = None if self._mode == "direct" else too_little(outcomes, strata, self._floor)
        return Evaluation(scores, results, too_few)

    def _request(self, item: MgsmItem) -> Request:
        prompt = mgsm_prompt(
            item.question,
            self._examples,
            self._lang,
            mode=self._mode,
            template=self._template,
            chat=self._chat,
        )
        return Request(prompt, self._sampling)

    def _answer(self, item: MgsmItem, completion: Completion) -> _Answer:
        answer = the_answer(answered(completion, self._thinking), self._lang)
        strict = direct_answer if self._mode == "direct" else strict_answer
        empty = not answer.strip()
        label = None
        if not empty and self._mode != "direct":
            (label,) = self._lid.labels([" ".join(normalise(answer).split())])
        return _Answer(
            strict=strict(answer, self._answer_lang),
            flexible=flexible_answer(answer, self._answer_lang),
            target=item.target,
            in_language=label == self._lang.lid_label,
            label=label,
            empty=empty,
            truncated=completion.finish_reason == "length",
            reasoning=self._judge.judge(answer),
        )

    def _verdict(self, answer: _Answer) -> dict[str, bool | int | float | str | None]:
        extracted = answer.extracted(self._extraction)
        return {
            "correct": answer.right(self._extraction),
            "correct_strict": answer.right("strict"),
            "correct_flexible": answer.right("flexible"),
            "extracted": None if extracted is None else plain(extracted),
            "target": plain(answer.target),
            "in_language": None if self._mode == "direct" else answer.in_language,
            "label": answer.label,
            "empty": answer.empty,
            "truncated": answer.truncated,
            **answer.reasoning.verdict(self._lang.wpr_applies),
        }

    def _shares(self, answers: Sequence[_Answer]) -> dict[str, Score]:
        right = [answer.right(self._extraction) for answer in answers]
        both = [ok and answer.in_language for ok, answer in zip(right, answers, strict=True)]
        found = {
            "accuracy": right,
            "accuracy_strict": [answer.right("strict") for answer in answers],
            "accuracy_flexible": [answer.right("flexible") for answer in answers],
            "in_language": [answer.in_language for answer in answers],
            "right_and_in_language": both,
            "empty": [answer.empty for answer in answers],
            "truncated": [answer.truncated for answer in answers],
        }
        n = len(answers)
        shares = {name: proportion(sum(values), n, n) for name, values in found.items()}
        if self._mode == "direct":
            nothing = Score(None, None, None, 0, n)
            shares |= {"in_language": nothing, "right_and_in_language": nothing}
        return shares
