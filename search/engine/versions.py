"""Whose weights wrote each answer, as vLLM says from 0.32 on.

Owns the label of the weights that are loaded, and the check that an answer bears it. With an older
vLLM nothing is labelled and nothing is checked here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from search.common.errors import EngineDeadError
from search.merging.plan import Plan

CHANGING = "changing"
"""The label while weights are rewritten, and after a rewrite that failed."""


def label(plan: Plan) -> str:
    """The same for the same weights, in every process."""
    parts = "\n".join(f"{name} {plan[name].plain()}" for name in sorted(plan))
    return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


class WeightVersion:
    """The label of an engine's weights."""

    def __init__(self, llm_engine: Any) -> None:
        """Take vLLM's engine."""
        self._set = getattr(llm_engine, "set_weight_version", None)
        self._now = ""

    @property
    def known(self) -> bool:
        """Whether this vLLM labels what it writes."""
        return self._set is not None

    def say(self, version: str) -> None:
        """From now on the weights are these."""
        self._now = version
        if self._set is not None:
            self._set(version)

    def check(self, outputs: Iterable[Any]) -> None:
        """Look whether other weights had a part in an answer.

        Args:
            outputs: vLLM's, finished; those of a beam search bear no label.

        Raises:
            EngineDeadError: they had, or vLLM did not say.
        """
        if self._set is None:
            return
        for output in outputs:
            for answer in getattr(output, "outputs", ()):
                if not answer.token_ids:
                    continue
                spans = answer.weight_versions
                versions = {span.version for span in spans} if spans is not None else {"unknown"}
                if versions != {self._now}:
                    raise EngineDeadError(
                        f"weights {', '.join(sorted(versions))} had a part in an answer, and those "
                        f"that are loaded are {self._now}"
                    )
