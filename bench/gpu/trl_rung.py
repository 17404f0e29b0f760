# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The same random rows and weights through TRL's SFTTrainer, timed; prints one line of JSON like rung.py.

Run in an environment that has TRL and tunesmith. Token ids are given outright, so the tokenizer is a made-up one.
"""

import json
import os
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from rung import ALPHA, LINEARS, RANK, device_name, flops_of, make_batches, mean_length_of, parse, peak_bytes_of
from shapes import build_config, stated_peak
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from tunesmith.core.types import Batch


class Stamps(TrainerCallback):  # type: ignore[misc]
    """Stamps the time after the warm-up and at the end."""

    def __init__(self, warmup: int) -> None:
        self._warmup, self.loss = warmup, 0.0
        self._began, self.seconds = 0.0, 0.0
        self._cpu_began, self.cpu_seconds = 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the device and stamp."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if state.global_step == self._warmup:
            self._began, self._cpu_began = time.perf_counter(), time.process_time()
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
        self.seconds, self.cpu_seconds = time.perf_counter() - self._began, time.process_time() - self._cpu_began

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the last loss."""
        self.loss = (kwargs.get("logs") or {}).get("loss", self.loss)


def main() -> None:
    """Train as TRL does by default, checkpointing included."""
    chosen = parse()
    os.environ["HF_HUB_OFFLINE"] = "1"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    batches = make_batches(chosen, layout="padded", device=torch.device("cpu"))
    with device:
        model = AutoModelForCausalLM.from_config(build_config(chosen.shape), dtype=torch.bfloat16)
    stamps = Stamps(chosen.warmup)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=_settings(chosen, folder),
            train_dataset=Dataset.from_list([row for batch in batches for row in _rows(batch)]),
            processing_class=_tokenizer(model.config.vocab_size),
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEARS, task_type="CAUSAL_LM"),
            callbacks=[stamps],
        )
        trainer.train()
    timed = batches[chosen.warmup :]
    tokens, supervised = (sum(batch.num_tokens for batch in timed), sum(batch.target_ids_N.numel() for batch in timed))
    tflops = flops_of(trainer.model, tokens, supervised, mean_length=mean_length_of(timed)) / stamps.seconds / 1e12
    peak = chosen.peak_tflops or stated_peak(device_name(device))
    result = {
        "shape": chosen.shape,
        "rung": "trl",
        "attention": model.config._attn_implementation,
        "tokens_per_second": tokens / stamps.seconds,
        "tokens_per_cpu_second": tokens / stamps.cpu_seconds,
        "tflops_per_second": tflops,
        "mfu": tflops / peak if peak else None,
        "peak_bytes": peak_bytes_of(device),
        "padding_share": 1 - tokens / sum(batch.input_ids_BT.numel() for batch in timed),
        "warmup_seconds": 0.0,
        "last_loss": float(stamps.loss),
        "device": device_name(device),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


def _settings(chosen: Any, folder: str) -> SFTConfig:
    return SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=chosen.rows,
        max_steps=chosen.warmup + chosen.steps,
        max_length=chosen.cutoff,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _rows(batch: Batch) -> list[dict[str, list[int]]]:
    """Take the rows out of a padded batch."""
    assert batch.attention_mask_BT is not None
    supervised = torch.zeros(batch.input_ids_BT.numel(), dtype=torch.long)
    supervised[batch.source_index_N + 1] = 1
    masks = supervised.view_as(batch.input_ids_BT)
    lengths = batch.attention_mask_BT.sum(dim=1).tolist()
    return [
        {"input_ids": ids[:length].tolist(), "completion_mask": mask[:length].tolist()}
        for ids, mask, length in zip(batch.input_ids_BT, masks, lengths, strict=True)
    ]


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({f"<{number}>": number for number in range(size)}, unk_token="<0>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<0>", bos_token="<1>", eos_token="<2>")


if __name__ == "__main__":
    main()
