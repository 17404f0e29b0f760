# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The float32 model that an export merges into: plain weights, or the dequantised ones that an adapter was trained on.

Of a quantised base it also gives the logits of the model as it was trained, which decide about the export.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.core.progress import say
from tunesmith.models.dequantise import dequantise, widen
from tunesmith.models.load import load_model
from tunesmith.models.quantized_loading import stored_method
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.tuners.base import Tuner
from tunesmith.models.verify import compare_logits, largest_difference


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """Where the base is, how it was quantised for training, and whether the original weights are wanted instead."""

    folder: Path
    adapters: tuple[Path, ...]
    quantization: Quantization | None
    wants_original: bool
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class ExportBase:
    """The plain float32 model; `trained` are the logits of the quantised base with its adapter, where there is one."""

    model: PreTrainedModel
    trained: list[Tensor] | None
    facts: Mapping[str, Any]

    @property
    def is_dequantised(self) -> bool:
        """Whether the weights are those that the quantised base computes with."""
        return self.trained is not None and self.facts["merged_into"] == "dequantised weights"

    def compare(self, merged: Sequence[Tensor]) -> Mapping[str, Any]:
        """Say how the merged model differs from the one that was trained."""
        if self.trained is None:
            return {}
        comparison = compare_logits(self.trained, merged)
        found = {
            "trained_max_abs_diff": largest_difference(self.trained, merged),
            "trained_mean_kl": comparison.mean_kl,
            "trained_top1_agreement": comparison.top1_agreement,
        }
        if not self.is_dequantised:
            say(
                "The original weights are not those that were trained on: logits differ by up to "
                f"{found['trained_max_abs_diff']:.2f}, the most likely token is the same "
                f"{comparison.top1_agreement:.1%} of the time, {comparison.mean_kl:.1e} nats apart."
            )
        return {**self.facts, **found}


def load_export_base(source: ExportSource, tuner: Tuner, probes: Sequence[Tensor]) -> ExportBase:
    """Load what adapters are merged into."""
    stored = stored_method(source.folder)
    if source.quantization is None and stored is None:
        plain = load_model(source.folder, dtype=torch.float32, device=source.device)
        return ExportBase(model=plain, trained=None, facts={})
    _refuse_several(source)
    words = source.quantization.words() if source.quantization is not None else f"{stored}, as the folder holds it"
    say(f"The base was quantised for training ({words}): computing what it answers …")
    quantised = _load_quantised(source)
    adapted = tuner.load(quantised, source.adapters[0], is_trainable=False) if source.adapters else quantised
    trained = trained_logits(adapted, probes)
    del adapted, quantised
    facts = {"base_quantization": words, "merged_into": "dequantised weights"}
    if source.wants_original and stored is None:
        plain = load_model(source.folder, dtype=torch.float32, device=source.device)
        return ExportBase(model=plain, trained=trained, facts={**facts, "merged_into": "original weights"})
    return ExportBase(model=dequantise(_load_quantised(source)), trained=trained, facts=facts)


@torch.no_grad()
def trained_logits(model: nn.Module, probes: Sequence[Tensor]) -> list[Tensor]:
    """Run a model with a quantised base in float32; it is used up."""
    model = widen(model)
    model.eval()
    device = next(model.parameters()).device
    return [model(input_ids=ids.to(device), use_cache=False).logits[0].float().cpu() for ids in probes]


def _load_quantised(source: ExportSource) -> PreTrainedModel:
    wanted = source.quantization
    dtype = torch.float32 if wanted is None else getattr(torch, wanted.dtype)
    return load_model(source.folder, dtype=dtype, device=source.device, quantization=wanted)


def _refuse_several(source: ExportSource) -> None:
    if len(source.adapters) > 1:
        raise refusal(
            "model.quantization_not_trainable",
            f"{len(source.adapters)} adapters were named for a quantised base, but only the first can have been "
            "trained on its weights.",
            "Export the first one, then name the exported folder as the model of the next.",
            key="adapter_name_or_path",
        )
