# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith export`: merges adapters in float32, saves model, tokenizer and template, verifies the folder.

Everything is written beside the target and renamed only when the saved folder, loaded again, computes what base and
adapter compute; a failure leaves nothing that looks finished.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tunesmith import __version__
from tunesmith.checks.context import Parts
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import refusal
from tunesmith.core.files import remove_partials, write_folder_atomic, write_text_atomic
from tunesmith.core.progress import say
from tunesmith.jobs.assembly import write_side_files
from tunesmith.jobs.base_model import choose_padding
from tunesmith.models.export_base import ExportBase, ExportSource, load_export_base
from tunesmith.models.load import default_device, inference_dtype, load_model, load_model_config, resolve_model
from tunesmith.models.new_rows_tuner import new_token_probes, with_new_rows
from tunesmith.models.quantized_loading import stored_method, trained_quantization
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.reward_head import has_head, load_reward_model
from tunesmith.models.reward_verify import check_saved_rewards, compare_values, probe_values
from tunesmith.models.saved_weights import refuse_non_finite, save_whole_model
from tunesmith.models.tuners.base import Tuner, tuners
from tunesmith.models.variant_file import read_variant
from tunesmith.models.variants import with_changes
from tunesmith.models.verify import (
    check_merge,
    check_saved,
    compare_logits,
    comparison_dtype,
    largest_difference,
    probe_ids,
    probe_logits,
    tie_gaps,
)
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.chat import own_source
from tunesmith.templates.jinja_template import TEMPLATE_FILE
from tunesmith.templates.run_template import load_run_template
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.training.checkpoints import set_aside

RECORD_FILE = "tunesmith_export.json"
_FOREIGN = "Name another export_dir; overwrite_output_dir moves only earlier exports aside, never what others wrote."


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What an export is made of; tokenizer and template come from the last adapter where it carries them."""

    folder: Path
    adapters: tuple[Path, ...]
    tokenizer_folder: Path
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    dtype: torch.dtype
    tuner: Tuner
    quantization: Quantization | None
    wants_original: bool
    is_reward: bool

    def load(self, folder: Path, device: torch.device) -> PreTrainedModel:
        """Load a model in float32 with the head that it is exported with."""
        load = load_reward_model if self.is_reward else load_model
        return load(folder, dtype=torch.float32, device=device)

    def probe(self, model: nn.Module, probes: Sequence[Tensor], *, dtype: torch.dtype) -> list[Tensor]:
        """Compute what is compared: logits, or rewards."""
        return (probe_values if self.is_reward else probe_logits)(model, probes, dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The merged float32 model, the logits or rewards of base and adapter, and how far the merge moved them.

    `facts` tell of a base that was quantised for training.
    """

    model: PreTrainedModel
    probes: list[Tensor]
    reference: list[Tensor]
    max_abs_diff: float
    is_dequantised: bool
    facts: Mapping[str, Any]


def run(config: RunConfig) -> dict[str, Any]:
    """Export as configured and give what was written and how it was verified."""
    target = Path(config.export.export_dir or "").expanduser()
    remove_partials(target.parent, target.name)  # of an export that was killed
    moves_earlier = _decide_target(target, overwrite=config.run.overwrite_output_dir)
    sources = _find_sources(config)
    device = default_device() if config.export.export_device == "auto" else torch.device("cpu")
    merged = _merge(sources, device)
    _refuse_short_disk(target, merged.model, sources.dtype)
    with write_folder_atomic(target) as folder:
        _write(folder, sources, merged.model, shard_gigabytes=config.export.export_size)
        say("Verifying the saved folder …")
        result = _verify(folder, sources, merged)
        record = {"tunesmith": __version__, "base": str(sources.folder), **result}
        record["adapters"] = [str(adapter) for adapter in sources.adapters]
        write_text_atomic(folder / RECORD_FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        if moves_earlier:
            say(f"The earlier export was moved to {set_aside(target, 'old')}.")
        elif target.is_dir():
            target.rmdir()
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    return {"export_dir": str(target), **result, "files": files}


def _decide_target(target: Path, *, overwrite: bool) -> bool:
    """Say whether an earlier export must be moved aside, or refuse a folder that is not ours to replace."""
    if target.is_file():
        raise _in_use(target, "is a file", _FOREIGN)
    if not target.is_dir() or not any(target.iterdir()):
        return False
    if not (target / RECORD_FILE).is_file():
        raise _in_use(target, "is not empty and holds no earlier export", _FOREIGN)
    if not overwrite:
        raise _in_use(
            target, "holds an earlier export", "Name another export_dir; overwrite_output_dir: true moves it aside."
        )
    return True


def _in_use(target: Path, state: str, remedy: str) -> Exception:
    return refusal(
        "export.folder_in_use",
        f"The export folder {target} {state}.",
        remedy,
        key="export_dir",
        file=str(target),
    )


def _find_sources(config: RunConfig) -> Sources:
    model = config.model
    cache_dir = Path(model.cache_dir) if model.cache_dir else None
    folder = resolve_model(model.model_name_or_path or "", cache_dir, revision=model.model_revision)
    folder = with_changes(config, folder)
    adapters = tuple(Path(adapter).expanduser() for adapter in model.adapter_name_or_path)
    kind = tuners.get(config.run.finetuning_type)
    tuner = with_new_rows(kind(config.part(kind.Params)), folder)
    for adapter in adapters:
        tuner.saved_keys(adapter)
    # An adapter's own, unless tokens were added: a later adapter's may be that of the base.
    variant = read_variant(folder)
    has_new = variant is not None and variant.changes.tokens is not None
    tokenizer_folder = folder if has_new else _last_with("tokenizer_config.json", folder, adapters)
    template_folder = _last_with(TEMPLATE_FILE, tokenizer_folder, adapters)
    tokenizer = load_tokenizer(tokenizer_folder)
    chosen = config.template.template
    has_template = chosen is not None or own_source(tokenizer) or (template_folder / TEMPLATE_FILE).is_file()
    template = load_run_template(config, tokenizer, [template_folder]) if has_template else None
    return Sources(
        folder=folder,
        adapters=adapters,
        tokenizer_folder=tokenizer_folder,
        tokenizer=tokenizer,
        template=template,
        dtype=inference_dtype(model.infer_dtype, load_model_config(folder)),
        tuner=tuner,
        quantization=trained_quantization(config, folder),
        wants_original=config.quantization.adapter_base == "original",
        is_reward=any(has_head(place) for place in (folder, *adapters)),
    )


def _last_with(name: str, folder: Path, adapters: tuple[Path, ...]) -> Path:
    """Give the last adapter that carries a file, or the folder behind them all."""
    return next((adapter for adapter in reversed(adapters) if (adapter / name).is_file()), folder)


def _merge(sources: Sources, device: torch.device) -> Merged:
    """Merge the adapters in order, each compared before and after."""
    say(f"Loading {sources.folder} in float32 …")
    probes = [*probe_ids(sources.tokenizer), *new_token_probes(sources.folder)]
    base = _load_base(sources, device, probes)
    model, difference = base.model, 0.0
    refuse_non_finite(model.state_dict().items())
    dtype = comparison_dtype(model)
    reference: list[Tensor] = []
    for adapter in sources.adapters:
        say(f"Merging {adapter} …")
        adapted: nn.Module = sources.tuner.load(model, adapter, is_trainable=False)
        reference = sources.probe(adapted, probes, dtype=dtype)
        model = sources.tuner.merge(adapted)
        moved = largest_difference(reference, sources.probe(model, probes, dtype=dtype))
        check_merge(moved, dtype=dtype)
        difference = max(difference, moved)
    reference = [logits.float() for logits in reference] or sources.probe(model, probes, dtype=torch.float32)
    if base.trained is not None and base.is_dequantised:
        check_merge(largest_difference(base.trained, reference), dtype=torch.float32)
        reference = base.trained
    return Merged(
        model=model,
        probes=probes,
        reference=reference,
        max_abs_diff=difference,
        is_dequantised=base.is_dequantised,
        facts=base.compare(sources.probe(model, probes, dtype=torch.float32)) if base.trained is not None else {},
    )


def _load_base(sources: Sources, device: torch.device, probes: Sequence[Tensor]) -> ExportBase:
    """Load what adapters are merged into; a quantised reward model is not, because nothing verifies its rewards."""
    if not sources.is_reward:
        return load_export_base(_export_source(sources, device), sources.tuner, probes)
    if (sources.quantization is not None and not sources.wants_original) or stored_method(sources.folder) is not None:
        raise refusal(
            "model.quantization_not_trainable",
            f"The reward model was trained on quantised weights of {sources.folder}, and rewards of dequantised ones "
            "are not verified.",
            "Use it as it is with `tunesmith score`, or write adapter_base: original to merge into the exact weights.",
            key="adapter_name_or_path",
        )
    return ExportBase(model=sources.load(sources.folder, device), trained=None, facts={})


def _export_source(sources: Sources, device: torch.device) -> ExportSource:
    return ExportSource(
        folder=sources.folder,
        adapters=sources.adapters,
        quantization=sources.quantization,
        wants_original=sources.wants_original,
        device=device,
    )


def _refuse_short_disk(target: Path, model: PreTrainedModel, dtype: torch.dtype) -> None:
    needed = sum(parameter.numel() for parameter in model.parameters()) * dtype.itemsize
    place = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise refusal(
            "resources.disk_short",
            f"The export needs {needed / 1e9:.1f} GB, but the disk of {place} has {free / 1e9:.1f} GB left.",
            "Free some space, or name an export_dir on another disk.",
            key="export_dir",
            file=str(place),
        )


def _write(folder: Path, sources: Sources, model: PreTrainedModel, *, shard_gigabytes: int) -> None:
    say(f"Saving the model as {str(sources.dtype).removeprefix('torch.')} …")
    model.to(sources.dtype)  # type: ignore[arg-type]  # its overloads forget dtypes
    if sources.is_reward and sources.template is not None:
        choose_padding(model, Parts(tokenizer=sources.tokenizer, template=sources.template))
    elif sources.template is not None:
        _add_stop_ids(model, sources.template)
    save_whole_model(model, folder, shard_gigabytes=shard_gigabytes)
    write_side_files(Parts(folder=sources.tokenizer_folder, template=sources.template), folder)


def _add_stop_ids(model: Any, template: ChatTemplate) -> None:
    """Let generation_config.json name every token that ends an answer, so that other programs stop where ours do."""
    own = model.generation_config.eos_token_id
    known = own if isinstance(own, list) else [own] if own is not None else []
    added = [token for token in template.stop_ids() if token not in known]
    if added:
        model.generation_config.eos_token_id = [*known, *added]


def _verify(folder: Path, sources: Sources, merged: Merged) -> dict[str, Any]:
    """Load the folder again and compare it; the merged model, now in the saved format, says what its rounding does."""
    device = next(merged.model.parameters()).device
    rounded = [] if sources.is_reward else probe_logits(merged.model, merged.probes, dtype=sources.dtype)
    merged.model.to("meta")  # type: ignore[arg-type]  # its memory is needed for the saved one
    saved = sources.load(folder, device)
    load_tokenizer(folder)
    found = sources.probe(saved, merged.probes, dtype=torch.float32)
    measured = {
        **merged.facts,
        "dtype": str(sources.dtype).removeprefix("torch."),
        "merge_max_abs_diff": merged.max_abs_diff,
    }
    if sources.is_reward:
        rewards = compare_values(merged.reference, found)
        check_saved_rewards(rewards, sources.dtype)
        return {
            **measured,
            "reward_max_abs_diff": rewards.max_abs_diff,
            "reward_relative_error": rewards.relative_error,
            "merge_probe_tokens": rewards.num_tokens,
        }
    comparison = compare_logits(merged.reference, found, tie_gaps(merged.reference, rounded))
    check_saved(comparison, is_dequantised=merged.is_dequantised)
    return {
        **measured,
        "merge_top1_agreement": comparison.top1_agreement,
        "merge_mean_kl": comparison.mean_kl,
        "merge_probe_tokens": comparison.num_tokens,
    }
