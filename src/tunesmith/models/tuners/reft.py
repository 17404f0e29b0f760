# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ReFT: low-rank edits of the hidden states that leave decoder layers (arXiv 2404.03592), every other weight frozen.

LoReFT: h + Rᵀ(W·h + b - R·h) with orthonormal rows of R; NoReFT: without orthonormality; DiReFT: h + Rᵀ(W·h + b).
The names are ms-swift's. Unlike in the paper all positions are edited, and the edit starts as the identity. Each token
is edited by itself, so packed rows stay exact.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import decoder_layers, hidden_size
from tunesmith.models.module_tuner import ModuleTuner, Mounted, Switch, change_output, mount
from tunesmith.models.tuners.base import tuners

Kind = Literal["LoreftIntervention", "NoreftIntervention", "DireftIntervention"]


class ReftParams(Section):
    """Keys of finetuning_type reft."""

    section: ClassVar[str] = "reft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("reft",)}

    reft_rank: int = Field(4, ge=1, description="Rank of an edit.")
    reft_layers: tuple[int, ...] | None = Field(None, description="Decoder layers to edit, from 0; unset: all.")
    reft_intervention_type: Kind = Field("LoreftIntervention", description="Form of the edit, by ms-swift's names.")


class Edit(Mounted):
    """One layer's edit: `directions` span what it writes, `source` and `bias` say what."""

    def __init__(self, width: int, rank: int, kind: Kind, switch: Switch) -> None:
        super().__init__(switch)
        self.kind = kind
        self.directions = nn.Parameter(torch.linalg.qr(torch.randn(width, rank))[0].T.contiguous())
        start_RD = torch.zeros(rank, width) if kind == "DireftIntervention" else self._rows().detach().clone()
        self.source = nn.Parameter(start_RD)
        self.bias = nn.Parameter(torch.zeros(rank))

    def _rows(self) -> Tensor:
        """Give R: orthonormal rows of the span of `directions`, but for NoReFT."""
        if self.kind == "NoreftIntervention":
            return self.directions
        basis_DR: Tensor = torch.linalg.qr(self.directions.float().T)[0]
        return basis_DR.T

    def forward(self, states: Tensor) -> Tensor:
        """Edit hidden states, in float32."""
        with torch.autocast(states.device.type, enabled=False):
            rows_RD = self._rows().float()
            source_RD = self.source.float()
            if self.kind != "DireftIntervention":
                source_RD = source_RD - rows_RD
            written = (states.float() @ source_RD.T + self.bias.float()) @ rows_RD
        return states + written.to(states.dtype)


@tuners.register("reft")
class ReftTuner(ModuleTuner):
    """Trains edits of hidden states; the base model stays as it is."""

    Params: ClassVar[type[Section]] = ReftParams
    merge_refused: ClassVar[str | None] = "an edit of the whole hidden state is no change of a weight"

    def mount_all(self, model: PreTrainedModel, switch: Switch) -> None:
        """Put an edit behind the chosen decoder layers."""
        assert isinstance(self.params, ReftParams)
        _, layers = decoder_layers(model)
        wanted = range(len(layers)) if self.params.reft_layers is None else sorted(set(self.params.reft_layers))
        strange = [index for index in wanted if not 0 <= index < len(layers)]
        if strange or not wanted:
            raise refusal(
                "tuner.module_unknown",
                f"reft_layers names {strange or 'no layer'}, and the model has the layers 0 to {len(layers) - 1}.",
                "List some of those, or leave reft_layers out for all.",
                key="reft_layers",
            )
        for index in wanted:
            edit = Edit(hidden_size(model), self.params.reft_rank, self.params.reft_intervention_type, switch)
            mount(layers[index], edit)
            change_output(layers[index], edit, switch)
