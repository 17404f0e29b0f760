# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the reference of a run together: the policy's start or a model that the user named, live or scored once."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tunesmith.checks.context import Parts
from tunesmith.checks.schedule import plan_schedule
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import refusal
from tunesmith.core.files import sha256_file
from tunesmith.core.progress import say
from tunesmith.core.types import Batch, LayoutKind, Scores
from tunesmith.data.preparation.keys import code_fingerprint
from tunesmith.data.preparation.place import cache_folder
from tunesmith.data.store import TokenRows
from tunesmith.jobs.base_model import choose_attention
from tunesmith.jobs.fingerprints import NamedReference, adapter_files, model_files
from tunesmith.models.added_tuner import AddedTuner
from tunesmith.models.load import load_model, resolve_model
from tunesmith.models.new_rows_tuner import with_new_rows
from tunesmith.models.quantized_loading import asked_quantization, read_base_record
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import Tuner, tuners
from tunesmith.models.variant_file import Changes, missing_changes, read_manifest, read_variant
from tunesmith.objectives.base import objectives
from tunesmith.objectives.preference_params import StrengthParams
from tunesmith.templates.tokenizer import load_tokenizer, padding_id, tokenizer_fingerprint
from tunesmith.training.arguments import training_device
from tunesmith.training.comparison import ReferencePart
from tunesmith.training.precision import choose_dtype, mixed_precision
from tunesmith.training.record import installed_versions
from tunesmith.training.reference_cache import Scoring, scored_rows
from tunesmith.training.scoring import evaluating

SCORED_ONCE = "precompute_ref_log_probs"
# Keys that say where the model and its adapters lie; their bytes are hashed instead.
_PLACES = ("model_name_or_path", "adapter_name_or_path", "cache_dir", "model_revision", "trust_remote_code")


def named_reference(config: RunConfig, folder: Path) -> NamedReference | None:
    """Find the reference that a user named, None where it is the policy's start; `folder` is the policy's model."""
    kind = objectives.get(config.run.stage).Params
    params = config.part(kind)
    if not isinstance(params, StrengthParams) or not (params.ref_model or params.ref_model_adapters):
        return None
    cached = Path(config.model.cache_dir) if config.model.cache_dir is not None else None
    found = folder if params.ref_model is None else resolve_model(params.ref_model, cached)
    adapters = tuple(Path(name) for name in params.ref_model_adapters)
    _refuse_other_changes(found, adapters)
    return NamedReference(folder=found, adapters=adapters)


def _refuse_other_changes(folder: Path, adapters: Sequence[Path]) -> None:
    """Refuse adapters that were trained with new tokens or scaled positions which the reference does not have."""
    variant = read_variant(folder)
    held = Changes() if variant is None else variant.changes
    for adapter in adapters:
        lacking = missing_changes(read_manifest(adapter), held)
        if lacking:
            raise refusal(
                "tuner.adapter_mismatch",
                f"{adapter} was trained with {' and '.join(lacking)}, which the reference {folder} does not have.",
                "Leave ref_model out where it is the base of the run and adapter_name_or_path brings it too; or merge "
                "the adapter with `tunesmith export`, and name the result as ref_model without adapters.",
                key="ref_model_adapters",
                file=str(adapter),
            )


@dataclass(frozen=True, kw_only=True)
class PolicyAtStart:
    """The policy before anything was trained, and how its rows are laid out."""

    model: nn.Module
    tuner: Tuner
    layout: LayoutKind


class RunReference:
    """The reference of one run that needs one."""

    def __init__(self, config: RunConfig, parts: Parts, *, tuner: Tuner) -> None:
        assert parts.folder is not None
        self._config, self._parts, self._tuner = config, parts, tuner
        self._folder = parts.folder
        self._named = named_reference(config, parts.folder)

    @property
    def is_named(self) -> bool:
        """Say whether the user named the reference."""
        return self._named is not None

    @property
    def words(self) -> str:
        """Say in words what the reference is."""
        return self._tuner.base_source if self._named is None else self._named.words

    def is_scored_once(self, saved_choices: Mapping[str, Any] | None) -> bool:
        """Decide whether the reference is scored once and kept, or repeat the choice of a checkpoint."""
        if saved_choices is not None and SCORED_ONCE in saved_choices:
            return bool(saved_choices[SCORED_ONCE])
        asked = self._config.flat[SCORED_ONCE]
        hindrance = self._hindrance()
        if asked and hindrance is not None:
            raise refusal(
                "training.reference_cache_unsupported",
                f"{SCORED_ONCE}: true cannot be obeyed here: {hindrance}.",
                f"Leave {SCORED_ONCE} out; the reference is then asked in every step.",
                key=SCORED_ONCE,
            )
        return asked if asked is not None else hindrance is None and self._is_asked_often()

    def _hindrance(self) -> str | None:
        if self._config.data.streaming:
            return "a stream has no end at which all of its rows were scored"
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return "several processes would each score all rows"
        if not self._config.run.do_train and self._named is None:
            return "a policy that is not trained is its own reference"
        return None

    def _is_asked_often(self) -> bool:
        """Say whether training comes to a row more than once."""
        data = self._parts.data
        if data is None or data.train is None or not self._config.run.do_train:
            return False
        schedule = plan_schedule(self._config, data.train, num_rows=len(data.train))
        return schedule.total_steps > schedule.steps_per_epoch

    def attach(
        self, rows: Mapping[str, TokenRows], policy: PolicyAtStart, *, is_scored_once: bool, hashes: Mapping[str, str]
    ) -> tuple[ReferencePart, dict[str, TokenRows]]:
        """Give the reference, and the rows: with its log-probs where it is scored once."""
        part = ReferencePart(is_named=self.is_named, words=self.words, hashes=hashes)
        if not is_scored_once:
            model = self._named_model() if self.is_named else None
            return replace(part, model=model), dict(rows)
        scorer, folder, facts = _Scorer(self, policy), cache_folder("reference"), self._facts(policy)
        found = {
            name: scored_rows(one, folder, facts, scoring=scorer.scoring, label=name) for name, one in rows.items()
        }
        scored: dict[str, TokenRows] = {**found}
        return replace(part, is_cached=True), scored

    def scoring(self, policy: PolicyAtStart) -> Scoring:
        """Give the function that scores by the reference, before anything was trained."""
        assert self._parts.tokenizer is not None
        device = training_device(self._config.run)
        model = policy.model if self._named is None else self._named_model()
        view = self._tuner.start_view if self._named is None else _as_it_is

        def score(batch: Batch) -> Scores:
            with ExitStack() as stack:
                stack.enter_context(mixed_precision(self._config.training, device))
                stack.enter_context(evaluating(model))
                stack.enter_context(view(model))
                return score_batch(model, batch)

        return Scoring(score=score, layout=policy.layout, pad_id=padding_id(self._parts.tokenizer), device=device)

    def _named_model(self) -> nn.Module:
        """Load the model that the user named, with its adapters: merged, or beside the quantised weights they know."""
        assert self._named is not None and self._parts.tokenizer is not None
        if tokenizer_fingerprint(load_tokenizer(self._named.folder)) != tokenizer_fingerprint(self._parts.tokenizer):
            raise refusal(
                "training.reference_tokens_differ",
                f"The reference {self._named.folder} has another tokenizer than {self._folder}, so their log-probs are "
                "of other tokens.",
                "Name a reference with the same tokenizer.",
                key="ref_model",
                file=str(self._named.folder),
            )
        config, device = self._config, training_device(self._config.run)
        dtype = choose_dtype(config.training, trains_all=False, device=device)
        attention = choose_attention(config, dtype=dtype, device=device).implementation
        rounded = reference_quantization(self._named.adapters)
        if rounded is not None:
            say(f"The reference's weights are quantised as in the training of its adapter: {rounded.words()}.")
            dtype = getattr(torch, rounded.dtype)
        model = load_model(self._named.folder, dtype=dtype, attention=attention, device=device, quantization=rounded)
        kind = tuners.get(config.run.finetuning_type)
        kind = kind if issubclass(kind, AddedTuner) else tuners.get("lora")
        tuner = with_new_rows(kind(config.part(kind.Params)), self._named.folder)
        merged = tuner.prepare(model, self._named.adapters, is_trainable=False)
        merged.requires_grad_(False)
        merged.eval()
        return merged

    def _facts(self, policy: PolicyAtStart) -> dict[str, Any]:
        """Collect what decides the log-probs besides the rows."""
        config, device = self._config, training_device(self._config.run)
        model = {name: value for name, value in config.model.model_dump(mode="json").items() if name not in _PLACES}
        return {
            **self._hashes_of_files,
            "model settings": model,
            "named": self._named is not None,
            "named base": None if self._named is None else _asdict(reference_quantization(self._named.adapters)),
            **_start_facts(config, self._folder, policy.tuner),
            "layout": policy.layout,
            "device": device.type,
            "dtype": str(next(policy.model.parameters()).dtype),
            "precision": [bool(config.training.bf16), config.training.fp16, config.training.pure_bf16],
            "versions": installed_versions(),
            "code": [_code_of_models(), code_fingerprint()],
        }

    @cached_property
    def _hashes_of_files(self) -> dict[str, Any]:
        """Hash the files whole: one changed byte is another reference."""
        start = [Path(name) for name in self._config.model.adapter_name_or_path]
        folder, adapters = self._folder, start
        if self._named is not None:
            folder, adapters = self._named.folder, list(self._named.adapters)
        template = self._parts.template
        assert self._parts.tokenizer is not None
        return {
            "model": [sha256_file(path) for path in model_files(folder)],
            "adapters": [[sha256_file(path) for path in adapter_files(adapter)] for adapter in adapters],
            "tokenizer": tokenizer_fingerprint(self._parts.tokenizer),
            "template": None if template is None else template.fingerprint(),
        }


def reference_quantization(adapters: Sequence[Path]) -> Quantization | None:
    """Give how the weights were quantised that a reference's adapter was trained on, or refuse to merge into such."""
    rounded = {adapter: found for adapter in adapters if (found := read_base_record(adapter)) is not None}
    if rounded and len(adapters) > 1:
        adapter, base = next(iter(rounded.items()))
        raise refusal(
            "training.reference_base_quantised",
            f"ref_model_adapters names {len(adapters)} adapters, and {adapter} was trained on weights of "
            f"{base.words()}: merged into the plain weights it is another model than the one that was trained.",
            "Merge them with `tunesmith export`, and name the result as ref_model without adapters.",
            key="ref_model_adapters",
            file=str(adapter),
        )
    return next(iter(rounded.values()), None)


def _asdict(quantization: Quantization | None) -> dict[str, Any] | None:
    return None if quantization is None else asdict(quantization)


def _start_facts(config: RunConfig, folder: Path, tuner: Tuner) -> dict[str, Any]:
    """Collect what decides about the model at the start besides files: rounding, random weights."""
    rounded = asked_quantization(config, folder)
    drawn = config.aids.train_from_scratch or not tuner.starts_as_identity
    return {
        "quantization": _asdict(rounded),
        "qat": config.quantization.qat,
        "drawn": [type(tuner).__name__, tuner.params.model_dump(mode="json"), tuner.seed] if drawn else None,
    }


class _Scorer:
    """Gives the scoring function, whose model is loaded for the first rows that need it."""

    def __init__(self, reference: RunReference, policy: PolicyAtStart) -> None:
        self._make: Callable[[], Scoring] = lambda: reference.scoring(policy)
        self._made: Scoring | None = None

    def scoring(self) -> Scoring:
        if self._made is None:
            self._made = self._make()
        return self._made


@contextmanager
def _as_it_is(model: nn.Module) -> Iterator[None]:
    yield


@cache
def _code_of_models() -> str:
    """Hash the code that computes: another version of it may round otherwise."""
    digest = hashlib.sha256()
    _add(digest, resources.files("tunesmith.models"))
    return digest.hexdigest()


def _add(digest: Any, folder: Traversable) -> None:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            _add(digest, entry)
        elif entry.name.endswith(".py"):
            digest.update(f"{entry.name}:".encode() + entry.read_bytes())
