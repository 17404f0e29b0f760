# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a chat template: messages to token ids with a train mask, and token ids back to a message."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Message, Rendered

# Where a template came from: the user's choice of a catalog name or file, a folder's frozen one, or the tokenizer.
Origin = Literal["catalog", "file", "frozen", "tokenizer"]
ReasoningPolicy = Literal["keep", "strip_history", "mask_empty", "never_train_injected"]
# What becomes of text in messages that reads like a special token.
SpecialText = Literal["escape", "error", "allow"]


@dataclass(frozen=True, kw_only=True)
class TrainPolicy:
    """What is trained. A message's own weight goes before these rules.

    `train_on_prompt` trains every token; `mask_history` only the last assistant turn. `default_system` is put before
    conversations that have no system message. `reasoning` says what becomes of thoughts (reasoning.py), None takes
    what the template renders; `without_reasoning` removes all of them. `loss_scale` names ms-swift's weights.
    """

    train_on_prompt: bool = False
    mask_history: bool = False
    default_system: str | None = None
    reasoning: ReasoningPolicy | None = None
    without_reasoning: bool = False
    loss_scale: str | None = None


class ChatTemplate(ABC):
    """One template for one vocabulary; stateless, and never changes the tokenizer."""

    name: str
    origin: Origin
    source: str

    @abstractmethod
    def render(
        self,
        conversation: Conversation,
        *,
        add_generation_prompt: bool = False,
        policy: TrainPolicy | None = None,
    ) -> Rendered:
        """Render a conversation to ids and weights; with a generation prompt all weights are 0."""

    @abstractmethod
    def render_many(
        self,
        conversations: Sequence[Conversation],
        *,
        add_generation_prompt: bool = False,
        policy: TrainPolicy | None = None,
    ) -> list[Rendered | TunesmithError]:
        """Render conversations in one go; a conversation that is refused gives its error in place of a rendering."""

    def render_samples(
        self, conversations: Sequence[Conversation], *, policy: TrainPolicy
    ) -> list[tuple[Rendered, ...] | TunesmithError]:
        """Render conversations for training: one sample each, or several where the template rewrites earlier turns."""
        results = self.render_many(conversations, policy=policy)
        return [result if isinstance(result, TunesmithError) else (result,) for result in results]

    def expect(self, num_renderings: int) -> None:  # noqa: B027 (most templates need no preparation)
        """Get ready for many renderings, beside other work; without effect on what is rendered."""

    def is_getting_ready(self) -> bool:
        """Say whether that is still going on."""
        return False

    @abstractmethod
    def parse(self, token_ids: Sequence[int], *, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        """Turn generated ids, with or without stop token, into an assistant message; `tools` type its calls' values."""

    @abstractmethod
    def stop_ids(self) -> tuple[int, ...]:
        """Give the ids that end an answer, the template's usual one first."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the template beside a model or adapter, so that it is served as it was trained."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash everything that decides on the rendering: text, date, variables, special tokens."""

    @abstractmethod
    def sample(self) -> str:
        """Render a plain conversation of empty messages: what the template itself writes."""
