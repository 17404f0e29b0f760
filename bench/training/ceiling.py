# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The matrix-product ceiling of a LoRA step: tokens a second, were the step only its large products in bfloat16.

    python ceiling.py ORDER.json

Counted are, for every token, the forward product and the input-gradient product of each frozen linear, and of the head
at supervised positions only; LoRA's thin products, attention and everything else are left out, so that the ceiling is
high. Each product is timed alone, on the model's own shapes, and its best time counts.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from order import LINEARS, LORA, read_order
from transformers import AutoConfig, AutoModelForCausalLM

# Tokens of one forward pass: about those of 4 and of 8 Alpaca rows, and of two full packs.
_COUNTS = (768, 1536, 2048)
# Supervised share of the Alpaca rows' tokens.
_SUPERVISED = 0.73
_SECONDS = 0.4


def main() -> None:
    """Measure at several token counts and give the highest rate as the ceiling."""
    shapes, head = _shapes(read_order().model)
    measured = [_measure(count, shapes, head) for count in _COUNTS]
    best = max(measured, key=lambda entry: float(entry["tokens_per_second"]))
    print(json.dumps({**best, "threads": torch.get_num_threads(), "measured": measured}))


def _shapes(model: str) -> tuple[dict[tuple[int, int], int], tuple[int, int]]:
    """Count the frozen linears by (out, in), and give the head's shape."""
    config = AutoConfig.from_pretrained(model)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    shapes: dict[tuple[int, int], int] = {}
    for name, module in empty.named_modules():
        if isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] in LINEARS:
            shape = (module.out_features, module.in_features)
            shapes[shape] = shapes.get(shape, 0) + 1
    return shapes, (config.vocab_size, config.hidden_size)


def _measure(tokens: int, shapes: dict[tuple[int, int], int], head: tuple[int, int]) -> dict[str, Any]:
    supervised = round(tokens * _SUPERVISED)
    base = sum(count * _pair_seconds(tokens, shape) for shape, count in shapes.items())
    thin = sum(count * _thin_seconds(tokens, shape) for shape, count in shapes.items())
    top = _pair_seconds(supervised, head)
    flops = 4 * tokens * sum(out * width * count for (out, width), count in shapes.items())
    flops += 4 * supervised * head[0] * head[1]
    return {
        "tokens": tokens,
        "tokens_per_second": tokens / (base + top),
        "with_lora_products": tokens / (base + top + thin),
        "gflops_per_second": flops / (base + top) / 1e9,
        "mflops_per_token": flops / tokens / 1e6,
    }


def _pair_seconds(tokens: int, shape: tuple[int, int]) -> float:
    """Time the forward product and the one of the input's gradient."""
    weight, rows, gradient = _random(*shape), _random(tokens, shape[1]), _random(tokens, shape[0])
    return _best_seconds(lambda: rows @ weight.T) + _best_seconds(lambda: gradient @ weight)


def _thin_seconds(tokens: int, shape: tuple[int, int]) -> float:
    """Time the six products of a LoRA branch."""
    rank = LORA["rank"]
    down, up = _random(rank, shape[1]), _random(shape[0], rank)
    rows, gradient, inner = _random(tokens, shape[1]), _random(tokens, shape[0]), _random(tokens, rank)
    products: Iterable[Callable[[], torch.Tensor]] = (
        lambda: rows @ down.T,
        lambda: inner @ up.T,
        lambda: gradient @ up,
        lambda: gradient.T @ inner,
        lambda: inner.T @ rows,
        lambda: inner @ down,
    )
    return sum(map(_best_seconds, products))


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).bfloat16()


def _best_seconds(product: Callable[[], torch.Tensor]) -> float:
    product()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
