import pytest

from objectives.datasets import LcbPrompt
from objectives.errors import DataError, SettingError
from objectives.splits import Parts, item_seed, split_apart, split_items

ITEMS = [
    LcbPrompt(f"{source}{i}", source, f"prompt {i}")
    for source, n in (("a", 60), ("b", 30), ("c", 10))
    for i in range(n)
]
SHARE = {"a": 0.6, "b": 0.3, "c": 0.1}


def split(search: int = 50, held_out: int = 50, seed: int | None = 0) -> Parts[LcbPrompt]:
    return split_items(ITEMS, search, held_out, seed, "here")


@pytest.mark.parametrize("size", [20, 30, 40, 50])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_prefix_of_both_parts_keeps_the_shares(size: int, seed: int) -> None:
    for part in (split(seed=seed).search, split(seed=seed).held_out):
        found = {s: sum(item.stratum == s for item in part[:size]) / size for s in SHARE}
        assert found == {s: pytest.approx(share, abs=0.06) for s, share in SHARE.items()}


def test_parts_are_disjoint_and_complete() -> None:
    parts = split()
    assert sorted(item.id for item in parts.search + parts.held_out) == sorted(
        item.id for item in ITEMS
    )
    assert parts.of("search") == parts.search and parts.of("held_out") == parts.held_out


def test_order_is_fixed_by_the_seed_alone() -> None:
    assert split() == split()
    assert split_items(ITEMS[::-1], 50, 50, None, "here") != split(seed=None)
    assert split(seed=1).search != split().search
    ids = [item.id for item in split().search if item.stratum == "a"]
    assert ids != sorted(ids, key=lambda name: int(name[1:]))  # shuffled
    ids = [item.id for item in split(seed=None).search if item.stratum == "a"]
    assert ids == [f"a{i}" for i in range(len(ids))]  # the file's order


def test_more_held_out_items_leave_the_search_items() -> None:
    assert split(held_out=20).search == split().search
    assert split(held_out=20).held_out == split().held_out[:20]


def test_hash_tells_splits_apart() -> None:
    hashes = {p.hash for p in (split(), split(seed=1), split(held_out=20), split(40))}
    assert len(hashes) == 4
    assert split().hash == split().hash and len(split().hash) == 16
    changed = [*ITEMS[:-1], LcbPrompt("c9", "c", "another text")]
    assert split_items(changed, 50, 50, 0, "here").hash != split().hash


def test_refusals() -> None:
    with pytest.raises(SettingError, match="search_items is 0: at least 1"):
        split(search=0)
    with pytest.raises(SettingError, match="held_out_items is 0: at least 1"):
        split(held_out=0)
    with pytest.raises(
        DataError, match=r"here has 100 items; search_items 50 \+ held_out_items 51"
    ):
        split(held_out=51)


def test_item_seeds_are_fixed() -> None:
    assert item_seed(0, "x") == 1843849874  # the first 31 bits of SHA-256 of "0:x"
    assert len({item_seed(seed, name) for seed in range(5) for name in "abc"}) == 15


def test_two_sets_apart() -> None:
    search, held_out = ITEMS[:70], ITEMS[70:]
    found = split_apart(search, held_out, 10, 30, 3, ("a", "b"))
    assert len(found.search) == 10 and set(found.search) <= set(search)
    assert set(found.held_out) == set(held_out)
    assert found.search == split_items(search, 10, 20, 3, "a").search  # the same order
    with pytest.raises(DataError, match="b has 30 items; held_out_items is 31"):
        split_apart(search, held_out, 10, 31, 3, ("a", "b"))
    with pytest.raises(SettingError, match="search_items is 0"):
        split_apart(search, held_out, 0, 20, 3, ("a", "b"))
