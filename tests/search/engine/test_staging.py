"""The rings: what is staged, in which order, and when a slot is used anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine.experts import ExpertTensors, Read
from search.engine.link import HostLink
from search.engine.staging import Piece, Sizes, Staging
from search.engine.views import contiguous
from tests.search.engine.checkpoints import checkpoints

N = 4096
SIZES = Sizes(slot=2048, host_slots=3, device_slots=2, block=512)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return checkpoints(tmp_path_factory.mktemp("models"), {"a": (N,)})


def staging(sources: dict[str, Checkpoint], link: HostLink | None = None) -> Staging:
    return Staging(ExpertTensors(sources, torch.device("cpu")), link or HostLink(), 2, SIZES)


def read(source: str, start: int, size: int) -> Read:
    part = contiguous((size,), start)
    return Read(source, "a", part, contiguous((N,)), part)


def test_pieces_are_used_in_their_order(sources: dict[str, Checkpoint]) -> None:
    """Of one source or several, of any size up to a slot."""
    order, asked = list[int](), list[int]()

    def pieces() -> Iterator[Piece]:
        for start in range(0, N, 256):
            wanted = ("base", "task/0") if start % 512 else ("lang/0",)

            def use(
                parts: list[torch.Tensor], at: int = start, wanted: tuple[str, ...] = wanted
            ) -> None:
                order.append(at)
                for part, source in zip(parts, wanted, strict=True):
                    assert torch.equal(part, sources[source].read("a")[at : at + 256])

            asked.append(start)
            yield Piece(tuple(read(source, start, 256) for source in wanted), use)
            ahead = len(asked) - len(order)
            assert ahead <= 4 * SIZES.host_slots  # not all at once

    staging(sources).run(pieces(), sources)
    assert order == asked == list(range(0, N, 256))


def test_a_copy_goes_straight_to_its_place(sources: dict[str, Checkpoint]) -> None:
    out = torch.zeros(N, dtype=torch.bfloat16)

    def never(parts: list[torch.Tensor]) -> None:
        raise AssertionError("it has been copied")

    places = (out[at : at + 512] for at in range(0, N, 512))
    staging(sources).run(
        (Piece((read("base", 512 * i, 512),), never, place) for i, place in enumerate(places)),
        ["base"],
    )
    assert torch.equal(out, sources["base"].read("a"))


class Slow(HostLink):
    """A device that has copied a batch only when somebody waits for it."""

    def __init__(self) -> None:
        self.batches = 0
        self.waited = set[int]()

    def arrived(self) -> Callable[[], None]:
        self.batches += 1
        return partial(self.waited.add, self.batches)


def test_a_slot_is_filled_anew_when_it_has_been_copied_from(
    sources: dict[str, Checkpoint],
) -> None:
    """In the next run as well."""
    link = Slow()
    staged = staging(sources, link)
    for _ in range(2):
        staged.run((Piece((read("base", at, 512),), list) for at in range(0, N, 512)), ["base"])
    assert link.batches == 8
    assert link.waited == {1, 2, 3, 4, 5}  # the last three are in the ring's three slots


def test_a_thread_that_fails_ends_the_run(
    sources: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(experts: ExpertTensors, source: str, name: str) -> torch.Tensor:
        return torch.zeros(3)  # not the header's shape

    monkeypatch.setattr(ExpertTensors, "mapped", fails)
    with pytest.raises(RuntimeError):
        staging(sources).run([Piece((read("base", 0, 512),), list)], ["base"])


@pytest.mark.parametrize(("n", "itemsize"), [(1, 2), (2, 2), (3, 2), (3, 4), (20, 4)])
def test_all_sources_of_a_piece_fit_into_a_slot(n: int, itemsize: int) -> None:
    sizes = Sizes()
    elements = sizes.elements(n, itemsize)
    assert 1 <= elements <= 2**23
    assert n * (elements * itemsize + 256) <= sizes.slot
    assert elements * (12 * n + 24) <= sizes.working
    assert sizes.on_device <= 512 * 2**20
