# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Virtual tokens before every row, inside the backbone: whoever calls it sees the hidden states of the real ones only.

In a forest they are one more root above all others, so that packed rows share them and stay exact; padded rows and
generation with a cache get them in front.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.anatomy import backbone
from tunesmith.models.module_tuner import Mounted, Switch


class VirtualTokens(Mounted):
    """The embeddings of the virtual tokens, which start as those of words drawn from the vocabulary."""

    def __init__(self, model: PreTrainedModel, count: int, switch: Switch) -> None:
        super().__init__(switch)
        table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        drawn = torch.randint(0, table.shape[0], (count,)).to(table.device)
        self.embeddings = nn.Parameter(table.detach()[drawn].clone())
        # Whether the pass under way (or the last one, when a backward pass computes it again) reads them.
        self.is_reading = False

    @property
    def count(self) -> int:
        """Number of virtual tokens."""
        return len(self.embeddings)

    def install(self, model: PreTrainedModel) -> None:
        """Hook them into the backbone."""
        inner = backbone(model)
        embed = model.get_input_embeddings()

        def before(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if not self.switch.is_on:
                self.is_reading = False
                return None
            assert not args, "the backbone is called with names"
            self.is_reading = _past_length(options) == 0
            return args, self._extended(options, embed)

        def after(_: nn.Module, __: Any, ___: dict[str, Any], output: Any) -> Any:
            if self.is_reading:
                output.last_hidden_state = output.last_hidden_state[:, self.count :]
            return output

        inner.register_forward_pre_hook(before, with_kwargs=True)
        inner.register_forward_hook(after, with_kwargs=True)

    def _extended(self, options: Mapping[str, Any], embed: nn.Module) -> dict[str, Any]:
        changed = dict(options)
        mask, positions, layout = (options.get(name) for name in ("attention_mask", "position_ids", "layout"))
        if mask is not None and mask.ndim == 2:
            changed["attention_mask"] = torch.cat([mask.new_ones((len(mask), self.count)), mask], dim=1)
        if positions is not None:
            changed["position_ids"] = positions + self.count
        if not self.is_reading:
            return changed
        words = options["inputs_embeds"] if options.get("input_ids") is None else embed(options["input_ids"])
        ahead = self._scaled(embed).to(words.dtype).expand(len(words), -1, -1)
        changed |= {"input_ids": None, "inputs_embeds": torch.cat([ahead, words], dim=1)}
        if positions is not None:
            own = torch.arange(self.count, device=positions.device).expand(len(positions), -1)
            changed["position_ids"] = torch.cat([own, changed["position_ids"]], dim=1)
        if layout is not None:
            changed["layout"] = _under_one_root(layout, self.count)
        return changed

    def _scaled(self, embed: nn.Module) -> Tensor:
        """Scale as the embedding layer of some models does (Gemma 3)."""
        scale: Any = getattr(embed, "embed_scale", None)
        return self.embeddings if scale is None else self.embeddings * scale


def _past_length(options: Mapping[str, Any]) -> int:
    past = options.get("past_key_values")
    return 0 if past is None else int(past.get_seq_length())


def _under_one_root(layout: ForestLayout, count: int) -> ForestLayout:
    return replace(
        layout,
        starts=(0, *(start + count for start in layout.starts)),
        ends=(count, *(end + count for end in layout.ends)),
        parents=(NO_PARENT, *(0 if parent == NO_PARENT else parent + 1 for parent in layout.parents)),
    )
