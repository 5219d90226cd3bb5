"""Recipe -> plan: for each checkpoint tensor, what it is mixed from and how.

Owns which layer a tensor belongs to. What a kind of recipe makes of a layer is in its module of
`search.merging.methods` (Algorithm 1 in `search.merging.methods.swap`). A pure function of names
and the number of layers: knows nothing of torch, files or engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from search.common.errors import RecipeError
from search.merging.layers import layers_of
from search.merging.methods.method import Recipe
from search.merging.mix import Mix, Plan, Term

__all__ = ["Mix", "Plan", "Rows", "Term", "is_attention", "layer_of", "module_of", "plan"]


class Rows(NamedTuple):
    """Rows of the embeddings and of the head that not all checkpoints of a family know.

    Attributes:
        tensors: the tensors with a row for each token.
        known: row -> the sources whose tokenizer has the same token there.
    """

    tensors: frozenset[str] = frozenset()
    known: Mapping[int, frozenset[str]] = MappingProxyType({})

    def owned(self, sources: Iterable[str]) -> tuple[tuple[int, str], ...]:
        """Rows that one source alone gives to a merge: number of the row, source.

        Of the experts of the merge, the one that alone knows the row's token; where none does and
        the base does, the base. A checkpoint as it is keeps its own.

        Args:
            sources: what is merged.
        """
        whole = set(sources)
        found = []
        for row, knowing in sorted(self.known.items()):
            own = knowing & (whole - {"base"})
            if len(whole) > 1 and (len(own) == 1 or (not own and "base" in knowing)):
                found.append((row, next(iter(own), "base")))
        return tuple(found)


NO_ROWS = Rows()

# The first number between dots: `model.layers.3.mlp...`, `transformer.h.3...`,
# `gpt_neox.layers.3...`; an expert number (`...block_sparse_moe.experts.5...`) comes later in the
# name.
_LAYER = re.compile(r"(?:^|\.)(\d{1,9})\.")

# Modules of the attention whose names do not hold `attn`.
_ATTENTION = {"attention", "self_attention", "input_layernorm", "ln_1"}


def layer_of(name: str) -> int | None:
    """Layer number in a Hugging Face tensor name, None for embeddings, final norm and head."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def module_of(name: str) -> str:
    """The part of its layer that a tensor belongs to, such as `self_attn`; empty outside."""
    found = _LAYER.search(name)
    return name[found.end() :].partition(".")[0] if found else ""


def is_attention(name: str) -> bool:
    """Whether a tensor of a layer belongs to its attention or to the norm in front of it.

    By the module: one whose name holds `attn`, or one of a few others. `post_attention_layernorm`
    stands in front of the MLP in most models, and goes with it in all.
    """
    module = module_of(name)
    return "attn" in module or module in _ATTENTION


def plan(recipe: Recipe, names: Iterable[str], n_layers: int, rows: Rows = NO_ROWS) -> Plan:
    """How every tensor of the merged model is made.

    Args:
        recipe: what to merge.
        names: the checkpoint's tensor names, each once.
        n_layers: the model's number of layers L.
        rows: rows of the embeddings that not all checkpoints know.

    Raises:
        RecipeError: the recipe is not valid for L, or a name has a layer number >= L.
    """
    table, outside, attention = layers_of(recipe, n_layers)
    result: dict[str, Mix] = {}
    for name in names:
        layer = layer_of(name)
        if layer is not None and layer >= n_layers:
            raise RecipeError(f"tensor {name} has layer {layer}, but the model has {n_layers}")
        of = attention if is_attention(name) else table
        result[name] = outside if layer is None else of[layer]
    owned = rows.owned(source for mix in {outside, *table, *attention} for source in mix.merged)
    for name in rows.tensors.intersection(result):
        kept = result[name].merged
        own = tuple(entry for entry in owned if kept != (entry[1],))
        result[name] = result[name]._replace(rows=own)
    return result
