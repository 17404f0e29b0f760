# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A few sample answers of a model before and after a run, and the signs of a broken one: empty or repeating answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import Problem, warning
from tunesmith.core.types import Completion, RowRef, Sampling
from tunesmith.data.store import TokenRows
from tunesmith.engines.torch import TorchEngine

NUM_SAMPLES = 3
_MAX_PROMPT_TOKENS = 512
_MAX_ANSWER_TOKENS = 96
# An answer repeats itself when its last tokens, at least this many, are a piece of up to _PERIOD tokens over and over.
_REPEATED_TOKENS, _PERIOD = 32, 12
# Names of roles that templates write as text between control tokens.
_ASKING = {"user", "human", "tool"}
_ANSWERING = {"assistant", "model"}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The context of a row's last answer, and that answer."""

    source: RowRef
    prompt_ids: tuple[int, ...]
    expected_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """What is needed to answer prompts with a model."""

    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]
    pad_id: int

    def answer(self, model: nn.Module, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer greedily, a little longer than the expected answers."""
        if not prompts:
            return []
        longest = max(len(prompt.expected_ids) for prompt in prompts)
        sampling = Sampling(max_new_tokens=min(longest + longest // 2 + 8, _MAX_ANSWER_TOKENS), stop_ids=self.stop_ids)
        engine = TorchEngine(model, pad_id=self.pad_id)
        return engine.generate([prompt.prompt_ids for prompt in prompts], sampling)

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode without control tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def question(self, token_ids: Sequence[int]) -> str:
        """Decode the last message before the answer: what control tokens enclose, without the names of roles."""
        special = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        runs, run = [], list[int]()
        for token in token_ids:
            if token in special:
                runs.append(run)
                run = []
            else:
                run.append(token)
        texts = [text for ids in [*runs, run] if (text := self.text(ids))]
        if len(texts) > 1 and _first_line(texts[-1]) in _ANSWERING:
            texts.pop()
        last = texts[-1] if texts else ""
        role, _, message = last.partition("\n")
        return message.strip() if message.strip() and role.strip().lower() in _ASKING else last


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip().lower()


def pick_prompts(store: TokenRows, count: int = NUM_SAMPLES) -> list[Prompt]:
    """Pick rows evenly over a store; rows whose last answer has no prompt, or a very long one, are passed over."""
    picked: list[Prompt] = []
    for number in range(count):
        start, end = len(store) * number // count, len(store) * (number + 1) // count
        found = (prompt for index in range(start, end) if (prompt := split_row(store, index)) is not None)
        picked.extend([prompt for prompt in [next(found, None)] if prompt is not None])
    return picked


def split_row(store: TokenRows, index: int) -> Prompt | None:
    """Cut a row before its last supervised tokens; a row that is supervised throughout is cut in its first half.

    Of several answers to a prompt the first counts, the chosen one; an answer that is not liked is passed over.
    """
    row = store[index]
    is_tree = row.segment_parents[1:2] == (0,)
    if is_tree and row.segment_names[1] == "answer" and row.label == 0:
        return None
    weights = row.weights[: sum(row.segment_lengths[:2])] if is_tree else row.weights
    supervised = np.flatnonzero(weights)
    if not len(supervised):
        return None
    end = int(supervised[-1]) + 1
    gaps = np.flatnonzero(weights[:end] == 0)
    start = int(gaps[-1]) + 1 if len(gaps) else 0
    start = start if start > 1 else min(end // 2, 24)
    if not 0 < start <= _MAX_PROMPT_TOKENS:
        return None
    ids = row.input_ids.tolist()
    return Prompt(source=row.source, prompt_ids=tuple(ids[:start]), expected_ids=tuple(ids[start:end]))


def compare(
    answerer: Answerer, prompts: Sequence[Prompt], before: Sequence[Completion], after: Sequence[Completion]
) -> list[dict[str, Any]]:
    """Put the expected answer, the one before training and the one after it side by side."""
    return [
        {
            "dataset": prompt.source.dataset,
            "row": prompt.source.row,
            "prompt": answerer.question(prompt.prompt_ids),
            "expected": answerer.text(prompt.expected_ids),
            "before": answerer.text(old.token_ids),
            "after": answerer.text(new.token_ids),
            "fault": find_fault(answerer, new, prompt),
            "was_faulty": find_fault(answerer, old, prompt) is not None,
        }
        for prompt, old, new in zip(prompts, before, after, strict=True)
    ]


def find_fault(answerer: Answerer, answer: Completion, prompt: Prompt) -> str | None:
    """Name what is degenerate about an answer: empty where one is expected, or repeating where none is expected to."""
    if not answerer.text(answer.token_ids) and answerer.text(prompt.expected_ids):
        return "empty"
    if repeats(answer.token_ids) and not repeats(prompt.expected_ids):
        return "repeating"
    return None


def repeats(token_ids: Sequence[int]) -> bool:
    """Say whether the end of an answer is one short piece over and over."""
    if len(token_ids) < _REPEATED_TOKENS:
        return False
    tail = list(token_ids)[-_REPEATED_TOKENS:]
    return any(tail[period:] == tail[:-period] for period in range(1, _PERIOD + 1))


def degeneration(samples: Sequence[dict[str, Any]]) -> Problem | None:
    """Warn of degenerate answers of the trained model where the model before training gave a sound one."""
    faulty = [sample for sample in samples if sample["fault"] and not sample["was_faulty"]]
    if not faulty:
        return None
    kinds = " and ".join(sorted({str(sample["fault"]) for sample in faulty}))
    example = str(faulty[0]["after"])[:120]
    return warning(
        "training.output_degenerate",
        f"{len(faulty)} of {len(samples)} sample answers became {kinds} by training, for example: {example!r}.",
        "Compare the samples in the report; too high a learning rate, too many epochs or a wrong template do this.",
        dataset=str(faulty[0]["dataset"]),
        rows=tuple(int(sample["row"]) for sample in faulty),
        num_rows=len(faulty),
    )


def to_lines(samples: Sequence[dict[str, Any]]) -> list[str]:
    """Write the samples for the terminal."""
    lines = []
    for sample in samples:
        fault = f"  ({sample['fault']})" if sample["fault"] and sample["after"] else ""
        lines += [
            f"- {_short(sample['prompt'], tail=True)}",
            f"    before:   {_short(sample['before'])}",
            f"    after:    {_short(sample['after'])}{fault}",
            f"    expected: {_short(sample['expected'])}",
        ]
    return lines


def _short(text: str, *, tail: bool = False, width: int = 160) -> str:
    flat = " ".join(text.split()) or "(empty)"
    if len(flat) <= width:
        return flat
    return "…" + flat[-width:] if tail else flat[:width] + "…"
