"""Fixtures that are made once for the whole test run.

What makes a family needs transformers, seconds of imports: it is loaded when a test asks for one.
"""

from __future__ import annotations

import pytest

from search.checkpoints.family import Family


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Llama family: 2 task and 2 Telugu experts; do not change its files."""
    from tests.families import make_family

    return make_family(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A random 4-layer Qwen2 family (tied embeddings, biases); do not change its files."""
    from tests.families import make_family

    return make_family(tmp_path_factory.mktemp("qwen2"), "qwen2")


@pytest.fixture(scope="session")
def demo_family() -> Family:
    """The shipped family."""
    from search.config import compose

    return Family(**compose.load([], {"lang": "te"}).family.model_dump())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the whole runs last: what fails fast is seen first."""
    items.sort(key=lambda item: "e2e" in item.path.parts)
