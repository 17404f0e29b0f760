# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which quantisation a model is loaded with, by keys or by its folder, and what loading it takes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tunesmith.config.run import RunConfig
from tunesmith.config.sections.quantization import QuantizationDetails
from tunesmith.core.errors import refusal, warning
from tunesmith.core.files import write_text_atomic
from tunesmith.core.names import nearest
from tunesmith.core.progress import say
from tunesmith.core.report import emit_warning
from tunesmith.models.folder import read_model_config
from tunesmith.models.quantizers.base import Quantization, Quantizer, bits_refused, methods, quantizers
from tunesmith.models.tuners.base import tuners

BASE_FILE = "tunesmith_base.json"


@dataclass(frozen=True, kw_only=True)
class LoadingPlan:
    """How a quantised model is loaded; `wanted` is None where the folder holds quantised weights."""

    quantizer: Quantizer
    wanted: Quantization | None
    device: torch.device

    def options(self) -> dict[str, Any]:
        """Give further arguments of from_pretrained; weights are quantised on the device that computes with them."""
        return {**self.quantizer.options(self.wanted), "device_map": {"": str(self.device)}}

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """Do what remains when the weights are loaded."""
        self.quantizer.finish(model, self.wanted)
        return model.requires_grad_(self.quantizer.gives_plain)


def loading_plan(folder: Path, wanted: Quantization | None, device: torch.device) -> LoadingPlan | None:
    """Decide how a model is loaded: None for plain weights; refuse methods that do not run here."""
    stored = stored_method(folder)
    if stored is None and wanted is None:
        return None
    if stored is not None and wanted is not None:
        raise refusal(
            "config.keys_conflict",
            f"{folder} holds weights that are quantised already ({stored}); quantization_bit {wanted.bits} would "
            "quantise them again.",
            "Leave out quantization_bit.",
            key="quantization_bit",
        )
    quantizer = quantizers.get(wanted.method)() if wanted is not None else _reader(stored or "", folder)
    if wanted is not None and quantizer.refused is None and wanted.bits not in quantizer.bits:
        raise bits_refused(wanted.method, wanted.bits, quantizer.bits)
    quantizer.refuse_here(device)
    return LoadingPlan(quantizer=quantizer, wanted=wanted, device=device)


def stored_method(folder: Path) -> str | None:
    """Name the method by which a folder's weights are quantised; None for plain weights."""
    settings = read_model_config(folder).get("quantization_config")
    if not isinstance(settings, Mapping):
        return None
    return str(settings.get("quant_method", "no method named"))


def _reader(method: str, folder: Path) -> Quantizer:
    known = {name: part for part in methods() for name in part.reads}
    if method not in known:
        raise refusal(
            "model.quantization_unsupported",
            f"{folder} holds weights that are quantised by {method!r}, which cannot be read.",
            f"Use the unquantised model, or one quantised by: {', '.join(sorted(known))}." + nearest(method, known),
            key="model_name_or_path",
            file=str(folder / "config.json"),
        )
    return known[method]


def look_at_quantization(config: RunConfig, folder: Path, device: torch.device) -> None:
    """Refuse a way of quantising that does not run here, or a tuner that would train quantised weights."""
    wanted, stored = asked_quantization(config, folder), stored_method(folder)
    plan = loading_plan(folder, wanted, device)
    if plan is not None and not plan.quantizer.gives_plain and not _takes_quantised(config):
        raise refusal(
            "model.quantization_not_trainable",
            f"finetuning_type {config.run.finetuning_type} needs the model's own weights in full; they are quantised "
            f"here ({wanted.words() if wanted else stored}).",
            "Write finetuning_type: lora, or leave out quantization_bit and use the unquantised model.",
            key="finetuning_type",
        )


def asked_quantization(config: RunConfig, folder: Path) -> Quantization | None:
    """Give what the keys ask for, else what the last adapter was trained on, or the model itself (`qat`).

    The original base of an adapter may be wanted instead; and training all weights goes on from the exact ones.
    """
    section, details = config.quantization, config.part(QuantizationDetails)
    if section.quantization_bit is not None:
        return Quantization(
            method=details.quantization_method,
            bits=section.quantization_bit,
            kind=details.quantization_type,
            is_double=details.double_quantization,
        )
    if section.adapter_base == "original" or not _takes_quantised(config):
        return None
    return _recorded(config, folder)


def trained_quantization(config: RunConfig, folder: Path) -> Quantization | None:
    """Give how the weights were quantised in training, whatever base is wanted now; the keys have the last word."""
    recorded = _recorded(config, folder)
    if recorded is not None and config.quantization.quantization_bit is None:
        return recorded
    return chosen_quantization(config, folder, None)


def _recorded(config: RunConfig, folder: Path) -> Quantization | None:
    adapters = config.model.adapter_name_or_path
    return (read_base_record(Path(adapters[-1])) if adapters else None) or read_base_record(folder)


def _takes_quantised(config: RunConfig) -> bool:
    trains = config.job == "train" and config.run.do_train
    return not trains or tuners.get(config.run.finetuning_type).takes_quantised


def chosen_quantization(config: RunConfig, folder: Path, dtype: torch.dtype | None) -> Quantization | None:
    """Give how the weights of this run are quantised, and say what was not asked for.

    They are cast to `dtype` before; without one, to that of the record of the training.
    """
    wanted, recorded = asked_quantization(config, folder), _recorded(config, folder)
    if wanted is None:
        return None
    if wanted == recorded:
        say(f"The model's weights are quantised as in its training: {recorded.words()}.")
    elif recorded is not None and replace(recorded, dtype=wanted.dtype) != wanted:
        emit_warning(
            warning(
                "model.quantization_differs",
                f"The training was on weights of {recorded.words()}; now they are of {wanted.words()}.",
                "Leave out quantization_bit to repeat what was trained.",
                key="quantization_bit",
            )
        )
    name = (recorded or wanted).dtype if dtype is None else str(dtype).removeprefix("torch.")
    return replace(wanted, dtype=name)


def write_base_record(wanted: Quantization, folder: Path) -> None:
    """Write into an adapter folder how its base was quantised, so that it is served on the same weights."""
    write_text_atomic(folder / BASE_FILE, json.dumps({"quantization": asdict(wanted)}, indent=1) + "\n")


def read_base_record(adapter: Path) -> Quantization | None:
    """Read how the base of an adapter was quantised; None where it was not."""
    path = adapter.expanduser() / BASE_FILE
    if not path.is_file():
        return None
    try:
        return Quantization(**json.loads(path.read_text(encoding="utf-8"))["quantization"])
    except (ValueError, KeyError, TypeError) as error:
        raise refusal(
            "tuner.adapter_unsupported",
            f"{path} does not say how the base model was quantised: {error}.",
            "Restore it from the run that made the adapter.",
            key="adapter_name_or_path",
            file=str(path),
        ) from error
