# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Any tuner, with the rows of new tokens trained, stored, loaded and merged beside what it trains itself."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.core.types import Batch
from tunesmith.models.layer_statistics import Loss
from tunesmith.models.new_rows import RowsAside, fill_rows, fold_rows, mount_rows, row_parameters, row_tensors
from tunesmith.models.safetensors_file import read_headers
from tunesmith.models.saved_weights import header_of, refuse_damaged, refuse_non_finite
from tunesmith.models.token_manifest import TokenManifest
from tunesmith.models.tuners.base import Tuner
from tunesmith.models.tuners.full import FullTuner
from tunesmith.models.variant_file import read_variant

ROWS_FILE = "new_tokens.safetensors"
_MOST_PROBES = 64


def with_new_rows(tuner: Tuner, folder: Path) -> Tuner:
    """Let a tuner train the rows of the tokens that the run adds to the model in a folder, where it adds some."""
    variant = read_variant(folder)
    if variant is None or variant.changes.tokens is None or type(tuner) is FullTuner:
        return tuner  # all weights are trained, the new rows among them
    return NewRowsTuner(tuner, variant.changes.tokens)


def new_token_probes(folder: Path) -> list[Tensor]:
    """Give ids to compare models on in which each token occurs that the run added to the model in a folder."""
    variant = read_variant(folder)
    if variant is None or variant.changes.tokens is None:
        return []
    tokens = variant.changes.tokens
    ids = range(tokens.first, min(tokens.end, tokens.first + _MOST_PROBES))
    return [torch.tensor([part for number in ids for part in (number, number % tokens.first)])[None]]


class NewRowsTuner(Tuner):
    """A tuner and the new rows beside it."""

    def __init__(self, inner: Tuner, tokens: TokenManifest) -> None:
        super().__init__(inner.params, seed=inner.seed, pure_bf16=inner.pure_bf16)
        self._inner, self._tokens = inner, tokens
        self._start: list[Tensor] = []
        vars(self).update(  # what a class says of a tuner is said by the one inside
            Params=inner.Params,
            starts_as_identity=inner.starts_as_identity,
            merge_refused=inner.merge_refused,
            takes_quantised=inner.takes_quantised,
            keeps_base_cheaply=inner.keeps_base_cheaply,
        )

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Attach the tuner, and the rows with their first values."""
        return self._mount(self._inner.attach(model))

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Load what the tuner saved, and the rows."""
        loaded = self._inner.load(model, folder, is_trainable=is_trainable)
        return self._filled(loaded, [folder], is_trainable=is_trainable)

    def prepare(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Build the model of a run; the last adapter's rows count, because later ones were trained on earlier."""
        prepared = self._inner.prepare(model, adapters, is_trainable=is_trainable)
        return self._filled(prepared, adapters, is_trainable=is_trainable)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy saved values into the tuner's weights and the rows."""
        with RowsAside(model):
            self._inner.restore(model, folder)
        if row_parameters(model):
            fill_rows(model, self._read(folder, row_tensors(model)), self._tokens.first)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write what the tuner trains, and the rows in full precision beside it."""
        with RowsAside(model):
            self._inner.save(model, folder)
        rows = {name: weight.cpu().contiguous() for name, weight in row_tensors(model).items()}
        if not rows:
            return
        refuse_non_finite(rows.items())
        save_file(rows, folder / ROWS_FILE, metadata={"format": "pt"})
        refuse_damaged(
            read_headers(folder / ROWS_FILE), {name: header_of(weight) for name, weight in rows.items()}, folder
        )

    def merge(self, model: nn.Module) -> PreTrainedModel:
        """Fold rows and adapter into the model's weights."""
        fold_rows(model)
        return self._inner.merge(model)

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the values of our keys that a saved adapter holds."""
        return self._inner.saved_keys(folder)

    @property
    def start_rows(self) -> int:
        """Say how many training rows the tuner's start is made from."""
        return self._inner.start_rows

    def learn_start(self, model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        """Let the tuner choose its first values by rows of the run."""
        return self._inner.learn_start(model, batches, loss)

    def repeat_start(self, model: nn.Module, choices: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let the tuner repeat what it chose."""
        return self._inner.repeat_start(model, choices)

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Give what the tuner adds to the loss."""
        return self._inner.penalty(model)

    def after_step(self, model: nn.Module, *, step: int, num_steps: int) -> None:
        """Do what the tuner does after a step."""
        self._inner.after_step(model, step=step, num_steps=num_steps)

    def running_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Give what the tuner gathered."""
        return self._inner.running_state(model)

    def restore_running(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Take back what the tuner gathered."""
        self._inner.restore_running(model, state)

    @property
    def base_source(self) -> str:
        """Say in words what `base_view` shows."""
        return f"{self._inner.base_source}, new tokens as the run began"

    def remember_base(self, model: nn.Module) -> None:
        """Keep the rows as they are now, and what the tuner keeps."""
        self._inner.remember_base(model)
        self._keep_start(model)

    @contextlib.contextmanager
    def start_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as `base_view` will, before anything was trained."""
        with self._inner.start_view(model):
            yield

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model with the rows that it began with, and as the tuner shows it."""
        with self._inner.base_view(model):
            rows = row_parameters(model)
            shown = [parameter.data for parameter in rows]
            _point_at(rows, self._start)
            try:
                yield
            finally:
                _point_at(rows, shown)

    def _mount(self, model: nn.Module) -> nn.Module:
        mount_rows(model, self._tokens, pure_bf16=self.pure_bf16)
        self._keep_start(model)
        return model

    def _filled(self, model: nn.Module, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        if is_trainable:
            mount_rows(model, self._tokens, pure_bf16=self.pure_bf16)
        holding = [adapter for adapter in adapters if (adapter / ROWS_FILE).is_file()]
        if holding:
            fill_rows(model, self._read(holding[-1], {}), self._tokens.first)
        self._keep_start(model)
        return model

    def _keep_start(self, model: nn.Module) -> None:
        self._start = [parameter.detach().clone() for parameter in row_parameters(model)]

    def _read(self, folder: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read stored rows, or refuse a file that lacks some or holds others than the manifest lists."""
        path = folder / ROWS_FILE
        values: dict[str, Tensor] = load_file(path) if path.is_file() and read_headers(path) else {}
        refuse_non_finite(values.items())
        wrong = [name for name in wanted if name not in values or values[name].shape != wanted[name].shape]
        wrong += [name for name, rows in values.items() if len(rows) != len(self._tokens.tokens)]
        if wrong:
            raise refusal(
                "tuner.adapter_mismatch",
                f"{path} does not hold the rows of the {len(self._tokens.tokens)} new tokens ({', '.join(wrong)}).",
                "Restore the file from the run that made the adapter.",
                key="adapter_name_or_path",
                file=str(path),
            )
        return values


def _point_at(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    # Autocast keeps casts by tensor identity and would hand out those of the other values.
    torch.clear_autocast_cache()
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value
