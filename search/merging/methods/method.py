"""The contract of a merge method: what each kind of recipe tells the rest of the service.

Owns the types that a module of this folder fills in, as one literal `METHOD`. Knows nothing of any
method. Nothing here is called with a recipe that `faults` refused, `faults` itself excepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from objectives.types import Decoding
from search.merging.blocks import ChunkMerge, Survey, Tensor
from search.merging.methods.common import Experts
from search.merging.mix import Mix


class Recipe(Protocol):
    """What a trial merges: a frozen dataclass of numbers, text and tuples of them.

    Where decoding is searched as well, it is part of the recipe: one merge decoded in two ways is
    two trials.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def decoding(self) -> Decoding | None:
        """How the merged model is decoded, where it differs from the objectives' own way."""


R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Rival:
    """How a method is searched to be compared with layer swapping.

    Attributes:
        axes: its numbers -> the values that are tried, beside the pair of experts.
        recipe: (task experts, language experts, number of layers L, a value for each axis) -> the
            recipe; valid for every L >= 1 and every point of the axes.
        role: of its best recipe in the final table.
        groups: whether several experts on a side share that side's part; else pairs are taken one
            by one.
    """

    axes: Mapping[str, Sequence[float]]
    recipe: Callable[[Experts, Experts, int, Mapping[str, float]], Recipe]
    role: str
    groups: bool = True


@dataclass(frozen=True)
class Mergekit:
    """How mergekit 0.1.5 is told of a method, beside models, layers and weights.

    Attributes:
        parameters: mix -> mergekit's global parameters.
        settings: mix -> what stands beside the weight of each source.
        between: whether it runs from the first source to the second by `t`; else every source but
            the base has a `weight`.
        note: comment lines at the head of the file, each `# ...` and a line end.
    """

    parameters: Callable[[Mix], Mapping[str, Any]]
    settings: Callable[[Mix], Mapping[str, float]] = lambda mix: {}
    between: bool = False
    note: str = ""


Surveys: TypeAlias = Callable[[Mix], Sequence[Callable[[Sequence[Any]], Survey]]]
"""Of a mix, one pass over a tensor after the other: (the sums of the passes before) -> what this
one adds up."""


@dataclass(frozen=True)
class Arithmetic:
    """How tensors become one; for the mixes whose `method` is the kind's name.

    Attributes:
        merge: (mix, the tensor's name in the checkpoint, the sum of each survey) -> what merges one
            chunk; called once for each tensor. torch is imported in it, not before.
        words: mix -> what the model card says of the layers that are made so.
        surveys: mix -> what must be known of the whole tensor first, one pass over it after the
            other: (the sums of the passes before) -> what one pass adds up.
        sampled: the same in less time on a CPU, where the first pass looks at a sample of the
            chunks; `merge` then gets these sums, and raises `MissedError` where the sample has
            misled. None where there is no such way.
        elementwise: whether each element depends on its namesakes alone, so that a part of a tensor
            can be merged; else chunks are begun in memory order.
        mergekit: None where mergekit has no such method; `mergekit_yaml` then raises RecipeError.
    """

    merge: Callable[[Mix, str, Sequence[Tensor]], ChunkMerge]
    words: Callable[[Mix], str]
    surveys: Surveys = lambda mix: ()
    sampled: Surveys | None = None
    elementwise: bool = False
    mergekit: Mergekit | None = None


@dataclass(frozen=True)
class Method(Generic[R]):
    """One kind of recipe.

    Attributes:
        recipe: its frozen dataclass; the fields are its JSON, `decoding` is one of them.
        sources: recipe -> every source that it names, whether or not its weights are used.
        faults: (any recipe of the kind, number of layers L) -> every violated rule with its values;
            raises nothing.
        canonical: (valid recipe, L) -> the plainest recipe of the same model and decoding. One of
            the same kind is final; one of another kind, or an `Average`, is made canonical in its
            turn. Equal models must end as equal recipes.
        mix: (canonical recipe, layer or None for tensors without a layer number, L) -> how such
            tensors are made.
        attention: (canonical recipe, layer, L) -> how the attention of a layer is made
            (`search.merging.plan.is_attention`); None where it is made as the rest of the layer.
        label: (canonical recipe, the recipe as it was written, L) -> the words of its name.
        optional: fields left out of the JSON where they have their default, as does `decoding`.
        arithmetic: None where all its mixes are linear.
        rival: None where it is not searched to be compared.
    """

    recipe: type[R]
    sources: Callable[[R], tuple[str, ...]]
    faults: Callable[[R, int], list[str]]
    canonical: Callable[[R, int], Recipe]
    mix: Callable[[R, int | None, int], Mix]
    label: Callable[[R, Recipe, int], list[str]]
    attention: Callable[[R, int, int], Mix] | None = None
    optional: tuple[str, ...] = ()
    arithmetic: Arithmetic | None = None
    rival: Rival | None = None
