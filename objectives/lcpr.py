"""The Language Confusion Pass Rate on the benchmark's prompts (arXiv 2406.20052).

Owns the objective: which prompts, how they are decoded, what is recorded of each response. The
rules of the metric are in `confusion` and `rates`, the files in `datasets`, worked examples in
`fewshot`. The paper's table of a live evaluation, by source, is `lcb_table.make_table` of its
verdicts.

Any language can be had, also those that the benchmark lacks (te, sw, bn, th, ...): its
cross-lingual prompts are one English text in which only the language's name changes, and
monolingual ones are a CSV of one's own (monolingual/<source>/<lang>.csv).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from objectives.answers import answered
from objectives.confusion import (
    ConfusionJudge,
    EnglishWords,
    check_floor,
    confusion_scores,
    too_little,
)
from objectives.datasets import Setting, read_lcb
from objectives.errors import SettingError
from objectives.fewshot import QA_TEMPLATE, Example, Examples, chat_prompt, text_prompt
from objectives.langid import LanguageIdentifier
from objectives.languages import language
from objectives.sampling import check_sampling, is_random, override
from objectives.settings import (
    Beams,
    FewShots,
    Nucleus,
    Positive,
    Settings,
    Shared,
    StopString,
    Temperature,
)
from objectives.splits import item_seed, split_items
from objectives.target import Target
from objectives.tokens import split_line
from objectives.types import Completion, Decoding, Evaluation, ItemResult, Request, Sampling, Split

LCB_SAMPLING = Sampling(max_tokens=100, temperature=0.3, top_p=0.75)
"""The benchmark's decoding: nucleus 0.75, temperature 0.3, 100 new tokens (section 3.1)."""


class LcprSettings(Settings):
    """Prompts in the Language Confusion Benchmark's files, with its published decoding."""

    target = Target("lcpr", "lcpr", "LCPR", kind="lcpr")
    all_shares = True

    data_dir: Path
    """Folder with `<setting>/<source>/<lang>.csv`, the benchmark's `test_sets` (`--lcb-dir`)."""

    template: str | None = None
    """Text around every prompt, with `{prompt}` where it goes. None: the bare prompt or, where
    `examples` are named and this is no chat, the paper's question and answer words."""

    shots: FewShots = 0
    """Worked examples of the file `examples` before each prompt."""

    examples: Path | None = None
    """File of worked examples, needed for shots. None: there are none."""

    max_tokens: Positive = 100
    """Most new tokens of a response."""

    temperature: Temperature = 0.3
    """Of sampling; 0 is greedy. Each prompt has a seed of its own."""

    top_p: Nucleus = 0.75
    """Nucleus that is sampled from, as a share of the probability."""

    beam_width: Beams = 1
    """Beams of a beam search, which uses neither temperature nor nucleus; 1 is none."""

    stop: tuple[StopString, ...] = ()
    """Strings at which a response ends; none of them is part of it."""

    search_items: Positive = 100
    """Prompts that the search scores each recipe on, in items; in proportion from each source."""

    held_out_items: Positive = 100
    """Prompts that only the final table is scored on, in items."""

    settings: Annotated[tuple[Literal["crosslingual", "monolingual"], ...], Field(min_length=1)] = (
        "crosslingual",
    )
    """Which of the benchmark's settings to ask; every language has the cross-lingual one."""

    words: Path | None = None
    """File of English words, one a line, for the word-level pass rate. None: a rule without a list,
    whose rates must not be compared with published ones."""

    def build(self, shared: Shared) -> LcprObjective:
        """The objective, with its data read."""
        tokens = self.max_tokens + shared.thinking_tokens
        sampling = (tokens, self.temperature, self.top_p, self.stop, self.beam_width)
        return LcprObjective(
            self.data_dir,
            shared.lang,
            search_items=self.search_items,
            held_out_items=self.held_out_items,
            seed=shared.seed,
            sampling=Sampling(*sampling),
            lid=shared.lid,
            words=shared.words,
            coverage_floor=shared.coverage_floor,
            settings=self.settings,
            template=self.template,
            chat=shared.chat,
            shots=self.shots,
            examples=self.examples,
            trace=shared.trace,
            thinking_tokens=shared.thinking_tokens,
        )

    def decoding(self) -> Decoding:
        """Temperature, nucleus, beams and shots, which a search may vary."""
        return Decoding(self.temperature, self.top_p, self.beam_width, self.shots)

    def files(self) -> Mapping[str, Path | None]:
        """The list of English words and the worked examples."""
        return {"words": self.words, "examples": self.examples}


class LcprObjective:
    """LCPR of one language.

    Scores: `lpr`, `wpr` and `lcpr`, averaged over sources as published, and `coverage`, the share
    of responses that could be scored. `wpr` has no value for Latin-script languages, where `lcpr`
    equals `lpr`.

    Attributes:
        name: "lcpr".
        split_hash: 16 hex digits that name the items of both parts, for the records.
    """

    def __init__(
        self,
        data_dir: Path,
        language_code: str,
        *,
        search_items: int,
        held_out_items: int,
        seed: int,
        sampling: Sampling,
        lid: LanguageIdentifier,
        words: Path | None,
        coverage_floor: float,
        settings: tuple[Setting, ...] = ("crosslingual",),
        template: str | None = None,
        chat: bool = False,
        shots: int = 0,
        examples: Path | None = None,
        trace: bool = False,
        thinking_tokens: int = 0,
    ) -> None:
        """Read the prompts and split them.

        Args:
            data_dir: folder with <setting>/<source>/<lang>.csv, see `datasets`.
            language_code: the language to answer in.
            search_items: prompts to search on, at least 1; in proportion from each source.
            held_out_items: prompts to hold out, at least 1.
            seed: seed of the split, of each prompt's sampling and of the bootstrap.
            sampling: how to decode; the published way is `LCB_SAMPLING`. Greedy decoding and beam
                search need no seeds.
            lid: identifies a line's language.
            words: A list of English words, one a line; None for the rule without a list.
            coverage_floor: lowest share of responses that must be scorable, in [0, 1].
            settings: which of the benchmark's settings to ask; every language has the cross-lingual
                one.
            template: text around every prompt, with {prompt} where it goes. None for the bare
                prompt or, where examples are named and this is no chat, the paper's
                `fewshot.QA_TEMPLATE`, with every number of shots alike.
            chat: whether requests are conversations, for models tuned to instructions; else text.
            shots: examples before each prompt, 0 to `fewshot.MAX_SHOTS`; the paper has 0, 1 and 5.
            examples: file of examples, see `fewshot`; needed for shots.
            trace: whether requests ask for `Completion.steps`.
            thinking_tokens: how many of the sampling's tokens a model may think before it responds;
                0 judges responses whole, as published.

        Raises:
            LanguageError: the language is not in the table.
            DataError: files are missing or malformed, there are too few prompts or examples, an
                example is a scored prompt, or the detector does not know the language.
            SettingError: A value is out of range.
            DependencyError: the language's tokeniser is not installed.
        """
        check_floor(coverage_floor)
        if template is not None and template.count("{prompt}") != 1:
            raise SettingError(f"template {template!r} must hold {{prompt}} once")
        self.name = "lcpr"
        self._lang = language(language_code)
        prompts = read_lcb(data_dir, self._lang, settings)
        where = f"{data_dir} ({self._lang.code}, {' and '.join(settings)})"
        self._parts = split_items(prompts, search_items, held_out_items, seed, where)
        self.split_hash = self._parts.hash
        self._judge = ConfusionJudge(
            self._lang, split_line(self._lang, published=True), lid, EnglishWords.read(words)
        )
        lid.check(self._lang.code)
        scored = (item.prompt for item in (*self._parts.search, *self._parts.held_out))
        self._examples = Examples.read(examples, scored)
        self._examples.first(shots)
        if template is None:
            template = "{prompt}" if chat or examples is None else QA_TEMPLATE
        self._template = template
        self._write = chat_prompt if chat else text_prompt
        self._shots = shots
        self._trace = trace
        self._thinking = thinking_tokens
        self._seed = seed
        self._sampling = check_sampling(sampling)
        self._floor = coverage_floor

    def requests(self, split: Split, decoding: Decoding | None = None) -> Sequence[Request]:
        """Return one request per prompt, each with a seed of its own where decoding is random.

        Raises:
            SettingError: A value of `decoding` is out of range; the same for every call.
            DataError: there are fewer examples than `decoding` has shots.
        """
        sampling = override(self._sampling, decoding)
        examples = self._shown(decoding)
        seeded = is_random(sampling)
        return tuple(
            Request(
                self._write(item.prompt, examples, self._template),
                sampling,
                item_seed(self._seed, item.id) if seeded else None,
                self._trace,
            )
            for item in self._parts.of(split)
        )

    def score(
        self,
        split: Split,
        completions: Sequence[Completion],
        decoding: Decoding | None = None,
        *,
        first: int | None = None,
    ) -> Evaluation:
        """Score one completion per request, or of the first so many, in their order.

        Raises:
            ValueError: their number is not the number of requests.
        """
        items = self._parts.of(split)[:first]
        examples = self._shown(decoding)
        said = [self._said(completion) for completion in completions]
        judged = [self._judge.judge(text) for text in said]
        results = tuple(
            ItemResult(
                objective=self.name,
                id=item.id,
                prompt=self._write(item.prompt, examples, self._template),
                completion=completion.text,
                n_tokens=completion.n_tokens,
                finish_reason=completion.finish_reason,
                verdict={
                    **judgement.verdict(self._lang.wpr_applies),
                    "source": item.stratum,
                    "empty": not text.strip(),
                },
                steps=completion.steps,
            )
            for item, completion, text, judgement in zip(
                items, completions, said, judged, strict=True
            )
        )
        outcomes = [judgement.outcome for judgement in judged]
        strata = [item.stratum for item in items]
        scores = confusion_scores(outcomes, strata, self._lang, self._seed)
        return Evaluation(scores, results, too_little(outcomes, strata, self._floor))

    def _said(self, completion: Completion) -> str:
        return answered(completion, self._thinking) if self._thinking else completion.text

    def _shown(self, decoding: Decoding | None) -> tuple[Example, ...]:
        asked = None if decoding is None else decoding.shots
        return self._examples.first(self._shots if asked is None else asked)
