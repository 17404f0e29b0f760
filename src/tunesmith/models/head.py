# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The output head of a model as a function from hidden states to logits, with the scaling and capping of its type."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import backbone, base_model, head

# Model type → (configuration key, power): logits are multiplied by key ** power before any cap.
_LOGIT_SCALES = {
    "cohere": ("logit_scale", 1),
    "cohere2": ("logit_scale", 1),
    "cohere2_moe": ("logit_scale", 1),
    "falcon_h1": ("lm_head_multiplier", 1),
    "granite": ("logits_scaling", -1),
    "granite_swa": ("logits_scaling", -1),
    "granitemoe": ("logits_scaling", -1),
    "granitemoe_swa": ("logits_scaling", -1),
    "granitemoehybrid": ("logits_scaling", -1),
    "granitemoeshared": ("logits_scaling", -1),
    "hyperclovax": ("logits_scaling", 1),
    "inkling_text": ("logits_mup_width_multiplier", -1),
    "minicpm3": ("logits_scaling", -1),
}

# Model types that name their soft-cap otherwise than the rest.
_SOFTCAPS = {"recurrent_gemma": "logits_soft_cap", "xlstm": "output_logit_soft_cap"}
# Largest relative difference between these logits and the model's own that rounding explains.
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}
_TRIAL_TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class LanguageHead:
    """A head module (linear, tied, biased or wrapped by an adapter), then a scale, then a soft-cap."""

    module: nn.Module
    scale: float = 1.0
    softcap: float | None = None

    def transform(self, raw: Tensor) -> Tensor:
        """Turn the module's output into float32 logits."""
        logits = raw.float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits

    def transform_gradient(self, gradient: Tensor, logits: Tensor) -> Tensor:
        """Carry the gradient of `transform`'s result back to the module's output (float32)."""
        if self.softcap is not None:
            gradient = gradient * (1.0 - (logits / self.softcap).square())
        return gradient if self.scale == 1.0 else gradient * self.scale


def language_head(model: nn.Module) -> LanguageHead:
    """Give the head of a model, adapters on it included."""
    config: Any = base_model(model).config.get_text_config()
    scale = 1.0
    if config.model_type in _LOGIT_SCALES:
        key, power = _LOGIT_SCALES[config.model_type]
        scale = float(getattr(config, key)) ** power
    softcap = getattr(config, _SOFTCAPS.get(config.model_type, "final_logit_softcapping"), None)
    return LanguageHead(module=head(model), scale=scale, softcap=softcap or None)


@torch.no_grad()
def check_head(model: nn.Module) -> None:
    """Refuse a model whose own logits are not what this head makes of its hidden states."""
    base, inner = base_model(model), backbone(model)
    was_training = model.training
    model.eval()
    try:
        ids = torch.arange(_TRIAL_TOKENS, device=next(inner.parameters()).device)[None]
        states = inner(input_ids=ids, use_cache=False).last_hidden_state
        own = base(input_ids=ids, use_cache=False).logits.float()
    finally:
        model.train(was_training)
    found = language_head(model)
    ours = found.transform(found.module(states))
    tolerance = _TOLERANCES.get(states.dtype, _TOLERANCES[torch.float32])
    difference = float((ours - own).norm() / own.norm()) if ours.shape == own.shape else float("inf")
    if not difference <= tolerance:
        raise refusal(
            "model.head_unknown",
            f"Models of type {base.config.model_type} turn hidden states into logits in a way that the scorer does not "
            f"know (relative difference {difference:.1e}), so log-probs would be wrong.",
            "Use another model type, or report this one so that its scaling is added.",
            key="model_name_or_path",
        )
