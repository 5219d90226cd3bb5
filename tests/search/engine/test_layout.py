"""Where checkpoint tensors end up in a small model, and what is left to vLLM's reload."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from search.engine.layout import Copy, Destination, places
from search.engine.views import ParameterView
from tests.search.engine.modules import SHAPES, Fused, Model, UnquantizedLinearMethod, noise

TENSORS = {name: (shape, torch.bfloat16) for name, shape in SHAPES.items()}
Places = dict[str, tuple[Destination, ...]]


def test_names_of_a_place_are_told_once() -> None:
    view = ParameterView((1,), (1,), 0)
    copies = [Copy(name, view, "weight", view) for name in ("q", "k", "q")]
    assert Destination(nn.Linear(1, 1), copies, {}).names == ("q", "k")


def found(model: nn.Module) -> Places:
    """The places of a model as vLLM notes it when it is built, before weights are packed."""
    from vllm.model_executor.model_loader.reload.layerwise import record_metadata_for_reloading

    record_metadata_for_reloading(model)
    for module in model.modules():
        if isinstance(method := getattr(module, "quant_method", None), UnquantizedLinearMethod):
            method.process_weights_after_loading(module)
    return places(model, TENSORS)


@pytest.mark.slow
class TestPlaces:
    """Each imports vLLM."""

    def test_writing_there_is_loading(self) -> None:
        """Slices of fused parameters, a shard's part, and a tensor that two modules hold."""
        loaded, written = Model(), Model()
        kept = dict(written.named_parameters())
        where = found(written)
        assert where.keys() == TENSORS.keys()
        assert [p.module for p in where["embed"]] == [written.embed, written.head]
        assert where["0.q"] == where["0.k"] and where["0.q"] != where["1.q"]
        tensors = {n: noise(*shape, seed=i) for i, (n, shape) in enumerate(SHAPES.items())}
        loaded.load_weights(tensors.items())
        for destination in {id(p): p for group in where.values() for p in group}.values():
            for copy in destination.copies:
                parameter = destination.module.get_parameter(copy.parameter)
                copy.target.of(parameter.data).copy_(copy.source.of(tensors[copy.name]))
        for name, parameter in loaded.named_parameters():
            assert torch.equal(parameter, written.get_parameter(name)), name
            assert written.get_parameter(name) is kept[name]  # graphs hold on to them

    def test_a_packed_weight(self) -> None:
        """It is known by its shape when it was loaded, and stays empty."""
        model = Model()
        packed = model.layers[0]
        packed.quant_method = UnquantizedLinearMethod()  # type: ignore[assignment]
        where = found(model)
        (place,) = where["0.k"]
        assert place.packed == {"weight": (torch.Size([6, 4]), torch.bfloat16)}
        assert packed.weight.numel() == 0  # type: ignore[operator, union-attr]
        assert where["1.k"][0].packed == {}

    def test_a_model_that_derives_something_is_left_to_the_reload(self) -> None:
        class Attention(nn.Module):
            def process_weights_after_loading(self) -> None:
                """Of vLLM's plain attention nothing depends on weights."""

        class LatentAttention(Attention):
            """As DeepSeek's."""

        model = Model()
        model.more = Attention()
        assert found(model).keys() == TENSORS.keys()
        model.more = LatentAttention()
        assert found(model) == {}

    def test_a_loader_that_fails_is_left_to_the_reload(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Newer(Model):
            def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
                raise RuntimeError("another version of vLLM")

        model = Newer()
        kept = dict(model.named_parameters())
        with caplog.at_level(logging.WARNING):
            assert found(model) == {}
        assert "vLLM's reload only: RuntimeError('another version" in caplog.text
        assert all(model.get_parameter(name) is kept[name] for name in kept)

    @pytest.mark.parametrize("spoil", ["quantised", "changed", "spread", "repacked"])
    def test_what_is_not_plain_is_left_out_with_its_module(self, spoil: str) -> None:
        """One tensor of a fused parameter drags the other along, and no other module's."""
        where = found(SPOILED[spoil]())
        assert where.keys() == TENSORS.keys() - {"0.q", "0.k"}

    def test_what_is_no_parameter_is_left_out_alone(self) -> None:
        """As where a loader keeps a scale in a buffer: the parameter beside it is plain."""
        assert found(_replaced(_elsewhere)).keys() == TENSORS.keys() - {"0.k"}

    def test_a_tensor_is_written_in_one_way(self) -> None:
        """The head is no place to write, so neither is the embedding that shares its tensor."""
        model = Model()
        model.head.quant_method = object()  # type: ignore[assignment]
        assert found(model).keys() == TENSORS.keys() - {"embed"}


def _quantised() -> Model:
    model = Model()
    model.layers[0].quant_method = object()  # type: ignore[assignment]
    return model


def _replaced(load: Callable[[Fused, str, torch.Tensor], None]) -> Model:
    class Other(Fused):
        def load(self, part: str, tensor: torch.Tensor) -> None:
            load(self, part, tensor)

    model = Model()
    model.layers[0] = Other()
    return model


def _changed(layer: Fused, part: str, tensor: torch.Tensor) -> None:
    """As where a loader adds 1 to a norm's weight."""
    Fused.load(layer, part, tensor + 1 if part == "k" else tensor)


def _elsewhere(layer: Fused, part: str, tensor: torch.Tensor) -> None:
    """Of the parameter, the second part stays as it is."""
    target = torch.empty_like(layer.weight[:4]) if part == "k" else layer.weight.data[:4]
    target.copy_(tensor)


def _spread(layer: Fused, part: str, tensor: torch.Tensor) -> None:
    """A row for all."""
    layer.weight.data[:4].copy_(tensor[0] if part == "k" else tensor)


def _repacked() -> Model:
    """Its shape is another once it is loaded, in a way that is not known."""

    class Transposing(UnquantizedLinearMethod):
        def process_weights_after_loading(self, layer: nn.Module) -> None:
            assert isinstance(layer.weight, nn.Parameter)
            layer.weight = nn.Parameter(layer.weight.data.T.contiguous(), requires_grad=False)

    Transposing.__name__ = UnquantizedLinearMethod.__name__
    model = Model()
    model.layers[0].quant_method = Transposing()  # type: ignore[assignment]
    return model


SPOILED: dict[str, Callable[[], Model]] = {
    "quantised": _quantised,
    "changed": lambda: _replaced(_changed),
    "spread": lambda: _replaced(_spread),
    "repacked": _repacked,
}
