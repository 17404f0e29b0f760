# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of an engine: token ids in, token ids and log-probs out; it knows no texts and no templates."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tunesmith.core.types import Completion, Sampling

if TYPE_CHECKING:
    from torch import Tensor

Advance = Callable[[int], None]


def ignore(_: int) -> None:
    """Take notice of nothing."""


class Engine(ABC):
    """Generates answers to prompts. A prompt's answer does not depend on the prompts beside it."""

    @abstractmethod
    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, advance: Advance = ignore
    ) -> list[Completion]:
        """Answer prompts, in their order; log-probs are the model's own, at temperature 1 and without penalties.

        `advance` is told at every step how many more prompts have been answered.
        """

    @abstractmethod
    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """Answer one prompt token by token; the stop token is given too."""

    @abstractmethod
    def load_weights(self, weights: "Mapping[str, Tensor]") -> None:
        """Replace named weights, as training goes on."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the engine holds; it is of no use afterwards."""
