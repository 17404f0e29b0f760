# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How the weights of the base model are quantised while it is loaded."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class QuantizationSection(Section):
    """Quantised loading of the base model, on which only adapters are trained."""

    section: ClassVar[str] = "quantization"

    quantization_bit: int | None = Field(
        None, ge=1, le=8, description="Bits of the base model's weights, quantised while loading; unset: not quantised."
    )
    adapter_base: Literal["trained", "original"] = Field(
        "trained", description="Base of an adapter from a quantised one: as it was trained on, or the original."
    )
    qat: Literal["int8", "int4"] | None = Field(
        None, description="Train a model that is to be quantised: its linear layers compute with rounded weights."
    )


class QuantizationDetails(Section):
    """How quantization_bit is reached."""

    section: ClassVar[str] = "quantization details"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"quantization_bit": ("*",)}

    quantization_method: str = Field("bnb", description="Library and number format of the quantised weights.")
    quantization_type: Literal["nf4", "fp4"] = Field("nf4", description="4-bit numbers of bitsandbytes.")
    double_quantization: bool = Field(True, description="Quantise the scales of bitsandbytes' 4-bit blocks too.")
