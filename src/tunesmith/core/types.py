# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Values that cross folder borders: messages, examples, token rows, layouts, batches, scores.

Shape letters used in names of arrays and tensors: B rows of a batch, T tokens, V vocabulary, D width,
N supervised targets of a batch, S segments of a batch, P pairs, G completions of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["system", "user", "assistant", "tool"]
RowKind = Literal["text", "supervised", "preference", "feedback", "prompt", "labelled", "contrast"]
LayoutKind = Literal["packed", "padded"]
# What a loss may ask of each target beside its log-prob; the fields of `Scores` say what they are.
Detail = Literal["mean_logp", "top_entropy", "divergence"]
NO_PARENT = -1
# Key of tokenizer_config.json: special tokens that a run added, which stay tokens in texts.
RUN_TOKENS = "tunesmith_new_tokens"

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call of a tool by the assistant; `arguments` as an object, or the raw JSON string of the source."""

    name: str
    arguments: Mapping[str, Any] | str
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn. `weight` is the loss weight of an assistant turn: None takes the stage's rule, 0 is never trained."""

    role: Role
    content: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages in order and the tools that the model may call (JSON-schema objects)."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, order=True)
class RowRef:
    """Where a row came from: `row` is the 0-based record position in `file`."""

    dataset: str
    file: str
    row: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of data after its format was read, before any template.

    text: `text`. supervised: `conversation` ends with an assistant turn. prompt: it does not. preference:
    `conversation` is the shared prompt, `chosen` and `rejected` the turns that follow. feedback: `label` is a bool.
    labelled: `label` is a class name or a number. contrast: `conversation` is the anchor, `positives` and `negatives`
    are texts to bring near and to keep apart, `label` a similarity where the source has one.

    `reference_answer` is what a reward may compare a completion with, `fields` are further columns for rewards and
    losses (a solution, a margin), `objects` names what a picture shows (ms-swift's `objects` column).
    """

    kind: RowKind
    source: RowRef
    text: str | None = None
    conversation: Conversation | None = None
    chosen: tuple[Message, ...] = ()
    rejected: tuple[tuple[Message, ...], ...] = ()
    label: bool | str | float | None = None
    media: tuple[Mapping[str, str], ...] = ()
    channel: str | None = None
    positives: tuple[tuple[Message, ...], ...] = ()
    negatives: tuple[tuple[Message, ...], ...] = ()
    reference_answer: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    objects: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A rendered conversation: ids and, per token, its weight as a target of training (0 = not trained)."""

    text: str
    input_ids: IntArray
    weights: FloatArray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """A tokenised row: one or more segments, concatenated.

    `weights` [T] holds the loss weight of each token as a target (0 = context only). Segment i is the next
    `segment_lengths[i]` tokens; its parent is an earlier segment or NO_PARENT. Plain SFT rows have one segment named
    "text"; a preference pair has "prompt", "chosen", "rejected" with parents (-1, 0, 0). `reference_logps` holds the
    reference's log-prob of each supervised token, where they were computed before. `label` is the number of a class,
    1 or 0 for feedback, or the margin by which a pair's chosen answer is better.
    """

    source: RowRef
    input_ids: IntArray
    weights: FloatArray
    segment_lengths: tuple[int, ...]
    segment_parents: tuple[int, ...] = (NO_PARENT,)
    segment_names: tuple[str, ...] = ("text",)
    label: float | None = None
    reference_logps: FloatArray | None = None
    channel: str | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of all segments."""
        return len(self.input_ids)

    @property
    def num_supervised(self) -> int:
        """Tokens with a non-zero loss weight."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True, kw_only=True)
class ForestLayout:
    """Segments of one packed row of tokens: spans [starts[i], ends[i]) and the parent of each, or NO_PARENT.

    A token attends causally inside its own segment and to all tokens of its segment's ancestors; positions continue
    from the parent's end. Parents come before their children; spans are contiguous and cover the row.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    parents: tuple[int, ...]

    def ancestors(self, segment: int) -> tuple[int, ...]:
        """Indices of the ancestors, root first, without the segment itself."""
        chain: list[int] = []
        parent = self.parents[segment]
        while parent != NO_PARENT:
            chain.append(parent)
            parent = self.parents[parent]
        return tuple(reversed(chain))

    def depth(self, segment: int) -> int:
        """Number of tokens in all ancestors: the position of the segment's first token."""
        return sum(self.ends[index] - self.starts[index] for index in self.ancestors(segment))

    def positions(self) -> IntArray:
        """Position ids [T]: restart at 0 in every root, continue from the parent in every child."""
        spans = range(len(self.starts))
        parts = [np.arange(self.ends[i] - self.starts[i], dtype=np.int32) + self.depth(i) for i in spans]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One micro-batch, packed (B = 1 and `layout`) or padded (`attention_mask`, right padding, and no layout).

    The N supervised targets are listed outright, so that no reader shifts labels: hidden state number
    `source_index_N` of the flattened B·T states predicts `target_ids_N` with weight `target_weights_N`; the target lies
    in segment `target_segment_N`. Segment s belongs to row `segment_row_S[s]` of `rows` and is called
    `segment_names[s]`. In a padded batch a child segment's path (ancestors + itself) is a batch row of its own.
    """

    input_ids_BT: "Tensor"
    position_ids_BT: "Tensor"
    attention_mask_BT: "Tensor | None"
    layout: ForestLayout | None
    source_index_N: "Tensor"
    target_ids_N: "Tensor"
    target_weights_N: "Tensor"
    target_segment_N: "Tensor"
    segment_row_S: "Tensor"
    segment_names: tuple[str, ...]
    rows: tuple[RowRef, ...]
    num_tokens: int
    labels: "Tensor | None" = None
    reference_logps_N: "Tensor | None" = None
    channels: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the scorer returns for the N supervised targets of a batch, float32.

    `logps_N` carries the gradient; `is_top_N` says whether the target is the most likely token (no gradient);
    `entropy_N` is filled only when asked for, and so are the mean log-prob of the whole vocabulary (`mean_logps_N`),
    the entropy among the 20 likeliest tokens without gradient (`top_entropy_N`), and the divergence
    KL(reference ‖ policy) (`divergence_N`). A scalar head gives no log-probs, but the value of each segment's path.
    """

    logps_N: "Tensor"
    is_top_N: "Tensor | None" = None
    entropy_N: "Tensor | None" = None
    mean_logps_N: "Tensor | None" = None
    top_entropy_N: "Tensor | None" = None
    divergence_N: "Tensor | None" = None
    values_S: "Tensor | None" = None


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """Loss summed over the objective's units (not averaged), and metrics as name → (sum, count)."""

    loss: "Tensor"
    metrics: Mapping[str, tuple["Tensor | float", "Tensor | float"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Generation settings; greedy when `do_sample` is False. `stop_ids` end a completion."""

    max_new_tokens: int
    stop_ids: tuple[int, ...]
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = 42


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One generated answer: ids without the prompt (a stop token included), log-probs of each, and why it ended."""

    token_ids: tuple[int, ...]
    logps: tuple[float, ...]
    finish_reason: Literal["stop", "length"]
