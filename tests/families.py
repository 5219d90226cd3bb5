"""Tiny random families made with transformers: real Hugging Face folders, small for a test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from search.checkpoints.family import Family

if TYPE_CHECKING:  # seconds of imports: loaded when a family is made
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SIZES = dict(
    vocab_size=258,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=1024,
    bos_token_id=0,
    eos_token_id=1,
)
# 64 / 2 heads: 32, the smallest that vLLM's CPU attention has. A window shorter than a prompt.
_GEMMA = dict(head_dim=32, query_pre_attn_scalar=32, sliding_window=128)
_LINEAR: dict[str, Any] = dict(
    linear_num_value_heads=4,
    linear_num_key_heads=2,
    linear_key_head_dim=128,  # the one that vLLM's CPU kernel has
    linear_value_head_dim=128,
    layer_types=["linear_attention", "full_attention"] * 2,
)
# Embeddings of each layer, keys and values that layers share, heads wider in full attention.
_GEMMA4: dict[str, Any] = dict(
    head_dim=32,
    global_head_dim=64,
    sliding_window=128,
    layer_types=["sliding_attention", "full_attention"] * 2,
    hidden_size_per_layer_input=16,
    num_kv_shared_layers=2,
    use_double_wide_mlp=True,
)
_EXPERTS: dict[str, Any] = dict(
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=32,
    shared_expert_intermediate_size=32,
)
_TEXT: dict[str, Any] = _SIZES | dict(vocab_size=262, head_dim=32, num_hidden_layers=4)
_VISION: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=56,
    patch_size=14,
)
_QWEN35: dict[str, Any] = dict(
    vision_config=dict(
        depth=2,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        patch_size=14,
        out_hidden_size=64,
        num_position_embeddings=16,
    ),
    image_token_id=258,
    video_token_id=259,
    vision_start_token_id=260,
    vision_end_token_id=261,
)
_MAMBA = dict(mamba_d_head=32, mamba_n_groups=1, mamba_d_state=16)
_GRANITE: dict[str, Any] = _MAMBA | dict(
    shared_intermediate_size=64,
    layer_types=["mamba", "attention"] * 2,
    mamba_n_heads=4,
    position_embedding_type="rope",
)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": dict(tie_word_embeddings=False),
    "mistral": dict(sliding_window=128),
    "qwen2": dict(tie_word_embeddings=True),  # biases on q, k and v
    "qwen3": dict(tie_word_embeddings=True, head_dim=32),  # norms on q and k
    # Norms before and after each block, tied and scaled embeddings; Gemma 3: norms on q and k.
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA | dict(layer_types=["sliding_attention", "full_attention"] * 2),
    "phi3": dict(pad_token_id=1),  # qkv_proj and gate_up_proj are fused in the checkpoint
    "olmo2": {},  # norms after the blocks, on q and k as a whole
    "mixtral": dict(num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": dict(head_dim=32, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    # Names such as gpt_neox.layers.0.attention.query_key_value.weight; LayerNorm with biases.
    "gpt_neox": dict(num_key_value_heads=2),
    # Names such as transformer.h.0.self_attention.query_key_value.weight; multi-query, tied.
    "falcon": dict(intermediate_size=256),
    # Hybrids: every other layer has linear attention or a state space; Falcon-H1 has both in each.
    "qwen3_next": _LINEAR | _EXPERTS | dict(head_dim=32),
    "qwen3_5_text": _LINEAR | dict(head_dim=32),
    "qwen3_5_moe_text": _LINEAR | _EXPERTS | dict(head_dim=32),
    "gemma4_text": _GEMMA4 | dict(vocab_size_per_layer_input=258),
    "gemma4_text with experts": _GEMMA4
    | dict(
        hidden_size_per_layer_input=0,
        num_kv_shared_layers=0,
        attention_k_eq_v=True,
        num_global_key_value_heads=1,
        enable_moe_block=True,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=32,
        vocab_size_per_layer_input=258,
    ),
    "falcon_h1": _MAMBA | dict(mamba_d_ssm=64, mamba_n_heads=2),
    "granitemoehybrid": _GRANITE | dict(num_local_experts=0),
    "granitemoehybrid with experts": _GRANITE | dict(num_local_experts=4, num_experts_per_tok=2),
}
"""`model_type` of transformers, perhaps with more words -> what it needs besides the sizes."""

MULTIMODAL: dict[str, dict[str, Any]] = {
    "gemma3": dict(
        text_config=_TEXT | _GEMMA | dict(layer_types=["sliding_attention", "full_attention"] * 2),
        vision_config=_VISION,
        mm_tokens_per_image=4,
        boi_token_index=258,
        eoi_token_index=259,
        image_token_index=260,
    ),
    "gemma4": dict(
        text_config=_TEXT | _GEMMA4 | dict(vocab_size_per_layer_input=262),
        vision_config=_VISION
        | dict(num_key_value_heads=2, head_dim=16, position_embedding_size=64),
        audio_config=dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            subsampling_conv_channels=[8, 4],
            output_proj_dims=32,
            use_clipped_linears=False,
        ),
        boi_token_id=257,
        eoi_token_id=258,
        image_token_id=259,
        video_token_id=259,
        audio_token_id=260,
        boa_token_id=261,
        eoa_token_id=261,
    ),
    "qwen3_5": _QWEN35 | dict(text_config=_TEXT | _LINEAR),
    "qwen3_5_moe": _QWEN35 | dict(text_config=_TEXT | _LINEAR | _EXPERTS),
    "mistral3": dict(
        text_config=_TEXT | dict(model_type="mistral", tie_word_embeddings=False),
        vision_config=_VISION | dict(model_type="pixtral", head_dim=16),
        image_token_index=260,
        spatial_merge_size=1,
        tie_word_embeddings=False,
    ),
}
"""The same of models with a vision tower and a text decoder."""
ARCHITECTURES |= MULTIMODAL


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte: what both Llama's and Qwen2's tokenizer classes can load."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *alphabet])}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def _model(architecture: str, n_layers: int) -> PreTrainedModel:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText

    if architecture in MULTIMODAL:
        config = CONFIG_MAPPING[architecture](**MULTIMODAL[architecture])
        config.text_config.num_hidden_layers = n_layers
        whole: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=torch.float32
        )
        return whole
    entries = _SIZES | ARCHITECTURES[architecture] | dict(num_hidden_layers=n_layers)
    config = CONFIG_MAPPING[architecture.split()[0]](**entries)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model


def save(model: PreTrainedModel, folder: Path) -> Path:
    """Write the model and the tokenizer as a Hugging Face folder."""
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def overflow(source: Path, folder: Path) -> Path:
    """A copy of a checkpoint with weights so large that every merge with it gives NaN logits."""
    shutil.copytree(source, folder)
    tensors = load_file(source / "model.safetensors")
    save_file({k: v * 1e15 for k, v in tensors.items()}, folder / "model.safetensors")
    return folder


def apart(source: Path, folder: Path, *, token: str = "<|tool|>", rows: int = 16) -> Path:
    """A copy of an untied expert as trainers save them: float32, padded, with a token of its own.

    The token stands in the first row that the tokenizer leaves free, and is never answered.
    """
    shutil.copytree(source, folder)
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = data["model"]["vocab"]
    row = max([len(vocab) - 1, *(t["id"] for t in data["added_tokens"])]) + 1
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    data["added_tokens"].append({"id": row, "content": token, "special": True, **flags})
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    tensors = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    for name, value in (("model.embed_tokens.weight", 3.0), ("lm_head.weight", 2**-7)):
        tensors[name][row] = value
        more = torch.full((rows, tensors[name].shape[1]), 7.0)
        tensors[name] = torch.cat([tensors[name], more])
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"vocab_size": config["vocab_size"] + rows, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def text_alone(source: Path, folder: Path) -> Path:
    """The text decoder of a multimodal checkpoint, as transformers' class of it alone saves it."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    whole = AutoModelForImageTextToText.from_pretrained(source)
    text = AutoModelForCausalLM.from_config(whole.config.text_config, dtype=whole.dtype)
    text.model.load_state_dict(whole.model.language_model.state_dict())
    text.lm_head.load_state_dict(whole.lm_head.state_dict())
    return save(text, folder)


def newer_names(source: Path, folder: Path) -> Path:
    """A copy of a multimodal checkpoint by the names that transformers 4.52 to 4.57 loads it by.

    Gemma 4's and Qwen3.5's have no others.
    """
    shutil.copytree(source, folder)
    renamed = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        inner = name.removeprefix("language_model.")
        if name.startswith(("model.", "lm_head.")):
            renamed[name] = tensor
        elif inner == name:
            renamed[f"model.{name}"] = tensor
        else:
            renamed[inner.replace("model.", "model.language_model.", 1)] = tensor
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def in_one_tensor(source: Path, folder: Path) -> Path:
    """A copy of a mixture whose experts of a layer lie in one tensor, as in published Qwen3.5."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    experts: dict[str, dict[str, list[torch.Tensor]]] = {}
    for name in sorted(name for name in tensors if ".experts." in name):  # fewer than ten of them
        layer, _, rest = name.partition(".experts.")
        experts.setdefault(layer, {}).setdefault(rest.split(".")[1], []).append(tensors.pop(name))
    for layer, parts in experts.items():
        both = zip(parts["gate_proj"], parts["up_proj"], strict=True)
        tensors[f"{layer}.experts.gate_up_proj"] = torch.stack([torch.cat(pair) for pair in both])
        tensors[f"{layer}.experts.down_proj"] = torch.stack(parts["down_proj"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def in_folders(source: Path, folder: Path) -> Path:
    """A copy of a checkpoint whose shards lie in folders below it, as its index says."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {}
    for number in range(2):
        shard = f"part/{number}/model.safetensors"
        (folder / shard).parent.mkdir(parents=True)
        own = dict(list(tensors.items())[number::2])
        save_file(own, folder / shard, metadata={"format": "pt"})
        where |= dict.fromkeys(own, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def make_family(
    folder: Path,
    architecture: str,
    *,
    n_layers: int = 4,
    task: int = 2,
    lang: int = 2,
    dtype: torch.dtype = torch.bfloat16,
) -> Family:
    """A family whose experts are the base plus noise, large enough to change what is generated.

    Code `xx` has an expert so large that its logits overflow.

    Args:
        folder: where its checkpoints are written.
        architecture: one of `ARCHITECTURES`.
        n_layers: transformer layers of each model.
        task: number of task experts.
        lang: number of Telugu experts.
        dtype: of the checkpoints.
    """
    torch.manual_seed(1)
    base = _model(architecture, n_layers)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.12)
    base = base.to(dtype)
    pristine = {k: v.clone() for k, v in base.state_dict().items()}

    def expert(name: str, seed: int, scale: float = 0.04) -> Path:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, value in base.state_dict().items():
                noise = torch.randn(value.shape, generator=generator) * scale
                value.copy_(pristine[key].float() + noise)
        path = save(base, folder / name)
        base.load_state_dict(pristine)
        return path

    save(base, folder / "base")
    return Family(
        name=f"tiny-{architecture}",
        base=folder / "base",
        task=tuple(expert(f"task-{i}", 10 + i) for i in range(task)),
        language={
            "te": tuple(expert(f"te-{i}", 20 + i) for i in range(lang)),
            "xx": (overflow(folder / "base", folder / "overflow"),),
        },
        references={},
    )
