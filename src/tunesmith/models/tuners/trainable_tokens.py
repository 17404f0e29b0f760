# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trainable tokens: chosen rows of the embedding (and of a head tied to it) are trained and stored, through PEFT."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from peft import PeftConfig, TrainableTokensConfig
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.adapter_files import read_adapter_config
from tunesmith.models.adapter_tuner import AdapterTuner
from tunesmith.models.tuners.base import tuners


class TrainableTokensParams(Section):
    """Keys of finetuning_type trainable_tokens."""

    section: ClassVar[str] = "trainable_tokens"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("trainable_tokens",)}

    trainable_token_ids: tuple[int, ...] = Field((), description="Token ids whose embeddings are trained.")


@tuners.register("trainable_tokens")
class TrainableTokensTuner(AdapterTuner):
    """Trains rows of the embedding; the base model stays as it is."""

    Params: ClassVar[type[Section]] = TrainableTokensParams
    config_type: ClassVar[type[PeftConfig]] = TrainableTokensConfig

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Add a copy of the chosen rows, which starts as the identity."""
        assert isinstance(self.params, TrainableTokensParams)
        embedding: Any = model.get_input_embeddings()
        ids, rows = sorted(set(self.params.trainable_token_ids)), embedding.weight.shape[0]
        if not ids or ids[0] < 0 or ids[-1] >= rows:
            raise refusal(
                "tuner.tokens_unknown",
                f"trainable_token_ids is {ids or 'empty'}, and the embedding has the ids 0 to {rows - 1}.",
                "List the ids of the tokens to train; `tunesmith render` shows the ids of a text.",
                key="trainable_token_ids",
            )
        name = next(name for name, module in model.named_modules() if module is embedding)
        return self.wrap_fresh(model, TrainableTokensConfig(token_indices=ids, target_modules=[name.split(".")[-1]]))

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the ids that a saved adapter trains."""
        return {"trainable_token_ids": tuple(read_adapter_config(folder, self.config_type).token_indices)}
