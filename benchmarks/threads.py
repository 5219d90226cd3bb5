"""From which model size on one engine on all cores is faster than an engine on each core.

    python -m benchmarks.threads

Random weights in Llama's form: the demo's shape, two between, SmolLM2's. For each, tokens a
second of one engine with as many threads as the machine has cores (at most `CORES`), and of as many
engines with one thread each, all at once. Run it on an idle machine: an engine with several threads
stalls beside other busy processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CORES = min(8, len(os.sched_getaffinity(0)))
PROMPTS, TOKENS = 128, 64
FIELDS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("intermediate_size", "vocab_size"),
)
SHAPES = {
    "demo, 1 M": (96, 10, 3, 1, 256, 512),
    "9 M": (256, 8, 4, 2, 768, 4096),
    "27 M": (384, 12, 6, 2, 1024, 16384),
    "SmolLM2, 135 M": (576, 30, 9, 3, 1536, 49152),
    "SmolLM2, 360 M": (960, 32, 15, 5, 2560, 49152),
}
"""Name and rough number of parameters -> `FIELDS`."""

ENGINE = """
import json, sys, time
from vllm import LLM, SamplingParams
folder, prompts, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
llm = LLM(model=folder, skip_tokenizer_init=True, dtype="bfloat16", max_model_len=512,
          enforce_eager=True, enable_prefix_caching=False, enable_chunked_prefill=False)
asked = [{"prompt_token_ids": [(7 * i + j) % 500 for j in range(48)]} for i in range(prompts)]
how = SamplingParams(max_tokens=tokens, ignore_eos=True, detokenize=False, temperature=0)
llm.generate(asked[:8], how, use_tqdm=False)
print("ready", flush=True)
sys.stdin.readline()
begun = time.perf_counter()
llm.generate(asked, how, use_tqdm=False)
print(json.dumps(prompts * tokens / (time.perf_counter() - begun)), flush=True)
"""


def make(folder: Path, shape: tuple[int, ...]) -> None:
    """A checkpoint of this shape with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = dict(zip(FIELDS, shape, strict=True))
    config = LlamaConfig(**sizes, max_position_embeddings=512, tie_word_embeddings=True)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def rate(folder: Path, engines: int, threads: int) -> float:
    """Tokens a second of all these engines together."""
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    command = [sys.executable, "-c", ENGINE, str(folder), str(PROMPTS), str(TOKENS)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen(command, env={**os.environ, **variables}, text=True, **pipes)  # type: ignore[call-overload]
        for _ in range(engines)
    ]
    for process in started:
        while process.stdout.readline().strip() != "ready":
            if process.poll() is not None:
                raise RuntimeError(f"an engine on {folder} did not start")
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [json.loads(process.stdout.readline()) for process in started]
    for process in started:
        process.communicate()
    return float(sum(found))


def main() -> list[str]:
    """A Markdown table: shape, tokens a second in either way."""
    rows = [
        f"| shape, parameters | 1 engine, {CORES} threads | {CORES} engines, 1 thread | |",
        "| --- | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as root:
        for number, (name, shape) in enumerate(SHAPES.items()):
            folder = Path(root) / str(number)
            make(folder, shape)
            together, apart = rate(folder, 1, CORES), rate(folder, CORES, 1)
            rows.append(f"| {name} | {together:.0f} | {apart:.0f} | x {apart / together:.2f} |")
    return rows


if __name__ == "__main__":
    print("\n".join(main()))
