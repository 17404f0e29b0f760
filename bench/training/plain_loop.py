# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A plain training loop with transformers and PEFT alone: padded batches, AdamW, linear decay; the loss of each step.

    python plain_loop.py ORDER.json

The loss is the cross-entropy over supervised tokens, divided by their number in the whole step. The adapter's first
weights are written to adapter/ beside the rows, so that another system starts from the same ones. In bfloat16 the loop
runs a second time with rows one by one: how far the two are apart is the noise of the format.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from order import LINEARS, LORA, Order, read_order
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

Row = tuple[list[int], list[int]]


def main(order: Order) -> None:
    """Run the loop, in bfloat16 twice, and print the losses."""
    torch.manual_seed(order.seed)
    adapter = LoraConfig(r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=list(LINEARS), task_type="CAUSAL_LM")
    get_peft_model(_load(order), adapter).save_pretrained(order.place / "adapter")
    rows = list(_rows(order))
    found: dict[str, Any] = {"losses": losses(order, rows, micro_rows=order.batch)}
    if order.dtype == "bf16":
        found["losses_row_by_row"] = losses(order, rows, micro_rows=1)
    print(json.dumps(found))


def losses(order: Order, rows: Sequence[Row], *, micro_rows: int) -> list[float]:
    """Train from the written adapter and give the loss of each step."""
    model = PeftModel.from_pretrained(_load(order), order.place / "adapter", is_trainable=True)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=order.learning_rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, order.steps)
    found = []
    for step in _cut(rows[: order.steps * order.batch * order.accumulation], order.batch * order.accumulation):
        count = sum(label != -100 for _, labels in step for label in labels[1:])
        total = 0.0
        for micro in _cut(step, micro_rows):
            loss = _loss_sum(model, micro, is_short=order.dtype == "bf16") / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(total)
    return found


def _cut(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


def _load(order: Order) -> Any:
    dtype = torch.bfloat16 if order.dtype == "bf16" else torch.float32
    return AutoModelForCausalLM.from_pretrained(order.model, dtype=dtype)


def _rows(order: Order) -> Iterator[Row]:
    """Render the rows with the model's template; the answer and the token that ends it are supervised."""
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    for line in (order.place / "messages.jsonl").read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        whole = tokenizer.apply_chat_template(messages, tokenize=False).removesuffix("\n")
        prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
        assert whole.startswith(prompt)
        first = tokenizer(prompt, add_special_tokens=False).input_ids
        rest = tokenizer(whole.removeprefix(prompt), add_special_tokens=False).input_ids
        labels = [-100] * len(first) + rest
        yield (first + rest)[: order.cutoff], labels[: order.cutoff]


def _loss_sum(model: torch.nn.Module, rows: Sequence[Row], *, is_short: bool) -> torch.Tensor:
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_short):
        logits = model(input_ids=ids, attention_mask=mask).logits
    return cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


if __name__ == "__main__":
    main(read_order())
