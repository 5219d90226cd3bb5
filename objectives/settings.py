"""What a user may write for an objective, and what all objectives are given besides.

Owns the contract between a configuration and an objective: its settings are a pydantic model whose
fields have docstrings, and build the objective. Which objectives there are is `targets`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from objectives.langid import LanguageIdentifier
from objectives.target import Target
from objectives.types import Decoding, Objective

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]  # vLLM refuses more
Nucleus = Annotated[float, Field(gt=0, le=1)]
Beams = Annotated[int, Field(ge=1, le=64)]
FewShots = Annotated[int, Field(ge=0, le=5)]
StopString = Annotated[str, Field(min_length=1)]  # vLLM refuses an empty one


class Strict(BaseModel):
    """Unknown keys are errors; values do not change after validation.

    The docstring under a field is its description.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Shared:
    """What all objectives of a study are given.

    Attributes:
        lang: language code.
        seed: of splits, sampling and bootstrap.
        lid: identifies languages.
        words: file of English words; None for a rule without a list.
        coverage_floor: lowest share of answers that must be scored, in [0, 1].
        chat: whether prompts are turns, for models with a chat template.
        trace: whether to record how sure the model was of each token.
        thinking_tokens: tokens that a model may think before each answer, on top of the answer's.
    """

    lang: str
    seed: int
    lid: LanguageIdentifier
    words: Path | None
    coverage_floor: float
    chat: bool
    trace: bool
    thinking_tokens: int = 0


class Settings(Strict):
    """An objective's part of the configuration; its docstring describes it to users.

    `target` is the score that a search optimises where this objective is the task; `all_shares`
    says that every score is a share, so that a constraint is one too.
    """

    target: ClassVar[Target]
    all_shares: ClassVar[bool] = False

    def build(self, shared: Shared) -> Objective:
        """The objective, with its data read.

        Raises:
            ObjectiveError: data is missing or malformed, or the language is unknown.
        """
        raise NotImplementedError

    def decoding(self) -> Decoding | None:
        """The objective's own decoding, where a search may vary it; None where it may not."""
        return None

    def files(self) -> Mapping[str, Path | None]:
        """Files that decide scores beside the objective's data: name -> file."""
        return {}
