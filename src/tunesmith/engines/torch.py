# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Generation with the model that is in memory anyway: batched, greedy or drawn, each row ending by itself.

Rows of like lengths share a batch, padded on the left; rows that have ended leave it. A type whose past tokens cannot
be kept that way answers row by row, from whole forward passes. The model's own generation settings are not read.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Cache

from tunesmith.core.errors import refusal, warning
from tunesmith.core.folder_code import code_of
from tunesmith.core.report import emit_warning
from tunesmith.core.types import Completion, Sampling
from tunesmith.engines.base import Advance, Engine, ignore
from tunesmith.engines.cache import build_cache, bytes_per_token
from tunesmith.engines.sampling import choose_tokens
from tunesmith.models.anatomy import backbone, base_model
from tunesmith.models.attention.families import FOREST_TYPES
from tunesmith.models.head import check_head, language_head
from tunesmith.models.rope import readable_positions

MAX_ROWS = 64
_CACHE_BYTES = 2**30
_RESERVED_AHEAD = 256
# Largest difference of a log-prob in the trial that rounding explains.
_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 2e-1, torch.float16: 5e-2}
# How a type's past tokens are kept: for padded batches, for one row at a time, or not at all; and what the others cost.
Past = Literal["batched", "alone", "whole"]
_SLOWLY = {
    "alone": "each answer is computed alone",
    "whole": "each answer is computed alone, and the whole text anew for every token, which is slow",
}
_TRIAL = {0: (5, 9, 4, 7, 3, 8, 6, 5, 9, 3, 4), 1: (8, 3, 6, 4)}
# A batch is rebuilt from the rows still running once this share of it has ended.
_ENDED_SHARE = 0.25


class TorchEngine(Engine):
    """Runs a causal language model of transformers, with or without adapters around it."""

    def __init__(self, model: nn.Module, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id
        self._past: Past | None = None

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, advance: Advance = ignore
    ) -> list[Completion]:
        """Answer prompts, longest first so that what does not fit into memory shows at once."""
        self._check(prompts)
        completions: dict[int, Completion] = {}
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        with generating(self._model):
            past = self.past()
            while order:
                rows = self._num_rows(len(prompts[order[0]]), sampling) if past == "batched" else 1
                batch, order = order[:rows], order[rows:]
                run = self._run({index: prompts[index] for index in batch}, sampling, keeps_past=past != "whole")
                num_done = 0
                for _ in run.steps():
                    advance(len(run.completions()) - num_done)
                    num_done = len(run.completions())
                completions |= run.completions()
        return [completions[index] for index in range(len(prompts))]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """Answer one prompt token by token; training mode comes back when the iterator is finished or closed."""
        self._check([prompt])
        with generating(self._model):
            run = self._run({0: prompt}, sampling, keeps_past=self.past() != "whole")
            for tokens in run.steps():
                yield tokens[0]

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copy named weights into the model; a name or shape it does not have is our caller's bug."""
        own = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                assert name in own and own[name].shape == weight.shape, f"the model has no weight {name} of this shape"
                own[name].copy_(weight)

    def close(self) -> None:
        """Let go of the model."""
        self._model = nn.Identity()

    def _check(self, prompts: Sequence[Sequence[int]]) -> None:
        limit = max_positions(self._model)
        for index, prompt in enumerate(prompts):
            assert len(prompt) > 0, "a prompt needs at least one token"
            if limit is not None and len(prompt) >= limit:
                raise refusal(
                    "engine.prompt_long",
                    f"Prompt {index} has {len(prompt)} tokens; the model has positions for {limit}, answer included.",
                    "Shorten the prompt, or clear the history of the chat.",
                )

    def _run(self, prompts: Mapping[int, Sequence[int]], sampling: Sampling, *, keeps_past: bool) -> "_Run":
        return _Run(self._model, prompts, sampling, pad_id=self._pad_id, keeps_past=keeps_past)

    def past(self) -> Past:
        """Say how past tokens may be kept: types that pack were tried, others are tried here, once."""
        if self._past is None:
            config = base_model(self._model).config
            kind, is_own = config.model_type, code_of(type(config)) is not None
            self._past = "batched" if kind in FOREST_TYPES and not is_own else self._tried_past()
            if self._past != "batched":
                emit_warning(
                    warning(
                        "engine.cache_unfit",
                        f"Models of type {kind} answer otherwise in a padded batch than alone: {_SLOWLY[self._past]}.",
                        "Nothing to do for a few answers; for many, serve the merged model elsewhere.",
                    )
                )
        return self._past

    def _tried_past(self) -> Past:
        check_head(self._model)
        if self._trial_agrees(_TRIAL):
            return "batched"
        return "alone" if self._trial_agrees({0: _TRIAL[0]}) else "whole"

    def _trial_agrees(self, prompts: Mapping[int, Sequence[int]]) -> bool:
        """Answer prompts together, and compare the log-probs with those of one pass over each text."""
        try:
            run = self._run(prompts, Sampling(max_new_tokens=4, stop_ids=()), keeps_past=True)
            for _ in run.steps():
                pass
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            return False  # whatever the reason, this type's cache is not one that we can handle
        return all(self._agrees(prompts[row], answer) for row, answer in run.completions().items())

    def _agrees(self, prompt: Sequence[int], answer: Completion) -> bool:
        inner, found = backbone(self._model), language_head(self._model)
        ids_1T = torch.tensor([[*prompt, *answer.token_ids]], device=next(inner.parameters()).device)
        states_TD = inner(input_ids=ids_1T, use_cache=False).last_hidden_state[0, len(prompt) - 1 : -1]
        logps_TV = found.transform(found.module(states_TD)).log_softmax(dim=-1)
        expected_T = logps_TV.gather(-1, ids_1T[0, len(prompt) :, None])[:, 0].cpu()
        difference = float((expected_T - torch.tensor(answer.logps)).abs().max())
        return difference < _TOLERANCES.get(states_TD.dtype, _TOLERANCES[torch.float32])

    def _num_rows(self, longest: int, sampling: Sampling) -> int:
        parameter = next(self._model.parameters())
        row_bytes = bytes_per_token(base_model(self._model).config, parameter.dtype)
        return max(1, min(MAX_ROWS, _CACHE_BYTES // (row_bytes * (longest + sampling.max_new_tokens))))


class _Run:
    """One batch from its prompts to the end of its last row."""

    def __init__(
        self,
        model: nn.Module,
        prompts: Mapping[int, Sequence[int]],
        sampling: Sampling,
        *,
        pad_id: int,
        keeps_past: bool,
    ) -> None:
        self._backbone = backbone(model)
        self._head = language_head(model)
        self._device = next(self._backbone.parameters()).device
        self._sampling = sampling
        self._stops = frozenset(sampling.stop_ids)
        self._rows = list(prompts)
        self._seen = [list(prompt) for prompt in prompts.values()]
        self._logps: dict[int, list[float]] = {row: [] for row in prompts}
        self._done: dict[int, Completion] = {}
        self._num_prompt = {row: len(prompt) for row, prompt in prompts.items()}
        # Each row draws its own numbers, so that its answer does not depend on the rows beside it.
        self._draws = [np.random.default_rng([sampling.seed, row]) for row in self._rows]
        longest = max(map(len, prompts.values()))
        limit = max_positions(model)
        room = sampling.max_new_tokens if limit is None else min(sampling.max_new_tokens, limit - longest)
        self._num_steps = room
        self._cache: Cache | None = None
        if keeps_past:
            # Mamba's models name it otherwise, and pass over the usual name without a word.
            is_mamba = "cache_params" in signature(self._backbone.forward).parameters
            self._cache_name = "cache_params" if is_mamba else "past_key_values"
            self._cache = build_cache(base_model(model).config, longest + min(room, _RESERVED_AHEAD))
        self._ids_BT = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
        self._mask_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
        for index, prompt in enumerate(prompts.values()):
            self._ids_BT[index, longest - len(prompt) :] = torch.tensor(list(prompt))
            self._mask_BT[index, longest - len(prompt) :] = 1

    def steps(self) -> Iterator[dict[int, int]]:
        """Generate, giving at each step the new token of every row that still runs."""
        inputs_BT, mask_BT = self._ids_BT.to(self._device), self._mask_BT.to(self._device)
        positions_BT = (mask_BT.cumsum(dim=-1) - 1).clamp_min(0)
        ended: set[int] = set()
        for step in range(self._num_steps):
            ids_B, logps_B = self._forward(inputs_BT, mask_BT, positions_BT)
            new = self._record(ids_B.tolist(), logps_B.tolist(), ended, is_last=step == self._num_steps - 1)
            yield new
            if len(ended) == len(self._rows):
                return
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones((len(mask_BT), 1))], dim=-1)
            inputs_BT, positions_BT = self._next_inputs(inputs_BT, ids_B, positions_BT)
            if len(ended) >= max(1, _ENDED_SHARE * len(self._rows)):
                running = self._compact(ended)
                inputs_BT, mask_BT, positions_BT = inputs_BT[running], mask_BT[running], positions_BT[running]
                ended = set()

    def _next_inputs(self, inputs_BT: Tensor, ids_B: Tensor, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Give the next tokens alone where the past is kept, else behind all before them."""
        positions_B1 = positions_BT[:, -1:] + 1
        if self._cache is not None:
            return ids_B[:, None], positions_B1
        return torch.cat([inputs_BT, ids_B[:, None]], dim=1), torch.cat([positions_BT, positions_B1], dim=1)

    def completions(self) -> dict[int, Completion]:
        """Give the finished rows by number."""
        return self._done

    def _forward(self, inputs_BT: Tensor, mask_BT: Tensor, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        output = self._backbone(
            input_ids=inputs_BT,
            # Without padding no mask is needed, and attention is faster.
            attention_mask=None if bool(mask_BT.all()) else mask_BT,
            position_ids=positions_BT,
            use_cache=self._cache is not None,
            **({} if self._cache is None else {self._cache_name: self._cache}),
        )
        logits_BV = self._head.transform(self._head.module(output.last_hidden_state[:, -1]))
        ids_B = choose_tokens(logits_BV, self._seen_BV(logits_BV), self._sampling, self._draws_B())
        return ids_B, logits_BV.log_softmax(dim=-1).gather(-1, ids_B[:, None])[:, 0]

    def _seen_BV(self, logits_BV: Tensor) -> Tensor | None:
        """Mark every row's tokens so far, prompt included, where a repetition penalty asks for them."""
        if self._sampling.repetition_penalty == 1.0:
            return None
        seen_BV = torch.zeros(logits_BV.shape, dtype=torch.bool)
        for row, tokens in zip(seen_BV, self._seen, strict=True):
            row[tokens] = True
        return seen_BV.to(self._device)

    def _draws_B(self) -> Tensor | None:
        if not self._sampling.do_sample:
            return None
        return torch.tensor([draw.random() for draw in self._draws], dtype=torch.float32, device=self._device)

    def _record(self, ids: list[int], logps: list[float], ended: set[int], *, is_last: bool) -> dict[int, int]:
        new: dict[int, int] = {}
        for index, (token, logp) in enumerate(zip(ids, logps, strict=True)):
            if index in ended:
                continue
            row = self._rows[index]
            new[row] = token
            self._seen[index].append(token)
            self._logps[row].append(logp)
            if token in self._stops or is_last:
                ended.add(index)
                self._done[row] = Completion(
                    token_ids=tuple(self._seen[index][self._num_prompt[row] :]),
                    logps=tuple(self._logps[row]),
                    finish_reason="stop" if token in self._stops else "length",
                )
        return new

    def _compact(self, ended: set[int]) -> Tensor:
        """Take the rows that have ended out of the batch; give the places of the others."""
        kept = [index for index in range(len(self._rows)) if index not in ended]
        self._rows = [self._rows[index] for index in kept]
        self._seen = [self._seen[index] for index in kept]
        self._draws = [self._draws[index] for index in kept]
        running = torch.tensor(kept, device=self._device)
        assert self._cache is not None, "rows that keep no past are answered one by one"
        self._cache.batch_select_indices(running)
        return running


@contextlib.contextmanager
def generating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation without gradients, and back into the modes its parts were in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def max_positions(model: nn.Module) -> int | None:
    """Give how many tokens a model has positions for, or None where it says nothing."""
    return readable_positions(base_model(model).config)
