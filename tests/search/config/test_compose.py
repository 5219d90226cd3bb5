"""Composition, overrides and the errors of what a user writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.common.errors import ConfigError
from search.config.compose import CONF, GROUPS, load, parse

LANG = {"lang": "te"}
DATA = {"objective.mgsm.data_dir": "m", "objective.lcpr.data_dir": "l"}
NEEDS = {"code": {"objective.code.data_dir": "c"}}


@pytest.mark.parametrize("group", GROUPS)
def test_every_shipped_file_loads(group: str) -> None:
    files = sorted((CONF / group).glob("*.yaml"))
    assert files
    for file in files:
        needs = LANG | DATA | NEEDS.get(file.stem, {})
        assert load([f"{group}={file.stem}"], needs).lang == "te"


def test_overrides_and_flags() -> None:
    config = load(["search.trials=7", "space.b=[1,2]", "search=gpu"], LANG | {"search.seed": 3})
    assert (config.search.trials, config.space.b, config.search.seed) == (7, (1, 2), 3)
    assert config.search.gpus_per_engine == 1


PRESET = {"soup": 5, "task_arithmetic": 5, "ties": 5, "slerp": 5}


@pytest.mark.parametrize(
    ("overrides", "baselines"),
    [
        ([], PRESET),
        (["search.baselines={}"], {}),
        (["search.baselines={soup: 1}"], {"soup": 1}),
        (["search.baselines.soup=1"], PRESET | {"soup": 1}),
        (["search.baselines={}", "search.baselines.soup=1"], {"soup": 1}),
        (["search.baselines.soup=1", "search.baselines={ties: 2}"], {"ties": 2}),
    ],
)
def test_a_mapping_takes_the_place_of_the_preset_s(
    overrides: list[str], baselines: dict[str, int]
) -> None:
    assert load(overrides, LANG).search.baselines == baselines


@pytest.mark.parametrize(
    ("key", "first", "more"),
    [
        ("family.language", {"te": ("a",), "sw": ("b",)}, {"te": ("c",)}),
        ("family.references", {"joint": "a"}, {"other": "b"}),
        ("space.decoding", {"temperature": (0.5,), "shots": (0,)}, {"top_p": (0.5,)}),
        (
            "space.w_lang",
            {"low": 0.2, "high": 0.4, "step": 0.1},
            {"low": 0.3, "high": 0.3, "step": 0.2},
        ),
        ("objective.chat_template_kwargs", {"think": False, "words": 3}, {"words": 4}),
        ("search.race", {"looks": (0.5,), "alpha": 0.1}, {"alpha": 0.2}),
        ("search.engine", {"max_num_seqs": 3, "enforce_eager": True}, {"max_num_seqs": 4}),
    ],
)
def test_every_mapping_is_replaced_and_a_single_key_is_not(
    key: str, first: dict[str, object], more: dict[str, object]
) -> None:
    def found(*overrides: str) -> dict[str, object]:
        value: object = load(overrides, LANG)
        for part in key.split("."):
            value = getattr(value, part)
        return value if isinstance(value, dict) else value.model_dump(exclude_unset=True)  # type: ignore[attr-defined]

    given, then = (f"{key}={json.dumps(values)}" for values in (first, more))
    assert found(given) == first
    assert found(given, then) == more
    ((name, value),) = list(more.items())[:1]
    assert found(given, f"{key}.{name}={json.dumps(value)}") == first | {name: value}


def test_demo_paths_do_not_depend_on_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load([], LANG)
    assert Path(config.family.base).is_dir() and config.objective.mgsm.data_dir.is_dir()


def test_a_family_of_ones_own(tmp_path: Path) -> None:
    for name in ("base", "m", "g"):
        (tmp_path / name).mkdir()
    file = tmp_path / "my.yaml"
    file.write_text("name: mine\nbase: base\ntask: [m]\nlanguage: {te: [g]}\nreferences: {j: m}\n")
    config = load([f"family={file}"], LANG)
    assert config.family.base == str(tmp_path / "base")
    assert config.family.language == {"te": (str(tmp_path / "g"),)}
    assert parse(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("overrides", "flags", "message"),
    [
        (["family=nowhere.yaml"], LANG, r"family=nowhere.yaml: no such file; shipped are demo"),
        (["search=tpu"], LANG, r"search=tpu: .*shipped are gpu, laptop"),
        (
            ["search.trails=3"],
            LANG,
            r"trails = 3: unknown key \(did you mean search.trials\?\); allowed are trials",
        ),
        (["search.trials=0"], LANG, r"search.trials = 0: Input should be greater than or equal"),
        (["space.b=[3,1]"], LANG, r"b: lowest 3 is above highest 1"),
        (["trials"], LANG, r"'trials' is not an override: write key=value"),
        (["search.trials=["], LANG, r"an override cannot be applied"),
        ([], {}, r"lang: missing"),
        ([], {"lang": "../x"}, r"lang = '../x': must be the code of"),
        (
            ["objective=mgsm_lcb"],
            LANG,
            r"(?s)2 faults.*objective.mgsm.*--mgsm-dir.*lcpr.data_dir.*--lcb-dir",
        ),
        (["space.decoding.top_p=[0.5,0]"], LANG, r"decoding.top_p.1 = 0: .* greater than 0"),
        (
            ["space.decoding.temperature=[3]"],
            LANG,
            r"temperature.0 = 3: .* equal to 2",
        ),
        (["space.decoding.heat=[1]"], LANG, r"allowed are temperature, top_p, beam_width, shots"),
        (["search.baselines.tie=3"], LANG, r"baselines.tie.* 'task_arithmetic', 'ties'"),
        (["search.trials=0", "search.engines=0"], LANG, r"(?s)2 faults.*trials.*engines"),
    ],
)
def test_bad_input(overrides: list[str], flags: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(overrides, flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: x\nbase: b\ntask: [m]\nlanguage: {te: [g]}\nlangauge: {}\n",
            r"family.langauge = .*unknown key \(did you mean family.language\?\); allowed are ",
        ),
        ("name: x\nbase: b\ntask: [m]\nlanguage: {te: []}\n", r"no expert is listed for te"),
        ("name: ../x\nbase: b\ntask: [m]\nlanguage: {te: [g]}\n", r"family.name = '../x'"),
        ('name: x\nbase: "b\\0"\ntask: [m]\nlanguage: {te: [g]}\n', r"family.base = .*pattern"),
        ("- a\n", r"must hold a mapping"),
        ("name: [\n", r"cannot be read"),
    ],
)
def test_bad_family(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load([f"family={file}"], LANG)


@pytest.mark.parametrize("place", ["s3://key:sec/ret@bucket/te", "https://hf_abc@host/te"])
def test_an_address_with_a_password_is_refused_and_not_shown(place: str) -> None:
    with pytest.raises(ConfigError, match="leave name and password out of the address") as caught:
        load([f"family.base={place}"], {"lang": "te"})
    assert "ret@" not in str(caught.value) and "hf_abc" not in str(caught.value)


@pytest.mark.parametrize("place", ["s3://bucket/a@b", "org/name@rev", "https://host:80/x@main"])
def test_an_address_may_hold_an_at(place: str) -> None:
    assert load([f"family.base={place}"], {"lang": "te"}).family.base == place
