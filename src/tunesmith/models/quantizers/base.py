# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a quantiser: how a base model's weights are quantised while they load, and given back in full.

Only adapters are trained on quantised weights. A quantiser sees modules and tensors; it never sees tuners or data.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.optional import has_package
from tunesmith.core.registry import Registry

# The last one would quantise the weights of FP8 folders again when they are saved.
_FLAGS = ("is_loaded_in_4bit", "is_loaded_in_8bit", "hf_quantizer", "quantization_method", "_weight_conversions")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a base model is quantised; `dtype` is the format its weights were rounded to before, as in "bfloat16"."""

    method: str
    bits: int
    kind: str = "nf4"
    is_double: bool = True
    dtype: str = "float32"

    def words(self) -> str:
        """Say it in a few words."""
        double = ", double quantisation" if self.is_double else ""
        kind = f" ({self.kind}{double})" if self.method == "bnb" and self.bits == 4 else ""
        return f"{self.bits} bits by {self.method}{kind}"


class Quantizer:
    """One method. Subclass in a file of its own and register it under the value of `quantization_method`."""

    # Bits that it quantises to while loading; none where it only reads folders that hold such weights.
    bits: ClassVar[tuple[int, ...]] = ()
    # Values of quant_method in the config.json of folders that hold such weights.
    reads: ClassVar[tuple[str, ...]] = ()
    package: ClassVar[str]
    # What to hand to pip.
    requirement: ClassVar[str] = "tunesmith[quant]"
    # Why it is not used at all ("it …"); None where it is.
    refused: ClassVar[str | None] = None
    needs_gpu: ClassVar[bool] = False
    # Whether what it reads becomes plain weights while loading.
    gives_plain: ClassVar[bool] = False

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Give further arguments of transformers' from_pretrained; `wanted` is None for quantised folders."""
        return {}

    def finish(self, model: PreTrainedModel, wanted: Quantization | None) -> None:
        """Do what remains when the weights are loaded, such as guards; `wanted` is None for quantised folders."""

    def owns(self, module: nn.Module) -> bool:
        """Say whether a module holds weights that this method quantised."""
        return False

    def weight_OI(self, module: Any) -> Tensor:
        """Give a module's weight in float32 as its forward uses it, [outputs, inputs]."""
        raise AssertionError(f"{type(self).__name__} owns no modules")

    def widen(self, module: Any) -> bool:
        """Let a module compute in float32 and say whether it can."""
        return False

    def refuse_here(self, device: torch.device) -> None:
        """Refuse where the package is missing or this device is not enough."""
        if self.refused is not None:
            raise refusal(
                "model.quantization_unsupported",
                f"Weights of this kind ({self.package}) are not used: {self.refused}.",
                "Write quantization_method: bnb, or use the unquantised model.",
                key="quantization_method",
            )
        if not has_package(self.package):
            raise refusal(
                "environment.package_missing",
                f"Weights of this kind need the package {self.package!r}, which is not installed here.",
                f"Install it with: pip install '{self.requirement}'.",
                key="quantization_method",
            )
        if self.needs_gpu and device.type != "cuda":
            raise refusal(
                "model.quantization_unsupported",
                f"Weights of this kind ({self.package}) are computed with on NVIDIA GPUs only; this is {device.type}.",
                "Use a machine with a GPU, the unquantised model, or quantization_method: bnb.",
                key="quantization_method",
            )


class PlainReader(Quantizer):
    """A method of which only folders are read, into plain weights that any tuner takes."""

    package = "transformers"
    gives_plain = True

    def finish(self, model: PreTrainedModel, wanted: Quantization | None) -> None:
        """Let the model be a plain one, in one number format: what is read may come in others."""
        forget_quantisation(model)
        model.to(model.config.dtype)  # type: ignore[arg-type]  # its overloads forget dtypes


quantizers: Registry[type[Quantizer]] = Registry(
    "quantisation method", "tunesmith.models.quantizers", code="config.quantizer_unknown"
)


def methods() -> list[Quantizer]:
    """Give one of every method; they hold nothing."""
    return [kind() for _, kind in quantizers.items()]


def quantised_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, Quantizer]]:
    """List the quantised modules of a model with their names and methods."""
    known = methods()
    for name, module in model.named_modules():
        for part in known:
            if part.owns(module):
                yield name, module, part


def is_quantised_layer(module: nn.Module) -> bool:
    """Say whether a module holds quantised weights."""
    return any(part.owns(module) for part in methods())


def is_quantised(model: nn.Module) -> bool:
    """Say whether any weight of a model is quantised."""
    return next(quantised_layers(model), None) is not None


def full_weight_OI(module: Any) -> Tensor:
    """Give a linear layer's weight in float32, dequantised where it is quantised."""
    for part in methods():
        if part.owns(module):
            return part.weight_OI(module)
    weight: Tensor = module.weight
    return weight.float()


def forget_quantisation(model: Any) -> None:
    """Remove what transformers noted on a model and its configuration when it loaded quantised weights."""
    for flag in _FLAGS:
        with contextlib.suppress(AttributeError):
            delattr(model, flag)
    model.is_quantized = False
    with contextlib.suppress(AttributeError):
        del model.config.quantization_config


def bits_refused(method: str, bits: int, offered: tuple[int, ...]) -> TunesmithError:
    """Refuse bits that a method does not offer, or a method that only reads quantised folders."""
    if not offered:
        return refusal(
            "model.quantization_unsupported",
            f"quantization_method: {method} does not quantise while loading: such weights are made with calibration, "
            "and read from a folder that holds them.",
            f"Name a folder with {method} weights and leave out quantization_bit, or write quantization_method: bnb.",
            key="quantization_method",
        )
    return refusal(
        "model.quantization_unsupported",
        f"quantization_method: {method} offers {', '.join(map(str, offered))} bits, not {bits}.",
        f"Write quantization_bit: {offered[0]}.",
        key="quantization_bit",
    )
