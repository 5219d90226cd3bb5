import pickle
from pathlib import Path

import pytest

from objectives.errors import DataError, LanguageError, ObjectiveError, SettingError
from objectives.mgsm_prompts import MODES
from objectives.types import Completion, Decoding
from tests.objectives.conftest import mgsm

TELUGU = " మీనా వద్ద మొదట 4 ఆపిల్స్ ఉన్నాయి. తర్వాత మరో 3 వచ్చాయి. సమాధానం "
ENGLISH = " She had four apples first and then she picked three more of them. The answer is "


def answer(text: str, reason: str = "stop") -> Completion:
    return Completion(text, 20, reason)


def targets(objective, split="search") -> list[str]:
    empty = [answer("")] * len(objective.requests(split))
    return [str(item.verdict["target"]) for item in objective.score(split, empty).items]


def test_requests_are_greedy_and_stop_at_the_next_question() -> None:
    (request, *_) = mgsm().requests("search")
    assert (request.sampling.temperature, request.seed) == (0.0, None)
    assert request.sampling.stop == ("ప్రశ్న:", "</s>", "<|im_end|>")
    assert isinstance(request.prompt, str)
    assert request.prompt.count("ప్రశ్న:") == 3
    (own,) = {r.sampling.stop for r in mgsm(stop=("#",)).requests("search")}
    assert own == ("#",)


def test_decoding_is_not_for_mgsm() -> None:
    objective = mgsm()
    asked = Decoding(temperature=0.7, top_p=0.5, beam_width=4, shots=1)
    assert objective.requests("search", asked) == objective.requests("search")
    completions = [answer(TELUGU + "7.")] * 4
    assert objective.score("search", completions, asked) == objective.score("search", completions)


def test_chat_asks_in_turns() -> None:
    (request, *_) = mgsm(chat=True).requests("search")
    assert isinstance(request.prompt, tuple)
    assert [turn.role for turn in request.prompt] == ["user", "assistant"] * 2 + ["user"]
    found = mgsm(chat=True).score("search", [answer(TELUGU + "7.")] * 4)
    assert found.items[0].prompt == request.prompt


def test_no_exemplars_file_is_needed_without_shots(tmp_path: Path) -> None:
    (tmp_path / "mgsm_te.tsv").write_text("1 + 1?\t2\n2 + 2?\t4\n", encoding="utf-8")
    objective = mgsm(
        "te", tmp_path, shots=0, template="Q: {question} A:", search_items=1, held_out_items=1
    )
    prompts = {r.prompt for s in ("search", "held_out") for r in objective.requests(s)}
    assert prompts == {"Q: 1 + 1? A:", "Q: 2 + 2? A:"}


def test_all_scores_of_a_mixed_set() -> None:
    objective = mgsm(search_items=5, held_out_items=5)
    t = targets(objective)
    completions = [
        answer(TELUGU + t[0] + "."),  # right, in Telugu
        answer(ENGLISH + t[1] + "."),  # right by the English phrase only, in English
        answer(TELUGU.removesuffix("సమాధానం ") + t[2], "length"),  # right without a phrase, cut off
        answer(TELUGU + "999."),  # wrong, in Telugu
        answer(" \n"),  # empty
    ]
    found = objective.score("search", completions)
    shares = {name: score.value for name, score in found.scores.items()}
    assert shares == {
        "accuracy": 0.2,
        "accuracy_strict": 0.2,
        "accuracy_flexible": 0.6,
        "in_language": 0.6,
        "right_and_in_language": 0.2,
        "empty": 0.2,
        "truncated": 0.2,
        "mgsm_lpr": 0.75,
        "mgsm_wpr": 1.0,
        "mgsm_lcpr": pytest.approx(6 / 7),
        "mgsm_coverage": 0.8,
    }
    assert found.infeasible is None
    assert found.scores["mgsm_lpr"].n_scored == 4
    assert found.scores["mgsm_wpr"].n_scored == 3
    assert all(s.low <= s.value <= s.high and s.n_total == 5 for s in found.scores.values())
    assert [item.verdict["correct"] for item in found.items] == [True, False, False, False, False]
    assert [item.verdict["line_ok"] for item in found.items] == [True, False, True, True, None]
    assert found.items[1].verdict["first_error"] == "en"
    assert found.items[3].verdict["extracted"] == "999"
    flexible = mgsm(search_items=5, held_out_items=5, extraction="flexible")
    assert flexible.score("search", completions).scores["accuracy"].value == 0.6


def test_a_line_of_sums_is_in_no_language() -> None:
    objective = mgsm()
    sums = answer(f"{TELUGU}7.\n2 * 3 = 6, 6 + 5 = 11")
    found = objective.score("search", [sums, answer("4 + 3 = 7, 7 + 0 = 7")] + [answer("")] * 2)
    assert (found.scores["mgsm_lpr"].value, found.scores["mgsm_lpr"].n_scored) == (1.0, 1)


THOUGHT = "4 + 3? The answer is 9. సమాధానం 9.\n"


@pytest.mark.parametrize(
    ("written", "reason", "budget", "right"),
    [
        ("<think>" + THOUGHT + "</think>" + TELUGU + "{}.", "stop", 0, True),
        ("<think>" + THOUGHT + "</think>" + TELUGU + "{}.", "length", 50, True),
        (THOUGHT + "</think>" + TELUGU + "{}.", "stop", 50, True),  # the prompt opens the tag
        (TELUGU + "{}.", "stop", 50, True),  # it did not think
        (TELUGU + "{}.", "length", 50, False),  # cut off while it thought
        (TELUGU + "{}.", "length", 0, True),
        ("<think>" + TELUGU + "{}.", "length", 50, False),
    ],
)
def test_what_a_model_thinks_is_no_answer(
    written: str, reason: str, budget: int, right: bool
) -> None:
    objective = mgsm(thinking_tokens=budget, search_items=1, held_out_items=1)
    (target,) = targets(objective)
    found = objective.score("search", [answer(written.format(target), reason)])
    assert found.scores["accuracy"].value == right
    assert found.items[0].completion == written.format(target)
    assert found.items[0].verdict["in_language"] is right


def test_a_budget_to_think_is_on_top_of_the_answer_s() -> None:
    (request, *_) = mgsm(thinking_tokens=1000).requests("search")
    assert (request.sampling.max_tokens, request.sampling.stop) == (1064, ())
    (request, *_) = mgsm(thinking_tokens=1000, stop=("#",)).requests("search")
    assert request.sampling.stop == ("#",)


MODE_ANSWERS = {  # right by the strict way of one mode, for a target of {}
    "native_cot": "మొదట 4, తర్వాత 3. సమాధానం {}.",
    "english_cot": "First 4, then 3 more. The answer is {}.",
    "direct": " ${}.",
}


@pytest.mark.parametrize("mode", MODES)
def test_the_strict_way_is_the_mode_s(mode: str) -> None:
    objective = mgsm(mode=mode, search_items=3, held_out_items=7)
    written = zip(MODE_ANSWERS.values(), targets(objective), strict=True)
    completions = [answer(text.format(target)) for text, target in written]
    found = objective.score("search", completions)
    assert [item.verdict["correct_strict"] for item in found.items] == [
        name == mode for name in MODE_ANSWERS
    ]
    assert found.scores["accuracy_flexible"].value == 1.0


def test_a_bare_number_is_in_no_language() -> None:
    found = mgsm(mode="direct").score("search", [answer("7")] * 4)
    for name in ("in_language", "right_and_in_language"):
        assert (found.scores[name].value, found.scores[name].n_total) == (None, 4)
    assert {item.verdict["in_language"] for item in found.items} == {None}
    assert found.infeasible is None
    assert found.scores["mgsm_coverage"].value == 0.0


def test_english_reasoning_is_not_in_the_language_asked_in() -> None:
    found = mgsm(mode="english_cot").score("search", [answer(ENGLISH + "7.")] * 4)
    assert found.scores["in_language"].value == 0.0
    assert found.items[0].verdict["extracted"] == "7"


def test_what_follows_the_next_question_does_not_count() -> None:
    text = " సమాధానం 7.\n\nప్రశ్న: 1 + 1?\nదశలవారీగా సమాధానం: సమాధానం 2."
    found = mgsm(extraction="flexible").score("search", [answer(text)] * 4)
    assert {item.verdict["extracted"] for item in found.items} == {"7"}


def test_the_interval_is_wilson_s() -> None:
    objective = mgsm()
    right = [answer(f"సమాధానం {target}.") for target in targets(objective)]
    score = objective.score("search", [*right[:3], answer("")]).scores["accuracy"]
    # Wilson's 95% interval of 3 of 4, from its closed form
    assert (score.low, score.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert (score.value, score.n_scored, score.n_total) == (0.75, 4, 4)


def test_thousands_separator_in_the_target() -> None:
    objective = mgsm("en", search_items=9, held_out_items=1)
    t = targets(objective) + targets(objective, "held_out")
    assert max(t, key=int) == "2125"


def test_saying_nothing_is_infeasible_and_has_no_rate() -> None:
    found = mgsm().score("search", [answer("")] * 4)
    assert found.infeasible == (
        "coverage 0.00 is under the floor 0.5 (0 of 4 responses have a line of at least 5 tokens)"
    )
    assert [found.scores[f"mgsm_{name}"].value for name in ("lpr", "wpr", "lcpr")] == [None] * 3
    assert found.scores["accuracy"].value == 0.0


def test_empty_answers_are_in_no_language() -> None:
    # fastText calls an empty line English
    assert mgsm("en").score("search", [answer(" ")] * 4).scores["in_language"].value == 0.0


def test_latin_script_has_no_wpr() -> None:
    scores = mgsm("en").score("search", [answer(ENGLISH + "7.")] * 4).scores
    assert scores["mgsm_wpr"].value is None
    assert scores["mgsm_lcpr"] == scores["mgsm_lpr"]


def test_splits_are_disjoint_seeded_and_recorded() -> None:
    one, same, other = mgsm(), mgsm(), mgsm(seed=1)
    prompts = [{r.prompt for r in one.requests(split)} for split in ("search", "held_out")]
    assert [len(p) for p in prompts] == [4, 6]
    assert not prompts[0] & prompts[1]
    assert (one.split_hash, one.requests("search")) == (same.split_hash, same.requests("search"))
    assert one.split_hash != other.split_hash


def test_without_shuffling_the_first_rows_are_searched() -> None:
    found = mgsm(shuffle=False)
    ids = {
        split: [item.id for item in found.score(split, [answer("")] * n).items]
        for split, n in (("search", 4), ("held_out", 6))
    }
    numbers = [int(name.rpartition(":")[2]) for name in ids["search"] + ids["held_out"]]
    assert numbers == sorted(numbers) and len(numbers) == 10


def test_wrong_number_of_completions() -> None:
    with pytest.raises(ValueError, match="zip"):
        mgsm().score("search", [answer("7")] * 3)


def test_an_objective_pickles() -> None:
    objective = pickle.loads(pickle.dumps(mgsm()))
    assert objective.score("search", [answer(TELUGU + "7.")] * 4).scores["mgsm_lpr"].value == 1.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"search_items": 0}, SettingError, "search_items is 0: at least 1"),
        ({"held_out_items": -2}, SettingError, "held_out_items is -2: at least 1"),
        ({"held_out_items": 7}, DataError, "has 10 items; .* = 11 are asked for"),
        ({"shots": 3}, DataError, "2 exemplars of 'te', shots 3"),
        ({"shots": -1}, SettingError, "shots is -1"),
        ({"max_tokens": 0}, SettingError, "max_tokens is 0"),
        (
            {"mode": "english"},
            SettingError,
            "mode is 'english': it is one of native_cot, english_cot",
        ),
        ({"data_dir": None}, DataError, "MGSM: no data is named"),
        ({"template": "Q: A:"}, SettingError, r"must hold \{question\} once"),
        ({"coverage_floor": 50}, SettingError, "coverage_floor is 50: it is a share"),
        ({"code": "xx"}, LanguageError, "unknown language 'xx'"),
        ({"code": "ko"}, LanguageError, r"MGSM has no Korean \('ko'\): it has bn de en"),
    ],
)
def test_bad_settings(changes: dict, error: type[ObjectiveError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        mgsm(**changes)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_first_answers_are_scored_as_among_all() -> None:
    objective = mgsm()
    answers = [answer(f"{TELUGU}{target}.") for target in targets(objective)]
    whole, part = (objective.score("search", answers[:n], first=n) for n in (4, 3))
    assert part.items == whole.items[:3] and part.scores["accuracy"].n_total == 3
    assert whole == objective.score("search", answers)
    with pytest.raises(ValueError, match="zip"):
        objective.score("search", answers, first=3)
