from pathlib import Path

import pytest

from objectives.errors import DataError, LanguageError, SettingError
from objectives.langid import LanguageIdentifier
from objectives.types import Completion, Decoding, Message, Sampling, Step
from tests.objectives.conftest import SHARED, lcpr, needs_shared
from tests.objectives.fasttext_file import write_model

TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"
ENGLISH = "This morning we walked for a long time in the old park"


def test_prompts_by_naming_the_language() -> None:
    objective = lcpr("te")
    prompts = {r.prompt for s in ("search", "held_out") for r in objective.requests(s)}
    assert len(prompts) == 9
    assert "Reply in Telugu. How is bread baked?" in prompts
    assert not any("French" in prompt for prompt in prompts)


def test_own_file_goes_before_another_language() -> None:
    objective = lcpr("sw")
    prompts = {r.prompt for s in ("search", "held_out") for r in objective.requests(s)}
    assert sum(prompt.endswith(" Please.") for prompt in prompts) == 3
    assert "Use Swahili. Describe a lemon." in prompts


def test_french_lends_before_others(tmp_path: Path) -> None:
    source = tmp_path / "crosslingual" / "own"
    source.mkdir(parents=True)
    for code, prompts in {
        "de": ["Write in German about German bread.", "Use German."],
        "fr": ["Write in French about bread.", "Use French."],
    }.items():
        rows = "".join(f"{prompt},own,{code}\n" for prompt in prompts)
        (source / f"{code}.csv").write_text(f"prompt,source,language\n{rows}", encoding="utf-8")
    objective = lcpr("te", tmp_path, search_items=1, held_out_items=1)
    prompts_found = {r.prompt for s in ("search", "held_out") for r in objective.requests(s)}
    assert prompts_found == {"Write in Telugu about bread.", "Use Telugu."}


def test_monolingual_prompts_are_taken_once() -> None:
    objective = lcpr("fr", settings=("monolingual",), search_items=1, held_out_items=1)
    prompts = {r.prompt for s in ("search", "held_out") for r in objective.requests(s)}
    assert prompts == {"Comment fait-on du pain ?", "Pourquoi les oignons font-ils pleurer ?"}


@pytest.mark.parametrize("search_items", [3, 6])
def test_sources_keep_their_share(search_items: int) -> None:
    objective = lcpr("te", search_items=search_items, held_out_items=3)
    for split in ("search", "held_out"):
        empty = [Completion("", 0, "stop")] * len(objective.requests(split))
        sources = [item.verdict["source"] for item in objective.score(split, empty).items]
        assert sources.count("crosslingual/kitchen") == 2 * sources.count("crosslingual/garden")


@pytest.mark.parametrize(
    ("budget", "written", "outcome"),
    [
        (0, f"<think>{ENGLISH}</think>\n{TELUGU}", "LINE_ERROR"),  # whole, as published
        (50, f"<think>{ENGLISH}</think>\n{TELUGU}", "PASS"),
        (50, TELUGU, "PASS"),
        (50, f"<think>{TELUGU}</think>\n{ENGLISH}", "LINE_ERROR"),
        (50, f"<think>{ENGLISH}", "UNSCORED"),
    ],
)
def test_what_a_model_thinks_is_no_response(budget: int, written: str, outcome: str) -> None:
    objective = lcpr(thinking_tokens=budget)
    found = objective.score("search", [Completion(written, 9, "stop")] * 3)
    assert {item.verdict["outcome"] for item in found.items} == {outcome}
    assert {item.completion for item in found.items} == {written}


def test_sampled_requests_have_a_seed_of_their_own() -> None:
    seeds = [r.seed for r in lcpr().requests("held_out")]
    assert len(set(seeds)) == 6 and None not in seeds
    assert seeds == [r.seed for r in lcpr().requests("held_out")]
    assert seeds != [r.seed for r in lcpr(seed=1).requests("held_out")]
    assert {r.seed for r in lcpr(sampling=Sampling(100)).requests("search")} == {None}


def test_template_for_base_models() -> None:
    (request, *_) = lcpr(template="Q: {prompt}\nA:").requests("search")
    assert request.prompt.startswith("Q: ") and request.prompt.endswith("\nA:")


EXAMPLES = "prompt,completion\nName a river.,Ravi\nReply in German. Why?,Darum.\n"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    path = tmp_path / "examples.csv"
    path.write_text(EXAMPLES, encoding="utf-8")
    return path


def test_examples_come_in_the_papers_form(examples: Path) -> None:
    bare = [r.prompt for r in lcpr().requests("search")]
    shown = "Q: Name a river.\nA: Ravi\n\n"
    for shots, head in enumerate(["", shown, f"{shown}Q: Reply in German. Why?\nA: Darum.\n\n"]):
        objective = lcpr(examples=examples, shots=shots)
        expected = [f"{head}Q: {prompt}\nA:" for prompt in bare]
        assert [r.prompt for r in objective.requests("search")] == expected
    own = lcpr(examples=examples, shots=1, template="<{prompt}> ").requests("search")
    assert own[0].prompt == f"<Name a river.> Ravi\n\n<{bare[0]}> "


def test_chat_has_examples_as_turns(examples: Path) -> None:
    (bare, *_) = (r.prompt for r in lcpr().requests("search"))
    user = Message("user", bare)
    assert lcpr(chat=True).requests("search")[0].prompt == (user,)
    (request, *_) = lcpr(chat=True, shots=1, examples=examples).requests("search")
    assert request.prompt == (Message("user", "Name a river."), Message("assistant", "Ravi"), user)
    (request, *_) = lcpr(chat=True, template="{prompt} Briefly.").requests("search")
    assert request.prompt == (Message("user", f"{bare} Briefly."),)


def test_decoding_of_one_call(examples: Path) -> None:
    objective = lcpr(examples=examples, trace=True)
    own = objective.requests("search")
    assert {r.sampling for r in own} == {Sampling(100, 0.3, 0.75)} and all(r.trace for r in own)
    asked = objective.requests("search", Decoding(temperature=0.7, top_p=0.5, shots=1))
    assert {r.sampling for r in asked} == {Sampling(100, 0.7, 0.5)}
    assert [r.seed for r in asked] == [r.seed for r in own]
    assert all(str(r.prompt).startswith("Q: Name a river.\nA: Ravi\n\nQ: ") for r in asked)
    beams = objective.requests("search", Decoding(beam_width=4))
    assert {(r.sampling.beam_width, r.seed) for r in beams} == {(4, None)}
    assert {r.seed for r in objective.requests("search", Decoding(temperature=0.0))} == {None}
    assert objective.requests("search", Decoding()) == own
    completions = [Completion(TELUGU, 30, "length")] * 3
    found = objective.score("search", completions, Decoding(shots=1))
    assert [item.prompt for item in found.items] == [r.prompt for r in asked]


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        (Decoding(temperature=-0.1), "temperature is -0.1: 0 to 2"),
        (Decoding(temperature=2.5), "temperature is 2.5: 0 to 2"),
        (Decoding(temperature=float("nan")), "temperature is nan"),
        (Decoding(top_p=0.0), "top_p is 0.0: above 0, up to 1 are allowed"),
        (Decoding(beam_width=0), "beam_width is 0: 1 is no beam search"),
        (Decoding(shots=6), "shots is 6: 0 to 5 are possible"),
        (Decoding(shots=1), "shots is 1, but no file of examples is named"),
    ],
)
def test_decoding_out_of_range(decoding: Decoding, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        lcpr().requests("search", decoding)


def test_steps_reach_the_records() -> None:
    steps = (Step("హా", 0.5, 3),)
    completions = [Completion(TELUGU, 1, "stop", steps), *[Completion("", 0, "stop")] * 2]
    found = lcpr().score("search", completions)
    assert [item.steps for item in found.items] == [steps, (), ()]


def test_scores_and_records() -> None:
    objective = lcpr("te")
    texts = [TELUGU, f"{TELUGU} walked", ENGLISH]
    found = objective.score("search", [Completion(text, 30, "length") for text in texts])
    assert set(found.scores) == {"lpr", "wpr", "lcpr", "coverage"}
    assert found.scores["coverage"].value == 1.0
    outcomes = [item.verdict["outcome"] for item in found.items]
    assert outcomes == ["PASS", "WORD_ERROR", "LINE_ERROR"]
    assert [item.verdict["word_ok"] for item in found.items] == [True, False, None]
    assert [item.prompt for item in found.items] == [r.prompt for r in objective.requests("search")]
    assert found.infeasible is None


def test_the_first_responses_are_scored_as_among_all() -> None:
    objective = lcpr("te")
    answers = [Completion(text, 30, "length") for text in (TELUGU, ENGLISH, TELUGU)]
    whole, part = (
        objective.score("search", answers),
        objective.score("search", answers[:2], first=2),
    )
    assert part.items == whole.items[:2] and part.scores["lpr"].value == 0.5
    with pytest.raises(ValueError, match="zip"):
        objective.score("search", answers, first=2)


def test_saying_nothing_is_never_perfect() -> None:
    found = lcpr().score("search", [Completion("", 0, "stop")] * 3)
    assert found.scores["lcpr"].value is None
    assert found.infeasible is not None
    assert found.infeasible.startswith("coverage 0.00 is under the floor 0.5 (0 of 3 responses")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"fr\.csv: the file is empty"),
        ("prompt,language\na,fr\n", r"fr\.csv, line 1: no column source"),
        ("prompt,source,language\n", "no prompts"),
        ('prompt,source,language\n"In French\nhi",s,fr\nIn French,s\n', "line 4: a field too few"),
        ("prompt,source,language\nIn French, now,s,fr\n", "line 2: a field too few or too many"),
        ("prompt,source,language\nIn French,s,de\n", "line 2: language 'de' in the file of 'fr'"),
        ("prompt,source,language\nSay hi,s,fr\n", "line 2: names French 0 times, expected once"),
        ('prompt,source,language\n"In French,s,fr\n', "line 2: not CSV"),
    ],
)
def test_bad_data_files(tmp_path: Path, content: str, message: str) -> None:
    source = tmp_path / "crosslingual" / "own"
    source.mkdir(parents=True)
    (source / "fr.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        lcpr("te", tmp_path)


def test_bad_settings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompts for 'te' in monolingual"):
        lcpr(settings=("monolingual",))
    with pytest.raises(DataError, match="no prompts for 'te' in crosslingual"):
        lcpr("te", tmp_path)
    with pytest.raises(DataError, match=r"has 9 items; search_items 3 \+ held_out_items 7 = 10"):
        lcpr(held_out_items=7)
    with pytest.raises(LanguageError, match="unknown language 'tlh'"):
        lcpr("tlh")
    with pytest.raises(SettingError, match=r"must hold \{prompt\} once"):
        lcpr(template="Q:")
    with pytest.raises(SettingError, match="max_tokens is 0: at least 1"):
        lcpr(sampling=Sampling(0))
    with pytest.raises(SettingError, match="shots is 1, but no file of examples"):
        lcpr(shots=1)


def test_detector_must_know_the_language(tmp_path: Path) -> None:
    model = write_model(tmp_path / "own.bin", {"eng_Latn": ["a"]})
    with pytest.raises(DataError, match=r"own\.bin: none of its 1 labels is 'te'"):
        lcpr("te", lid=LanguageIdentifier(model))


def test_own_monolingual_prompts(tmp_path: Path) -> None:
    source = tmp_path / "monolingual" / "own"
    source.mkdir(parents=True)
    rows = "".join(f"ప్రశ్న {i},mine,te\n" for i in range(4))
    (source / "te.csv").write_text(f"prompt,source,language\n{rows}", encoding="utf-8")
    objective = lcpr("te", tmp_path, settings=("monolingual",), search_items=2, held_out_items=2)
    found = objective.score("search", [Completion(TELUGU, 9, "stop")] * 2)
    assert {item.verdict["source"] for item in found.items} == {"monolingual/mine"}
    assert found.scores["wpr"].value == 1.0  # Telugu script: English words are seen


@needs_shared
def test_real_prompts_of_a_language_that_the_benchmark_lacks() -> None:
    objective = lcpr("te", SHARED / "lcb" / "test_sets", search_items=99, held_out_items=200)
    prompts = [r.prompt for s in ("search", "held_out") for r in objective.requests(s)]
    assert len(set(prompts)) == 299
    assert all("Telugu" in prompt for prompt in prompts)
