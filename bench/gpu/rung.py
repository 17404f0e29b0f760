# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One rung of the ladder in one process: a LoRA step on random weights, timed; prints one line of JSON.

    python rung.py --shape qwen3-0.6b --rung scorer [--rows 16] [--cutoff 2048] [--steps 10] [--warmup 3]

`plain` is the step as transformers' Trainer and TRL do it: padded rows, logits of all positions, PEFT's LoRA. Each
further rung keeps what the ones before it added.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from peft import LoraConfig, get_peft_model
from shapes import NAMES, build_config, stated_peak
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from tunesmith.core.types import Batch, RowRef, TokenRow
from tunesmith.data.collate import collate
from tunesmith.models.attention.backends import Surroundings, choose_backend
from tunesmith.models.compiled import compile_layers
from tunesmith.models.head import language_head
from tunesmith.models.lora_fast import use_fast_lora
from tunesmith.models.scores import hidden_states, score_batch

RUNGS = ("plain", "plain_checkpointed", "forest", "scorer", "compile", "checkpointing", "fused_lora", "fused_lora_only")
# What each rung has: those of ours build on each other, except that checkpointing can be left out again.
_PARTS: dict[str, frozenset[str]] = {
    "plain": frozenset(),
    "plain_checkpointed": frozenset({"checkpointing"}),
    "forest": frozenset({"forest"}),
    "scorer": frozenset({"forest", "scorer"}),
    "compile": frozenset({"forest", "scorer", "compile"}),
    "checkpointing": frozenset({"forest", "scorer", "compile", "checkpointing"}),
    "fused_lora": frozenset({"forest", "scorer", "compile", "checkpointing", "fused_lora"}),
    "fused_lora_only": frozenset({"forest", "scorer", "compile", "fused_lora"}),
}
RANK, ALPHA = 8, 16
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    """Time the steps of one rung."""
    chosen = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    parts = _PARTS[chosen.rung]
    model, attention = build(chosen.shape, parts, device)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4, fused=True)
    batches = make_batches(chosen, layout="packed" if "forest" in parts else "padded", device=device)
    began = time.perf_counter()
    for batch in batches[: chosen.warmup]:
        step(model, optimizer, batch, scores="scorer" in parts)
    _wait(device)
    warmup_seconds = time.perf_counter() - began
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began, cpu_began = time.perf_counter(), time.process_time()
    losses = [step(model, optimizer, batch, scores="scorer" in parts) for batch in batches[chosen.warmup :]]
    _wait(device)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    tokens = sum(batch.num_tokens for batch in batches[chosen.warmup :])
    supervised = sum(batch.target_ids_N.numel() for batch in batches[chosen.warmup :])
    flops = flops_of(model, tokens, supervised, mean_length=mean_length_of(batches[chosen.warmup :]))
    print(
        json.dumps(
            {
                "shape": chosen.shape,
                "rung": chosen.rung,
                "attention": attention,
                "tokens_per_second": tokens / seconds,
                "tokens_per_cpu_second": tokens / cpu_seconds,
                "tflops_per_second": flops / seconds / 1e12,
                "mfu": _utilisation(flops / seconds / 1e12, chosen.peak_tflops, device),
                "peak_bytes": peak_bytes_of(device),
                "padding_share": 1 - tokens / sum(batch.input_ids_BT.numel() for batch in batches[chosen.warmup :]),
                "warmup_seconds": warmup_seconds,
                "last_loss": float(losses[-1]),
                "device": device_name(device),
                "torch": torch.__version__,
            }
        )
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=NAMES, default="smoke")
    parser.add_argument("--rung", choices=RUNGS, default="plain")
    parser.add_argument("--rows", type=int, default=16, help="rows of a forward pass")
    parser.add_argument("--cutoff", type=int, default=2048, help="longest row")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--peak_tflops", type=float, help="stated bfloat16 peak, where the device is not listed")
    return parser.parse_args()


def build(shape: str, parts: frozenset[str], device: torch.device) -> tuple[Any, str]:
    """Build random weights in bfloat16 with float32 LoRA, as the rung computes them, and name the attention."""
    attention = "sdpa"
    if "forest" in parts:
        attention = choose_backend("auto", Surroundings.of(device, is_short_format=True)).implementation
    with device:
        base = AutoModelForCausalLM.from_config(
            build_config(shape), dtype=torch.bfloat16, attn_implementation=attention
        )
    model: Any = get_peft_model(
        base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEARS, task_type="CAUSAL_LM")
    )
    model.train()
    if "checkpointing" in parts:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if "fused_lora" in parts:
        assert use_fast_lora(model), "no layer has the fused form"
    if "compile" in parts:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            trial = compile_layers(model, "packed")
        assert trial.is_equal, trial.reason
    return model, attention


def step(model: Any, optimizer: torch.optim.Optimizer, batch: Batch, *, scores: bool) -> torch.Tensor:
    """Do one optimizer step and give its loss, without waiting for the device."""
    kind = batch.input_ids_BT.device.type
    with torch.autocast(kind, dtype=torch.bfloat16):
        if scores:
            loss = -(score_batch(model, batch).logps_N * batch.target_weights_N).sum() / batch.target_ids_N.numel()
        else:
            loss = full_logits_loss(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def full_logits_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Compute logits of all positions in float32 and their cross-entropy, as transformers' models do."""
    if batch.layout is None:
        logits = model(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT).logits.flatten(0, 1)
    else:
        logits = language_head(model).module(hidden_states(model, batch))
    labels = torch.full((logits.shape[0],), -100, dtype=torch.long, device=logits.device)
    labels[batch.source_index_N] = batch.target_ids_N
    return cross_entropy(logits.float(), labels, ignore_index=-100)


def make_batches(chosen: argparse.Namespace, *, layout: Any, device: torch.device) -> list[Batch]:
    """Make rows whose lengths spread like those of chats; the last 70 % of each are supervised."""
    generator = np.random.default_rng(0)
    vocabulary = build_config(chosen.shape).vocab_size
    total = (chosen.warmup + chosen.steps) * chosen.rows
    lengths = np.clip(generator.lognormal(np.log(chosen.cutoff / 6), 0.8, total), 16, chosen.cutoff).astype(int)
    rows = [_row(number, length, vocabulary, generator) for number, length in enumerate(lengths)]
    return [_to_device(collate(part, layout=layout, pad_id=0), device) for part in _cut(rows, chosen.rows)]


def _row(number: int, length: int, vocabulary: int, generator: np.random.Generator) -> TokenRow:
    weights = np.zeros(length, dtype=np.float32)
    weights[int(length * 0.3) :] = 1
    return TokenRow(
        source=RowRef(dataset="random", file="", row=number),
        input_ids=generator.integers(3, vocabulary, length, dtype=np.int32),
        weights=weights,
        segment_lengths=(length,),
    )


def _cut(rows: Sequence[TokenRow], size: int) -> Iterator[Sequence[TokenRow]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


def _to_device(batch: Batch, device: torch.device) -> Batch:
    moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return Batch(**{**vars(batch), **moved})


def flops_of(model: Any, tokens: int, supervised: int, *, mean_length: float) -> float:
    """Count what a LoRA step needs: forward and input gradients of frozen products, attention, the head where trained.

    Padding, logits of unsupervised positions and recomputed activations count as nothing.
    """
    linears = [(name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    frozen = sum(part.weight.numel() for name, part in linears if "layers." in name and "lora_" not in name)
    trained = sum(part.weight.numel() for name, part in linears if "lora_" in name)
    config = model.config
    head = config.vocab_size * config.hidden_size
    # Scores and values: 2 products, forward and twice backward, half of the square where causal.
    attention = 6 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * mean_length
    return float(tokens * (4 * frozen + 6 * trained + attention) + supervised * 4 * head)


def mean_length_of(batches: Sequence[Batch]) -> float:
    """Give the mean length of the row that a token stands in."""
    squares = tokens = 0
    for batch in batches:
        positions = batch.position_ids_BT.flatten()
        if batch.layout is not None:
            lengths = [end - start for start, end in zip(batch.layout.starts, batch.layout.ends, strict=True)]
        else:
            assert batch.attention_mask_BT is not None
            lengths = batch.attention_mask_BT.sum(dim=1).tolist()
        assert len(positions) >= sum(lengths)
        squares, tokens = squares + sum(length * length for length in lengths), tokens + sum(lengths)
    return squares / tokens


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes_of(device: torch.device) -> int:
    """Give the most memory in use: of the GPU, or of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    return int(psutil.Process().memory_info().rss)


def device_name(device: torch.device) -> str:
    """Name the device that was measured."""
    return torch.cuda.getdevice_name() if device.type == "cuda" else f"cpu ({sys.platform})"


def _utilisation(tflops: float, peak: float | None, device: torch.device) -> float | None:
    peak = peak or stated_peak(device_name(device))
    return tflops / peak if peak else None


if __name__ == "__main__":
    main()
