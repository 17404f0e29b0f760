# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of a llama-type GGUF file with a byte-level BPE vocabulary into an ordinary Hugging Face folder.

Weights are dequantised and stored once as bfloat16 safetensors. Nothing here imports torch or transformers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import refusal
from tunesmith.core.optional import import_optional
from tunesmith.models.safetensors_file import write_bfloat16

# Part of the cache key: raise it whenever the written folder changes.
CONVERTER_VERSION = 1

_CONTROL_TOKEN = 3
_MODEL_MAX_LENGTH = int(1e30)

# GGUF name inside a block → name inside a Hugging Face layer.
_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

# How a vocabulary splits text before merging, by the GGUF's `tokenizer.ggml.pre`. SmolLM splits digits one by one;
# transformers' own GGUF route forgets that (5.23), which changes every id of a number.
_PRE_TOKENIZERS = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
}


def convert_gguf(source: Path, folder: Path) -> None:
    """Write config, generation config, tokenizer and weights of a GGUF file into an existing empty folder."""
    gguf = import_optional("gguf", extra="demo", needed_for="Reading a GGUF file")
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _refuse_unsupported(source, fields)
    tensors = {_to_hf_name(tensor.name): tensor for tensor in reader.tensors}
    is_tied = "lm_head.weight" not in tensors
    _write_json(folder / "config.json", _model_config(fields, is_tied=is_tied))
    _write_json(folder / "generation_config.json", _token_ids(fields))
    _write_json(folder / "tokenizer.json", _tokenizer(fields), indent=None)
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(fields))
    shapes = {name: tuple(int(size) for size in reversed(tensors[name].shape)) for name in sorted(tensors)}
    write_bfloat16(folder / "model.safetensors", shapes, _dequantised(gguf, tensors, fields))


def _refuse_unsupported(source: Path, fields: dict[str, Any]) -> None:
    architecture = fields.get("general.architecture")
    tokenizer = (fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre"))
    if architecture == "llama" and tokenizer[0] == "gpt2" and tokenizer[1] in _PRE_TOKENIZERS:
        return
    raise refusal(
        "model.gguf_unsupported",
        f"{source.name} holds a model of type {architecture!r} with the tokenizer {tokenizer[0]}/{tokenizer[1]}, which "
        "this converter does not know.",
        "Use the model's safetensors folder instead.",
        file=str(source),
    )


def _to_hf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _TOP_NAMES:
        return f"{_TOP_NAMES[stem]}.{kind}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_BLOCK_NAMES[part]}.{kind}"


def _dequantised(
    gguf: ModuleType, tensors: dict[str, Any], fields: dict[str, Any]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    num_heads = {
        "q_proj": int(fields["llama.attention.head_count"]),
        "k_proj": int(fields["llama.attention.head_count_kv"]),
    }
    for name in sorted(tensors):
        tensor = tensors[name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        heads = num_heads.get(name.split(".")[-2])
        yield name, values if heads is None else _to_half_rotation(values, heads)


def _to_half_rotation(values: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Undo GGUF's order of rotary pairs (neighbours) for Hugging Face's (first half with second half)."""
    half = values.shape[0] // num_heads // 2
    pairs = values.reshape(num_heads, half, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _shortest_float(value: float) -> float:
    """Read a float32 as its author wrote it: 9.99999974e-06 is 1e-05."""
    return float(str(np.float32(value)))


def _token_ids(fields: dict[str, Any]) -> dict[str, int]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {key: int(fields[f"tokenizer.ggml.{name}_token_id"]) for key, name in names.items()}


def _model_config(fields: dict[str, Any], *, is_tied: bool) -> dict[str, Any]:
    width, heads = int(fields["llama.embedding_length"]), int(fields["llama.attention.head_count"])
    theta = _shortest_float(fields["llama.rope.freq_base"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        **_token_ids(fields),
        "dtype": "bfloat16",
        "head_dim": int(fields.get("llama.rope.dimension_count", width // heads)),
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "max_position_embeddings": int(fields["llama.context_length"]),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_key_value_heads": int(fields["llama.attention.head_count_kv"]),
        "rms_norm_eps": _shortest_float(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "rope_theta": theta,
        "tie_word_embeddings": is_tied,
        "use_cache": True,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _tokenizer(fields: dict[str, Any]) -> dict[str, Any]:
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": tokens[i], **flags} for i, kind in enumerate(types) if kind == _CONTROL_TOKEN]
    text_a, text_b = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text_a],
            "pair": [text_a, text_b],
            "special_tokens": {},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }


def _tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    named = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
    return {
        **{key: tokens[int(fields[f"tokenizer.ggml.{name}_token_id"])] for key, name in named.items()},
        "clean_up_tokenization_spaces": False,
        "model_max_length": _MODEL_MAX_LENGTH,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": fields["tokenizer.chat_template"],
    }


def _write_json(path: Path, value: dict[str, Any], *, indent: int | None = 2) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")
