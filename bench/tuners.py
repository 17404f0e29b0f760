# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every way to train on every family: trains, resumes, merges, with a 4-bit base, with packed rows. One cell a pair.

    PYTHONPATH=src:. python bench/tuners.py [--families llama gemma2 … smollm2-135m] [--methods lora …] \
        [--budget_minutes 15]

Tiny random models have width 64, so that 4-bit blocks fit; smollm2-135m is the real one. The page
docs/reference/tuners.md is written from the results by scripts/tuner_table.py.
"""

import argparse
import copy
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cells import Cell, run_cells
from torch import Tensor, nn

from tests.contract.test_forest import token_row
from tests.unit.models.tiny_models import FAMILIES, PADDED_FAMILIES, own_attention, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import NO_PARENT, Batch
from tunesmith.data.collate import collate
from tunesmith.models.attention.packing import can_pack, self_test
from tunesmith.models.dequantise import dequantise, merge_dequantised
from tunesmith.models.head import check_head
from tunesmith.models.load import load_model, resolve_model
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners

REAL = "smollm2-135m"
STEPS = 4
# Name in the table → (finetuning_type, keys, learning rate). Sizes fit models of width 64.
METHODS: dict[str, tuple[str, dict[str, Any], float]] = {
    "full": ("full", {}, 1e-3),
    "freeze": ("freeze", {"freeze_trainable_layers": 1}, 2e-3),
    "lora": ("lora", {}, 1e-2),
    "lora rslora": ("lora", {"use_rslora": True}, 5e-3),
    "lora dora": ("lora", {"use_dora": True}, 1e-2),
    "lora pissa": ("lora", {"pissa_init": True}, 3e-3),
    "lora olora": ("lora", {"init_lora_weights": "olora"}, 3e-3),
    "lora on experts": ("lora", {"target_parameters": "experts"}, 1e-2),
    "oft": ("oft", {"oft_block_size": 8}, 1e-2),
    "adalora": ("adalora", {"adalora_init_r": 6, "adalora_target_r": 4}, 5e-2),
    "adapter": ("adapter", {"adapter_length": 16}, 1e-2),
    "boft": ("boft", {}, 1e-2),
    "fourierft": ("fourierft", {"fourier_n_frequency": 200}, 1e-1),
    "hra": ("hra", {}, 1e-2),
    "ia3": ("ia3", {}, 1e-1),
    "llamapro": ("llamapro", {"llamapro_num_new_blocks": 1}, 1e-2),
    "loha": ("loha", {}, 2e-2),
    "lokr": ("lokr", {}, 2e-2),
    "miss": ("miss", {"miss_rank": 16}, 1e-2),
    "prefix_tuning": ("prefix_tuning", {"prefix_num_tokens": 4}, 5e-2),
    "prompt_tuning": ("prompt_tuning", {"prompt_num_tokens": 4}, 5e-2),
    "reft": ("reft", {}, 2e-2),
    "trainable_tokens": ("trainable_tokens", {"trainable_token_ids": tuple(range(3, 90))}, 5e-2),
    "vblora": ("vblora", {"vblora_vector_length": 16, "vblora_num_vectors": 32}, 1e-2),
    "vera": ("vera", {"vera_rank": 32}, 1e-1),
}
# Steps on a real model are smaller, by this much: its weights are no noise.
REAL_RATE = 0.05
WIDE = {"hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 64}


def main() -> None:
    """Measure all cells that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    families = [name for name in (*FAMILIES, *PADDED_FAMILIES) if name != "llama_biased"]
    parser.add_argument("--families", nargs="+", default=[*families, REAL])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budget_minutes", type=float, default=15)
    parser.add_argument("--results", default="tuners", help="Folder under bench/results.")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cells = [
        Cell(name=f"{family}-{method.replace(' ', '-')}", measure=partial(measure, family, method))
        for family in chosen.families
        for method in chosen.methods
        if method != "lora on experts" or has_fused_experts(family)
    ]
    run_cells(chosen.results, cells, budget_minutes=chosen.budget_minutes)


def has_fused_experts(family: str) -> bool:
    """Say whether a family keeps its experts in one weight."""
    return family in PADDED_FAMILIES and family not in ("glm4", "internlm3")


def measure(family: str, method: str) -> Mapping[str, Any]:
    """Run everything of one cell; each part says what it found, or why it was refused."""
    with model_folder(family) as folder:
        subject = Subject(folder, method, is_real=family == REAL)
        columns: dict[str, Callable[[], Mapping[str, Any]]] = {
            "trains": subject.trains,
            "resumes": subject.resumes,
            "merges": subject.merges,
            "4-bit base": subject.on_four_bits,
            "packed rows": subject.packed,
        }
        found = {name: outcome(column) for name, column in columns.items()}
    return {"family": family, "method": method, "tuner": METHODS[method][0], **found}


def outcome(column: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Give what a part measured, the refusal it met, or the fault that ended it."""
    try:
        return column()
    except TunesmithError as error:
        return {"ok": None, "refused": error.problems[0].code, "message": error.problems[0].message}
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        traceback.print_exc()
        return {"ok": False, "fault": f"{type(error).__name__}: {error}"}


def allowed(logits: Tensor) -> float:
    """Give how far a merge may move logits: float32 holds large ones less finely."""
    return max(1e-4, 1e-5 * float(logits.abs().max()))


@contextmanager
def model_folder(family: str) -> Iterator[Path]:
    """Give a folder with a family's tiny model, or the real one."""
    if family == REAL:
        yield resolve_model(REAL, None)
        return
    with tempfile.TemporaryDirectory() as place:
        model = tiny_model(family, attention=own_attention(family), **WIDE)
        model.save_pretrained(place)
        yield Path(place)


class Subject:
    """One method on one model."""

    def __init__(self, folder: Path, method: str, *, is_real: bool) -> None:
        self.folder, (self.name, keys, rate) = folder, METHODS[method]
        self.keys = {**keys, "lora_rank": 4} if self.name == "lora" else keys
        self.rate = rate * (REAL_RATE if is_real else 1.0)
        self.rows = [token_row(number, [length], (NO_PARENT,), 90) for number, length in enumerate((17, 9, 12))]

    def trains(self) -> Mapping[str, Any]:
        """Take some steps; the loss falls and only the tuner's weights move."""
        model, tuner = self._fresh()
        trained = {name for name, _ in trained_parameters(model)}
        before, start = self._loss(model), {name: value.detach().clone() for name, value in model.named_parameters()}
        self._steps(model, tuner, range(STEPS))
        moved = {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
        after = self._loss(model)
        share = sum(start[name].numel() for name in trained) / sum(value.numel() for value in start.values())
        return {
            "ok": after < before and bool(moved) and moved <= trained,
            "loss": [before, after],
            "trained_share": share,
        }

    def resumes(self) -> Mapping[str, Any]:
        """Stop half-way, save, build everything anew, go on: the same bytes as without a stop."""
        model, tuner = self._fresh()
        half = STEPS // 2
        optimizer = self._steps(model, tuner, range(half))
        with tempfile.TemporaryDirectory() as place:
            tuner.save(model, Path(place))
            other, again = self._fresh()
            again.restore(other, Path(place))
        again.restore_running(other, {name: value.clone() for name, value in tuner.running_state(model).items()})
        resumed = self._optimizer(other)
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # tensors of the same type would be shared
        self._steps(model, tuner, range(half, STEPS), optimizer)
        self._steps(other, again, range(half, STEPS), resumed)
        pairs = zip(trained_parameters(model), trained_parameters(other), strict=True)
        return {"ok": all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in pairs)}

    def merges(self) -> Mapping[str, Any]:
        """Merge, and compare the logits with those before."""
        model, tuner = self._fresh()
        self._steps(model, tuner, range(STEPS))
        expected = self._logits(model)
        difference = float((self._logits(tuner.merge(model)) - expected).abs().max())
        return {"ok": difference < allowed(expected), "difference": difference}

    def on_four_bits(self) -> Mapping[str, Any]:
        """Train on NF4 weights, load the result onto NF4 weights again, merge it into the dequantised weights."""
        if not tuners.get(self.name).takes_quantised:
            return {"ok": None, "refused": "model.quantization_not_trainable"}
        model, tuner = self._fresh(four_bits=True)
        before = self._loss(model)
        self._steps(model, tuner, range(STEPS))
        after, expected = self._loss(model), self._logits(model)
        with tempfile.TemporaryDirectory() as place:
            tuner.save(model, Path(place))
            loaded = self._tuner().load(self._base(four_bits=True), Path(place), is_trainable=False)
            reload = float((self._logits(loaded) - expected).abs().max())
        found: dict[str, Any] = {"ok": after < before and reload < 1e-4, "loss": [before, after], "reload": reload}
        if tuner.merge_refused is None:
            plain = dequantise(self._base(four_bits=True))
            merged = merge_dequantised(tuner, model, plain)
            found["merge"] = float((self._logits(merged) - expected).abs().max())
            found["ok"] = found["ok"] and found["merge"] < 10 * allowed(expected)
        return found

    def packed(self) -> Mapping[str, Any]:
        """Compare packed rows and trees with each path alone, on the trained model; or say why rows are padded."""
        model, tuner = self._fresh()
        self._steps(model, tuner, range(1))
        is_allowed, reason = can_pack(model)
        if not is_allowed:
            return {"ok": None, "padded": reason}
        report = self_test(model)
        return {"ok": report.is_equal, "difference": report.difference}

    def _base(self, *, four_bits: bool = False) -> Any:
        wanted = Quantization(method="bnb", bits=4) if four_bits else None
        cpu = torch.device("cpu")
        return load_model(self.folder, dtype=torch.float32, device=cpu, quantization=wanted)

    def _tuner(self) -> Tuner:
        kind = tuners.get(self.name)
        return kind(kind.Params.model_validate(self.keys), seed=1)

    def _fresh(self, *, four_bits: bool = False) -> tuple[Any, Tuner]:
        base, tuner = self._base(four_bits=four_bits), self._tuner()
        if not four_bits:
            check_head(base)
        return tuner.attach(base).train(), tuner

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW([weight for _, weight in trained_parameters(model)], lr=self.rate, weight_decay=0.0)

    def _steps(
        self, model: nn.Module, tuner: Tuner, steps: Sequence[int], optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.Optimizer:
        optimizer = optimizer or self._optimizer(model)
        for step in steps:
            optimizer.zero_grad()
            loss = self._mean_loss(model, self._batch(model)) + tuner.penalty(model)
            loss.backward()
            optimizer.step()
            tuner.after_step(model, step=step + 1, num_steps=STEPS)
        return optimizer

    def _batch(self, model: nn.Module) -> Batch:
        return collate(self.rows, layout="packed" if can_pack(model)[0] else "padded", pad_id=0)

    def _mean_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return -(score_batch(model, batch).logps_N * batch.target_weights_N).sum() / batch.target_weights_N.sum()

    @torch.no_grad()
    def _loss(self, model: nn.Module) -> float:
        return float(self._mean_loss(model, self._batch(model)))

    @torch.no_grad()
    def _logits(self, model: Any) -> Tensor:
        ids = torch.from_numpy(self.rows[0].input_ids).long()[None]
        model.eval()
        logits: Tensor = model(input_ids=ids).logits.float()
        return logits


if __name__ == "__main__":
    main()
