# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Prompt tuning: the embeddings of some virtual tokens before every row are trained (arXiv 2104.08691).

They begin as words drawn from the vocabulary, so the model does not start as it was. Packed rows share them.
"""

from typing import ClassVar

from pydantic import Field
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.models.anatomy import backbone
from tunesmith.models.module_tuner import ModuleTuner, Switch, mount
from tunesmith.models.tuners.base import tuners
from tunesmith.models.virtual_tokens import VirtualTokens


class PromptTuningParams(Section):
    """Keys of finetuning_type prompt_tuning."""

    section: ClassVar[str] = "prompt_tuning"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("prompt_tuning",)}

    prompt_num_tokens: int = Field(20, ge=1, description="Number of trained virtual tokens before every row.")


@tuners.register("prompt_tuning")
class PromptTuningTuner(ModuleTuner):
    """Trains virtual tokens; the base model stays as it is."""

    Params: ClassVar[type[Section]] = PromptTuningParams
    starts_as_identity: ClassVar[bool] = False
    merge_refused: ClassVar[str | None] = "virtual tokens are an input, not a weight"

    def mount_all(self, model: PreTrainedModel, switch: Switch) -> None:
        """Put the tokens before the backbone."""
        assert isinstance(self.params, PromptTuningParams)
        tokens = VirtualTokens(model, self.params.prompt_num_tokens, switch)
        mount(backbone(model), tokens)
        tokens.install(model)
