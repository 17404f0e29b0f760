# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a model type must do to be called verified: one tiny random model, from loading to the merged folder.

Every part goes through the code of training, export and chat; bench/families.py writes what it finds for all types.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from tests.contract.test_forest import token_row
from tests.unit.models.attention.random_families import random_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import NO_PARENT, Batch, Sampling
from tunesmith.data.collate import collate
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.anatomy import num_layers
from tunesmith.models.attention.packing import can_pack, self_test
from tunesmith.models.head import check_head
from tunesmith.models.load import load_model
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.scores import score_batch
from tunesmith.models.targets import all_linear_names
from tunesmith.models.tuners.base import Tuner, trained_parameters, tuners
from tunesmith.models.tuners.lora import fused_experts

STEPS = 3
NEW_TOKENS = 5
MAX_REASON = 200
LENGTHS = (17, 9, 12)
# Faults of a model's own code on the way; anything else is a fault of the contract and ends the bench.
FAULTS = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    ImportError,
    StrictDataclassError,
)
Found = Mapping[str, Any]


class Unequal(AssertionError):
    """Two computations that must agree do not."""


def run_family(model_type: str) -> dict[str, Any]:
    """Run every part in order; one that needs an earlier part that failed is not reached."""
    with tempfile.TemporaryDirectory() as place:
        run = FamilyRun(model_type, Path(place))
        parts: dict[str, Callable[[], Found]] = {
            "loads": run.loads,
            "scores": run.scores,
            "rows": run.rows,
            "generates": run.generates,
            "trains": run.trains,
            "reloads": run.reloads,
            "merges": run.merges,
            "merged_folder": run.merged_folder,
        }
        outcomes: dict[str, dict[str, Any]] = {}
        for name, part in parts.items():
            outcomes[name] = outcome(part) if run.is_ready_for(name) else {"ok": None, "why": "not reached"}
            if "why" in outcomes[name]:  # texts of results name no folder of the machine
                outcomes[name]["why"] = outcomes[name]["why"].replace(place, "")[:MAX_REASON]
    libraries = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"model_type": model_type, **run.facts, "parts": outcomes, "libraries": libraries}


def outcome(part: Callable[[], Found]) -> dict[str, Any]:
    """Give what a part measured, the refusal it met, or the fault that ended it."""
    try:
        return {"ok": True, **part()}
    except TunesmithError as error:
        return {"ok": False, "refused": error.problems[0].code, "why": error.problems[0].message}
    except FAULTS as error:
        return {"ok": False, "why": f"{type(error).__name__}: {' '.join(str(error).split())}"}


@dataclass
class FamilyRun:
    """One model type on its way; each part leaves what the next one needs."""

    model_type: str
    place: Path
    facts: dict[str, Any] = field(default_factory=dict)
    base: Any = None
    model: Any = None
    tuner: Tuner | None = None
    expected: Tensor | None = None
    merged: Any = None

    def is_ready_for(self, part: str) -> bool:
        """Say whether the part before it left what it needs."""
        needed = {"loads": True, "reloads": self.expected, "merges": self.expected, "merged_folder": self.merged}
        return needed.get(part, self.base) is not None

    def loads(self) -> Found:
        """Save the tiny model, towers for images included, and load the folder: the same logits."""
        own = random_model(self.model_type, attention=None, is_whole=True)
        folder = self._folder("base")
        save_whole_model(own, folder)
        self.base = self._load("base")
        self.facts["class"] = type(self.base).__name__
        self.facts["layers"] = num_layers(self.base)
        self.facts["targets"] = all_linear_names(self.base)
        self.facts["fused_experts"] = sorted({name.rpartition(".")[2] for name in fused_experts(self.base)})
        return {"difference": self._agree(self._logits(self.base), self._logits(own))}

    def scores(self) -> Found:
        """Let the scorer know the head, and no token depend on a later one."""
        check_head(self.base)
        ids = torch.arange(3, 20)[None]
        other = ids.clone()
        other[0, -1] = 60
        first, second = (self._logits(self.base, given)[:, :-1] for given in (ids, other))
        return {"difference": self._agree(first, second, "a later token changes what comes before it")}

    def rows(self) -> Found:
        """Compare rows in one batch, packed or else padded, with each row alone."""
        is_packed, reason = can_pack(self.base)
        if is_packed:
            report = self_test(self.base)
            if not report.is_equal:
                raise Unequal(report.reason)
            return {"layout": "packed", "difference": report.difference}
        together = self._logps(self._batch())
        alone = torch.cat([self._logps(collate([row], layout="padded", pad_id=0)) for row in self._rows()])
        return {"layout": "padded", "reason": reason, "difference": self._agree(together, alone)}

    def generates(self) -> Found:
        """Answer two prompts of different lengths in one batch, and by whole forward passes without a cache."""
        prompts = [list(range(5, 16)), [40, 8, 30, 21]]
        engine = TorchEngine(self.base, pad_id=0)
        answers = engine.generate(prompts, Sampling(max_new_tokens=NEW_TOKENS, do_sample=False, stop_ids=()))
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt])
            for _ in range(NEW_TOKENS):
                ids = torch.cat([ids, self._logits(self.base, ids)[:, -1:].argmax(-1)], dim=1)
            if list(answer.token_ids) != ids[0, len(prompt) :].tolist():
                raise Unequal(f"generated {list(answer.token_ids)}, without a cache {ids[0, len(prompt) :].tolist()}")
        return {"past": engine.past()}

    def trains(self) -> Found:
        """Attach LoRA with its default targets, take some steps: the loss falls, the base stays."""
        before_attaching = self._logits(self.base)
        self.tuner = self._lora()
        model = self.tuner.attach(self._load("base"))
        self._agree(self._logits(model), before_attaching, "LoRA does not start as the identity")
        frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
        optimizer = torch.optim.AdamW([weight for _, weight in trained_parameters(model)], lr=1e-2, weight_decay=0.0)
        losses = [self._step(model, optimizer) for _ in range(STEPS)]
        with torch.no_grad():
            losses.append(float(self._loss(model)))
        moved = [name for name, value in model.named_parameters() if name in frozen and not value.equal(frozen[name])]
        if losses[-1] >= losses[0] or moved:
            raise Unequal(f"loss {losses[0]:.4f} → {losses[-1]:.4f}, frozen weights that moved: {moved[:3]}")
        self.model, self.expected = model, self._logits(model)
        return {"loss": [losses[0], losses[-1]]}

    def reloads(self) -> Found:
        """Save the adapter and load it on a fresh base: the same logits."""
        assert self.tuner is not None and self.expected is not None
        self.tuner.save(self.model, self._folder("adapter"))
        loaded = self._lora().load(self._load("base"), self.place / "adapter", is_trainable=False)
        return {"difference": self._agree(self._logits(loaded), self.expected)}

    def merges(self) -> Found:
        """Merge the adapter: the same logits."""
        assert self.tuner is not None and self.expected is not None
        merged = self.tuner.merge(self.model)
        difference = self._agree(self._logits(merged), self.expected)
        self.merged = merged
        return {"difference": difference}

    def merged_folder(self) -> Found:
        """Save the merged model and load it as a plain one: the same logits."""
        assert self.expected is not None
        save_whole_model(self.merged, self._folder("merged"))
        return {"difference": self._agree(self._logits(self._load("merged")), self.expected)}

    def _folder(self, name: str) -> Path:
        folder = self.place / name
        folder.mkdir()
        return folder

    def _load(self, name: str) -> Any:
        return load_model(self.place / name, dtype=torch.float32, device=torch.device("cpu")).eval()

    def _lora(self) -> Tuner:
        kind = tuners.get("lora")
        return kind(kind.Params.model_validate({"lora_rank": 4}), seed=1)

    def _rows(self) -> list[Any]:
        return [token_row(number, [length], (NO_PARENT,), 90) for number, length in enumerate(LENGTHS)]

    def _batch(self) -> Batch:
        return collate(self._rows(), layout="packed" if can_pack(self.base)[0] else "padded", pad_id=0)

    def _loss(self, model: nn.Module) -> Tensor:
        batch = self._batch()
        return -(score_batch(model, batch).logps_N * batch.target_weights_N).sum() / batch.target_weights_N.sum()

    def _step(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        optimizer.zero_grad()
        loss = self._loss(model.train())
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _logps(self, batch: Batch) -> Tensor:
        return score_batch(self.base, batch).logps_N

    @torch.no_grad()
    def _logits(self, model: Any, ids: Tensor | None = None) -> Tensor:
        given = torch.from_numpy(self._rows()[0].input_ids).long()[None] if ids is None else ids
        logits: Tensor = model.eval()(input_ids=given, use_cache=False).logits.float()
        return logits

    def _agree(self, found: Tensor, expected: Tensor, what: str = "the results differ") -> float:
        """Give the largest difference, or fail: float32 holds large logits less finely."""
        difference = float((found - expected).abs().max())
        if not difference < max(1e-4, 1e-5 * float(expected.abs().max())):
            raise Unequal(f"{what} (by {difference:.1e})")
        return difference
