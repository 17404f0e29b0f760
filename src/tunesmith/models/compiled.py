# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles the decoder layers of a model for training steps: one graph for all of them and for every length.

Only passes with gradients take the compiled way; evaluation, generation and references stay eager, so that nothing is
compiled twice. Left out are attention, whose layout changes with every batch, and a first layer whose input needs no
gradient, which would be a second graph.
"""

import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn

from tunesmith.core.optional import has_package
from tunesmith.core.types import Batch, ForestLayout, LayoutKind
from tunesmith.models.anatomy import backbone, decoder_layers
from tunesmith.models.attention.packing import computed_dtype
from tunesmith.models.cache import user_cache
from tunesmith.models.scores import hidden_states
from tunesmith.models.tuners.base import trained_parameters

# Work of a run in floating-point operations (on CPUs for each thread) from which compiling pays. Measured on a CPU
# without AMX: it takes 10 to 25 s and saves 2.5 to 6 %, so this is about twice the break-even. For GPUs it is a guess.
_WORTH = {"cpu": 1.0e14, "cuda": 5.0e16}
# Largest relative difference of the last hidden states and of gradients that the rounding of one layer explains; over
# layers it grows as the root of their number (bfloat16: 0.9e-2 at 2, 2.6e-2 at 4, 8e-2 at 30). A wrong sum gives 1.
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
_TRIAL_ENDS: tuple[int, ...] = (37, 79)
# Share of a layer's activations that compiled code keeps on a CPU; what is cheap is computed again. Measured: a third
# of them less for 2 % of the speed, and for 8 to 9 % beside other work.
_KEPT_ACTIVATIONS = 0.6


@dataclass(frozen=True, kw_only=True)
class CompileTrial:
    """What compiling a model and comparing it with itself showed; `reason` is for the user."""

    is_equal: bool
    reason: str
    seconds: float = 0.0


def cannot_compile(device: torch.device) -> str:
    """Say why compiled layers cannot be had on this machine; empty where they can."""
    if device.type == "cpu":
        compilers = ["cl"] if sys.platform == "win32" else ["g++", "clang++", "c++"]
        named = os.environ.get("CXX")
        has_compiler = any(map(shutil.which, [named, *compilers] if named else compilers))
        return "" if has_compiler else f"no C++ compiler is installed ({' or '.join(compilers)})"
    if device.type == "cuda":
        return "" if has_package("triton") else "triton is not installed"
    return f"layers are not compiled on {device.type}"


def worth_compiling(model: nn.Module, *, tokens: int, device: torch.device) -> tuple[bool, str]:
    """Say whether a run over so many tokens is long enough for compiling to pay, and why; the same at every start."""
    work = 4.0 * sum(parameter.numel() for parameter in model.parameters()) * tokens
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    share = work / (_WORTH.get(device.type, float("inf")) * threads)
    if share < 1.0:
        return False, f"the run is short, {100 * share:.0f} % of the work from which compiling pays"
    return True, f"the run is long, {share:.1f} times the work from which compiling pays"


def compile_layers(
    model: nn.Module, layout: LayoutKind, *, backend: str = "inductor", mode: str | None = None
) -> CompileTrial:
    """Compile the decoder layers and compare a small step with the eager one; where they differ, all stays eager.

    Call it as training computes: in training mode, and under autocast where that is used. `backend` and `mode` are
    those of torch.compile. Compiled code is kept in the user's cache folder for later runs.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache() / "compiled"))
    if all(parameter.device.type == "cpu" for parameter in model.parameters()):
        torch._functorch.config.activation_memory_budget = _KEPT_ACTIVATIONS
    was_training = model.training
    model.train()
    begin = time.monotonic()
    expected = _small_step(model, layout)
    _, layers = decoder_layers(model)
    kinds = {kind: _compiled_kind(kind, backend, mode) for kind in sorted({type(layer) for layer in layers}, key=str)}
    for layer in layers:
        layer.__class__ = kinds[type(layer)]
    try:
        tolerance = _TOLERANCES[computed_dtype(model)] * math.sqrt(len(layers))
        trial = _judge(expected, _small_step(model, layout), tolerance)
    except RuntimeError as error:  # the base of all errors of torch.compile
        trial = CompileTrial(is_equal=False, reason=f"compiling failed ({' '.join(str(error).split())[:200]})")
    finally:
        model.train(was_training)
    if not trial.is_equal:
        undo_compiling(model)
    return CompileTrial(is_equal=trial.is_equal, reason=trial.reason, seconds=time.monotonic() - begin)


def undo_compiling(model: nn.Module) -> None:
    """Give the decoder layers back their own class."""
    _, layers = decoder_layers(model)
    for layer in layers:
        if _COMPILED in vars(type(layer)):
            layer.__class__ = type(layer).__mro__[1]


_COMPILED = "_is_compiled_by_tunesmith"


def _compiled_kind(kind: type[nn.Module], backend: str, mode: str | None) -> type[nn.Module]:
    """Make a subclass whose forward is compiled in training steps.

    transformers wraps the forward of every such subclass with checkpointing, so checkpoints stay outside the graph.
    """
    plain: Callable[..., Any] = getattr(kind.forward, "__wrapped__", kind.forward)
    options: dict[str, Any] = {"fallback_random": True} if backend == "inductor" and mode is None else {}
    compiled = torch.compile(plain, dynamic=True, backend=backend, mode=mode, options=options or None)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        is_step = self.training and torch.is_grad_enabled() and states.requires_grad
        return (compiled if is_step else plain)(self, *args, **kwargs)

    members = {"forward": forward, "__module__": kind.__module__, "__qualname__": kind.__qualname__, _COMPILED: True}
    return type(kind.__name__, (kind,), members)


def _small_step(model: nn.Module, layout: LayoutKind) -> tuple[Tensor, list[Tensor]]:
    """Compute the last hidden states of a few tokens and gradients of up to four trained weights."""
    weights = [weight for _, weight in trained_parameters(backbone(model))]
    chosen = [weights[index] for index in sorted({0, 1, len(weights) - 2, len(weights) - 1}) if weights]
    batch = _trial_batch(model, layout)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        states = hidden_states(model, batch)
        slope = torch.randn(states.shape, generator=torch.Generator().manual_seed(1)).to(states)
        gradients = torch.autograd.grad((states * slope).sum(), chosen, allow_unused=True)
    return states.detach(), [gradient for gradient in gradients if gradient is not None]


def _trial_batch(model: nn.Module, layout: LayoutKind) -> Batch:
    embeddings = backbone(model).get_input_embeddings()  # type: ignore[operator]
    device, tokens = embeddings.weight.device, _TRIAL_ENDS[-1]
    ids = torch.randint(0, embeddings.weight.shape[0], (1, tokens), generator=torch.Generator().manual_seed(0))
    forest = ForestLayout(starts=(0, *_TRIAL_ENDS[:-1]), ends=_TRIAL_ENDS, parents=(-1,) * len(_TRIAL_ENDS))
    is_packed, nothing = layout == "packed", torch.zeros(0, dtype=torch.long, device=device)
    positions = torch.from_numpy(forest.positions()).long() if is_packed else torch.arange(tokens)
    rows = 1 if is_packed else 2
    return Batch(
        # Views would be compiled apart from the tensors of true batches, which own their memory.
        input_ids_BT=ids.repeat(rows, 1).to(device),
        position_ids_BT=positions.repeat(rows, 1).to(device),
        attention_mask_BT=None if is_packed else torch.ones(rows, tokens, dtype=torch.long, device=device),
        layout=forest if is_packed else None,
        source_index_N=nothing,
        target_ids_N=nothing,
        target_weights_N=nothing.float(),
        target_segment_N=nothing,
        segment_row_S=nothing,
        segment_names=(),
        rows=(),
        num_tokens=rows * tokens,
    )


def _judge(expected: tuple[Tensor, list[Tensor]], found: tuple[Tensor, list[Tensor]], tolerance: float) -> CompileTrial:
    pairs = [(expected[0], found[0]), *zip(expected[1], found[1], strict=True)]
    gap = max(_relative_difference(one, other) for one, other in pairs)
    verdict = "equal" if gap <= tolerance else "differ from"
    reason = f"compiled layers {verdict} eager ones (difference {gap:.1e}, allowed {tolerance:.0e})"
    return CompileTrial(is_equal=gap <= tolerance, reason=reason)


def _relative_difference(expected: Tensor, found: Tensor) -> float:
    scale = expected.float().norm().clamp_min(1e-30)
    return float((expected.float() - found.float()).norm() / scale)
