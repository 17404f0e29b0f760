# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of every optimizer that a key chooses: it lowers the loss, resumes exactly, and keeps what it says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.training.runs import TinyRun, tiny_model
from tests.unit.training.test_trainer import Kill, flat_weights, losses
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.assembly import build_optimizer, look_at_optimizer
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.training.checkpoints import list_checkpoints
from tunesmith.training.optimizers.base import OptimizerPart, optimizers
from tunesmith.training.trainer import TunesmithTrainer

NAMES = optimizers.names()
# Values that choose each optimizer; small, so that a tiny model has more than one projection or block.
CHOSEN: dict[str, dict[str, Any]] = {
    "loraplus_lr_ratio": {"loraplus_lr_ratio": 4.0},
    "use_galore": {"use_galore": True, "galore_rank": 4, "galore_update_interval": 2},
    "use_apollo": {"use_apollo": True, "apollo_rank": 4, "apollo_update_interval": 2, "apollo_scale": 4.0},
    "use_badam": {"use_badam": True, "badam_switch_interval": 2},
    "lisa_activated_layers": {"lisa_activated_layers": 1, "lisa_step_interval": 2},
}
# Bytes of state over AdamW's, at most, on the tiny model.
LARGEST_STATE = {
    "use_galore": 0.75,
    "use_apollo": 0.75,
    "use_muon": 0.8,
    "use_badam": 0.42,
    "lisa_activated_layers": 0.61,
    "use_adam_mini": 0.53,
}
# Some of the weights stay as they are, for a while or for ever.
TRAIN_A_PART = ("use_badam", "lisa_activated_layers")


def configured(**keys: Any) -> Any:
    run = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out"}
    return load_config({**run, "finetuning_type": "full", **keys}, command="train")


def part(name: str, **keys: Any) -> OptimizerPart:
    kind = optimizers.get(name)
    tuner = (kind.finetuning_types or ("full",))[0]
    built = build_optimizer(configured(finetuning_type=tuner, **{**CHOSEN.get(name, {name: True}), **keys}))
    assert isinstance(built, kind)
    return built


def run_with(name: str, folder: Path, *callbacks: Any, **keys: Any) -> TunesmithTrainer:
    chosen = part(name)
    run: dict[str, Any] = {"folder": folder, "optimizer": chosen, "callbacks": list(callbacks), "keys": keys}
    if "full" not in (chosen.finetuning_types or ("full",)):
        tuner = LoraTuner(LoraParams.model_validate({"lora_rank": 4}))
        run |= {"tuner": tuner, "model": tuner.attach(tiny_model())}
    return TinyRun(**run).trainer()


def state_bytes(optimizer: Any) -> int:
    def size(value: Any) -> int:
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        return sum(map(size, value)) if isinstance(value, list | tuple) else 0

    return size(optimizer.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_lowers_the_loss(name: str, tmp_path: Path) -> None:
    trainer = run_with(name, tmp_path, num_train_epochs=8, learning_rate=1e-2)
    trainer.train()
    course = losses(trainer)
    assert sum(course[-3:]) < 0.98 * sum(course[:3])


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_resumes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    keys = {"save_strategy": "steps", "save_steps": 3, "num_train_epochs": 2}
    straight = run_with(name, tmp_path / "straight", **keys)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        run_with(name, tmp_path / "killed", Kill(5), **keys).train()
    resumed = run_with(name, tmp_path / "killed", **keys)
    resumed.train(resume_from_checkpoint=str(list_checkpoints(tmp_path / "killed")[-1][1]))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))


@pytest.mark.parametrize("name", sorted(LARGEST_STATE))
def test_its_state_is_smaller_than_that_of_adamw(name: str, tmp_path: Path) -> None:
    sizes = []
    for trainer in (
        TinyRun(folder=tmp_path / "adamw", keys={"max_steps": 1}).trainer(),
        run_with(name, tmp_path, max_steps=1),
    ):
        trainer.train()
        sizes.append(state_bytes(trainer.optimizer))
    assert 0 < sizes[1] < LARGEST_STATE[name] * sizes[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAIN_A_PART])
def test_every_trained_weight_is_stepped_once(name: str, tmp_path: Path) -> None:
    trainer = run_with(name, tmp_path, max_steps=1)
    trainer.train()
    optimizer: Any = trainer.optimizer
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    trained = [parameter for _, parameter in trained_parameters(trainer.module)]
    assert len(held) == len(trained) and set(held) == set(trained)


def test_two_optimizers_at_once_are_refused() -> None:
    for keys, said in (
        ({"use_galore": True, "use_apollo": True}, "use_apollo and use_galore"),
        ({"use_muon": True, "optim": "adafactor"}, "optim: adafactor"),
        ({"loraplus_lr_ratio": 16}, "not with full"),
        ({"use_galore": True, "finetuning_type": "lora"}, "not with lora"),
    ):
        with pytest.raises(TunesmithError) as caught:
            look_at_optimizer(configured(**keys))
        (problem,) = caught.value.problems
        assert problem.code == "config.keys_conflict" and said in problem.message and caught.value.exit_code == 2
    look_at_optimizer(configured(use_muon=True, optim="adamw_torch"))
    look_at_optimizer(configured(loraplus_lr_ratio=16, finetuning_type="lora", optim="sgd"))


def test_keys_of_an_optimizer_that_is_not_chosen_are_told() -> None:
    (warning,) = configured(galore_rank=4).warnings
    assert warning.code == "config.keys_inactive" and "galore_rank" in warning.message


@pytest.mark.parametrize("name", ["use_galore", "use_apollo"])
def test_targets_that_match_nothing_are_refused(name: str, tmp_path: Path) -> None:
    key = name.replace("use_", "") + "_target"
    with pytest.raises(TunesmithError) as caught:
        TinyRun(folder=tmp_path, optimizer=part(name, **{key: "q_prj"})).trainer().create_optimizer()
    assert caught.value.problems[0].where.key == key and "Did you mean 'q_proj'?" in caught.value.problems[0].remedy


def test_loraplus_gives_b_a_faster_rate(tmp_path: Path) -> None:
    tuner = LoraTuner(
        LoraParams.model_validate({"lora_target": ["q_proj", "embed_tokens"], "additional_target": ["norm"]})
    )
    model = tuner.attach(tiny_model())
    chosen = part("loraplus_lr_ratio", loraplus_lr_ratio=8.0, loraplus_lr_embedding=1e-5)
    keys = {"learning_rate": 1e-3, "weight_decay": 0.1}
    optimizer = (
        TinyRun(folder=tmp_path, model=model, tuner=tuner, optimizer=chosen, keys=keys).trainer().create_optimizer()
    )
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    decays = {id(weight): group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
    for name, weight in trained_parameters(model):
        expected = 1e-5 if "lora_embedding_B" in name else 8e-3 if "lora_B" in name or weight.ndim == 1 else 1e-3
        assert rates[id(weight)] == pytest.approx(expected), name
        assert decays[id(weight)] == (0.0 if weight.ndim == 1 else 0.1), name


@pytest.mark.parametrize("kind", ["std", "reverse_std", "left", "right", "full"])
def test_galore_of_full_rank_is_a_rotated_adam(kind: str, tmp_path: Path) -> None:
    """With scale 1 and a rank above every dimension nothing is lost: the first step is as long as Adam's."""
    chosen = part("use_galore", galore_rank=64, galore_scale=1.0, galore_proj_type=kind)
    trainer = TinyRun(
        folder=tmp_path, optimizer=chosen, keys={"max_steps": 1, "lr_scheduler_type": "constant"}
    ).trainer()
    before = {name: weight.detach().clone() for name, weight in trained_parameters(trainer.module)}
    trainer.train()
    for name, weight in trained_parameters(trainer.module):
        if "_proj" in name:
            step = (weight.detach() - before[name]).norm()
            assert 0.1 < step / (1e-2 * weight.numel() ** 0.5) <= 1.001, name
