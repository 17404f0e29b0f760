# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every optimizer that transformers names: it lowers the loss and resumes exactly, or is refused with its reason."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.training_args import OptimizerNames

from tests.contract.test_optimizers import configured
from tests.unit.training.batches import make_store
from tests.unit.training.runs import TinyRun
from tests.unit.training.test_trainer import Kill, flat_weights, losses
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.assembly import build_optimizer, look_at_optimizer
from tunesmith.models.attention.forest import FOREST
from tunesmith.training.callbacks.averages import AveragedWeights
from tunesmith.training.checkpoints import list_checkpoints
from tunesmith.training.trainer import TunesmithTrainer

REFUSED = {
    "adamw_torch_xla": "TPUs",
    "adamw_torch_npu_fused": "NPUs",
    "adamw_anyprecision": "archived",
    "adalomo": "CUDA",
    "grokadamw": "does not resume",
    "galore_adamw_8bit": "pickle",
    "galore_adamw_8bit_layerwise": "pickle",
    "galore_adafactor": "pickle",
    "galore_adafactor_layerwise": "exclude each other",
}
NAMES = sorted({member.value for member in OptimizerNames} - set(REFUSED))
# One of each implementation; the others differ in a flag of the package that has it.
QUICK = ("adamw_8bit", "schedule_free_adamw", "apollo_adamw_layerwise", "lomo")
KEYS: dict[str, dict[str, Any]] = {
    **{
        name: {"optim_target_modules": "all-linear", "optim_args": "rank=4,update_proj_gap=2,scale=1.0"}
        for name in NAMES
        if name.startswith(("galore", "apollo"))
    },
    "lomo": {"learning_rate": 0.1},
    "sgd": {"learning_rate": 0.1},
    "schedule_free_sgd": {"learning_rate": 0.1},
    "schedule_free_radam": {"learning_rate": 2e-2, "num_train_epochs": 12},  # its first steps are not adaptive,
    "adagrad": {"learning_rate": 1e-2},
}
PACKAGES = {"schedule_free": "schedulefree", "stable_adamw": "optimi", "adamw_torch_": "torchao"}
CASES = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NAMES]


def is_missing(name: str) -> bool:
    own = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop", "lomo", "galore", "apollo")
    if name in own or name.startswith(("galore", "apollo")):
        return False
    package = next((package for start, package in PACKAGES.items() if name.startswith(start)), "bitsandbytes")
    return find_spec(package) is None


def model_of_some_size() -> PreTrainedModel:
    """Matrices of 4,096 numbers and more, from which on states are really kept in 8 or 4 bits."""
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    model.set_attn_implementation(FOREST)
    return model


def run_with(name: str, folder: Path, *callbacks: Any) -> TunesmithTrainer:
    usual = {"save_strategy": "steps", "save_steps": 2, "num_train_epochs": 5, "lr_scheduler_type": "constant"}
    keys: dict[str, Any] = {**usual, "learning_rate": 2e-3, "optim": name, **KEYS.get(name, {})}
    built = build_optimizer(configured(**keys))
    keys |= {"max_grad_norm": 0.0 if "layerwise" in name else 1.0}
    run = TinyRun(
        folder=folder,
        model=model_of_some_size(),
        optimizer=built,
        callbacks=callbacks,
        keys=keys,
        store=make_store((12, 7, 20, 9)),  # every step sees the same rows
    )
    trainer = run.trainer()
    trainer.add_callback(AveragedWeights(trainer))
    return trainer


@pytest.mark.parametrize("name", CASES)
def test_it_lowers_the_loss_and_resumes_to_the_same_bytes(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if is_missing(name):
        with pytest.raises(TunesmithError) as caught:
            build_optimizer(configured(optim=name))
        assert caught.value.problems[0].code == "environment.package_missing"
        return
    torch.compiler.set_stance("force_eager")  # torchao compiles its steps, which takes half a minute
    request.addfinalizer(lambda: torch.compiler.set_stance("default"))
    straight = run_with(name, tmp_path / "straight")
    straight.train()
    course = losses(straight)
    assert course[-1] < course[0]
    with pytest.raises(KeyboardInterrupt):
        run_with(name, tmp_path / "killed", Kill(3)).train()
    resumed = run_with(name, tmp_path / "killed")
    resumed.train(resume_from_checkpoint=str(list_checkpoints(tmp_path / "killed")[-1][1]))
    assert torch.equal(flat_weights(straight), flat_weights(resumed))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_it_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        look_at_optimizer(configured(optim=name, optim_target_modules="all-linear"))
    (problem,) = caught.value.problems
    assert problem.code == "config.optimizer_unusable" and REFUSED[name] in problem.message
    assert problem.where.key == "optim" and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"optim": "galore_adamw"}, "needs optim_target_modules"),
        ({"optim": "adamw_torch", "optim_target_modules": "all-linear"}, "would have no effect"),
        ({"optim": "adamw_torch", "optim_args": "a=1"}, "reads no optim_args"),
        ({"optim": "apollo_adamw", "optim_target_modules": "mlp", "optim_args": "rang=4"}, "knows no rang"),
        ({"optim": "lomo", "gradient_accumulation_steps": 2}, "all of them would have to be kept"),
        ({"optim": "lomo", "finetuning_type": "lora"}, "not with lora"),
        ({"use_galore": True, "galore_layerwise": True, "gradient_accumulation_steps": 4}, "nothing would be saved"),
        ({"use_apollo": True, "apollo_layerwise": True, "fp16": True, "use_cpu": True}, "fp16"),
        ({"use_muon": True, "optim_args": "a=1"}, "optim_args would have no effect"),
        ({"use_badam": True, "badam_switch_interval": 0}, "is 0"),
        ({"use_badam": True, "lisa_activated_layers": 2}, "lisa_activated_layers and use_badam"),
    ],
)
def test_settings_that_do_not_fit_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        look_at_optimizer(configured(**keys))
    assert said in caught.value.problems[0].message


@pytest.mark.parametrize("name", ["use_galore", "use_apollo"])
def test_layerwise_steps_are_the_same_steps(name: str, tmp_path: Path) -> None:
    short, weights = name.removeprefix("use_"), []
    for is_layerwise in (False, True):
        keys = {name: True, f"{short}_rank": 4, f"{short}_update_interval": 2, f"{short}_layerwise": is_layerwise}
        built = build_optimizer(configured(**keys))
        trainer = TinyRun(folder=tmp_path, optimizer=built, keys={"max_grad_norm": 0.0, "max_steps": 5}).trainer()
        trainer.train()
        weights.append(flat_weights(trainer))
        assert any("grad_norm" in entry for entry in trainer.state.log_history) == (not is_layerwise)
    assert torch.equal(*weights)


def test_the_mean_of_a_schedule_free_run_is_what_is_saved(tmp_path: Path) -> None:
    if is_missing("schedule_free_adamw"):
        pytest.skip("schedulefree is not installed")
    trainer = run_with("schedule_free_adamw", tmp_path)
    seen: list[bool] = []
    write = trainer.write_model

    def noting(folder: Path) -> None:
        optimizer: Any = trainer.optimizer
        seen.append(optimizer.param_groups[0]["train_mode"])
        write(folder)

    trainer.write_model = noting  # type: ignore[method-assign]
    trainer.train()
    optimizer: Any = trainer.optimizer
    assert seen and not any(seen) and not optimizer.param_groups[0]["train_mode"]


@pytest.mark.parametrize("mode", ["random", "descending", "fixed"])
def test_badam_trains_one_layer_at_a_time(mode: str, tmp_path: Path) -> None:
    built = build_optimizer(configured(use_badam=True, badam_switch_mode=mode, badam_switch_interval=2))
    trainer = TinyRun(folder=tmp_path, optimizer=built, keys={"max_steps": 4}).trainer()
    before = {name: weight.detach().clone() for name, weight in trainer.module.named_parameters()}
    trainer.train()
    changed = {
        name.split(".")[2]
        for name, weight in trainer.module.named_parameters()
        if not torch.equal(weight, before[name])
    }
    assert changed == ({"0"} if mode == "fixed" else {"0", "1"})


@pytest.mark.parametrize("mask", ["adjacent", "scatter"])
def test_badam_of_a_ratio_changes_that_share(mask: str, tmp_path: Path) -> None:
    built = build_optimizer(
        configured(use_badam=True, badam_mode="ratio", badam_update_ratio=0.25, badam_mask_mode=mask)
    )
    trainer = TinyRun(folder=tmp_path, optimizer=built, keys={"max_steps": 3}).trainer()
    before = {name: weight.detach().clone() for name, weight in trainer.module.named_parameters()}
    trainer.train()
    for name, weight in trainer.module.named_parameters():
        share = float((weight != before[name]).float().mean())
        assert share == 0 if "embed" in name or name == "model.norm.weight" else share > 0.2, name
        assert weight.ndim == 1 or share <= 0.251, name
