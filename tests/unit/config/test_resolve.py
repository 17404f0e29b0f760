# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Resolution of a whole configuration: all problems at once, old and pending names, variables, rules, choices."""

from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.config.resolve import Command
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError

SOUND: dict[str, Any] = {"model_name_or_path": "m", "dataset": "d", "output_dir": "o"}


def train(*words: str, **keys: Any) -> RunConfig:
    return load_config({**SOUND, **keys}, command="train", overrides=words)


def problems(*words: str, command: Command = "train", **keys: Any) -> tuple[Problem, ...]:
    with pytest.raises(TunesmithError) as caught:
        load_config({**SOUND, **keys}, command=command, overrides=words)
    return caught.value.problems


def codes(*words: str, **keys: Any) -> list[tuple[str, str | None]]:
    return [(problem.code, problem.where.key) for problem in problems(*words, **keys)]


def test_three_mistakes_of_a_file_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "model_name_or_path: m\ndataset: d\noutput_dir: o\nlora_rnak: 16\nlearning_rate: fast\n"
        "val_size: 0.1\neval_dataset: e\n",
        encoding="utf-8",
    )
    with pytest.raises(TunesmithError) as caught:
        load_config(path, command="train")
    assert [(problem.code, problem.where.line, problem.where.key) for problem in caught.value.problems] == [
        ("config.key_unknown", 4, "lora_rnak"),
        ("config.value_invalid", 5, "learning_rate"),
        ("config.keys_conflict", 6, "val_size"),
    ]
    assert all(problem.where.file == str(path) for problem in caught.value.problems)
    assert caught.value.exit_code == 2
    assert "Did you mean 'lora_rank'?" in caught.value.problems[0].remedy


def test_a_misspelt_key_is_one_problem_and_not_also_a_missing_one() -> None:
    with pytest.raises(TunesmithError) as caught:
        load_config({"model_name_or_path": "m", "datasett": "d", "output_dir": "o"}, command="train")
    assert [problem.where.key for problem in caught.value.problems] == ["datasett"]


def test_defaults_are_those_of_llamafactory() -> None:
    flat = train().flat
    assert (flat["stage"], flat["finetuning_type"], flat["cutoff_len"], flat["lora_rank"]) == ("sft", "lora", 2048, 8)
    assert (flat["temperature"], flat["top_p"], flat["top_k"], flat["max_new_tokens"]) == (0.95, 0.7, 50, 1024)
    assert (flat["learning_rate"], flat["save_steps"], flat["logging_steps"]) == (5e-5, 500, 500)


def test_words_win_over_the_file_also_under_an_old_name() -> None:
    config = train("--learning_rate", "2e-5", "warmup_ratio=0.25", learning_rate=1e-4, warmup_steps=10)
    assert config.training.learning_rate == 2e-5
    assert config.training.warmup_steps == 0.25
    assert config.warnings == ()


def test_a_word_repairs_a_broken_value_of_the_file() -> None:
    assert train("output_dir=here", "learning_rate=1e-4", output_dir="$TUNESMITH_NOT_SET", learning_rate="fast")


def test_an_empty_value_means_the_default() -> None:
    config = train(resume_from_checkpoint=None, lora_rank=None, max_samples=None)
    assert config.flat["lora_rank"] == 8
    assert not config.is_set("lora_rank")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, True),
        ({"do_train": True}, True),
        ({"do_eval": True, "val_size": 0.1}, False),
        ({"do_eval": True, "do_train": True, "val_size": 0.1}, True),
        ({"do_predict": True, "predict_with_generate": True, "eval_dataset": "e"}, False),
        ({"do_predict": True, "do_train": True, "eval_dataset": "e"}, True),
    ],
)
def test_train_trains_unless_only_evaluation_is_asked_for(keys: dict[str, Any], expected: bool) -> None:
    assert train(**keys).run.do_train is expected


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "/models")
    monkeypatch.setenv("RATE", "1e-5")
    config = train(model_name_or_path="${BASE}/llama", learning_rate="$RATE", run_name="a$$b", dataset=["$BASE/x", "y"])
    assert config.model.model_name_or_path == "/models/llama"
    assert config.training.learning_rate == 1e-5
    assert config.run.run_name == "a$b"
    assert config.data.dataset == ("/models/x", "y")


def test_an_unset_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNESMITH_NOT_SET", raising=False)
    (problem,) = problems(output_dir="${TUNESMITH_NOT_SET}/out")
    assert (problem.code, problem.where.key) == ("config.variable_unset", "output_dir")
    assert "TUNESMITH_NOT_SET" in problem.message


@pytest.mark.parametrize(
    ("old", "value", "key", "expected"),
    [
        ("warmup_ratio", 0.1, "warmup_steps", 0.1),
        ("warmup_ratio", "0.03", "warmup_steps", 0.03),
        ("per_gpu_train_batch_size", 2, "per_device_train_batch_size", 2),
        ("no_cuda", True, "use_cpu", True),
        ("adafactor", True, "optim", "adafactor"),
        ("adafactor", False, "optim", "adamw_torch_fused"),
        ("checkpoint_dir", "a,b", "adapter_name_or_path", ["a", "b"]),
        ("dev_ratio", 0.1, "val_size", 0.1),
        ("prompt_template", "qwen", "template", "qwen"),
        ("sft_packing", True, "packing", True),
        ("system_prompt", "Be brief.", "default_system", "Be brief."),
        ("train_last_turn_only", True, "mask_history", True),
        ("lora_bf16_mode", True, "pure_bf16", True),
        ("activation_checkpointing", True, "gradient_checkpointing", True),
    ],
)
def test_old_names_are_translated(old: str, value: Any, key: str, expected: Any) -> None:
    config = train(**{old: value})
    assert config.flat[key] == expected
    assert config.warnings == ()


def test_evaluation_strategy_is_an_older_name() -> None:
    config = train(evaluation_strategy="steps", val_size=0.1)
    assert config.training.eval_strategy == "steps"
    origin = config.origin("eval_strategy")
    assert origin is not None
    assert origin.written_as == "evaluation_strategy"


def test_zero_warmup_steps_beside_a_ratio_yield_without_a_word() -> None:
    assert train(warmup_steps=0, warmup_ratio=0.1).training.warmup_steps == 0.1
    config = train(warmup_steps=10, warmup_ratio=0.0)
    assert (config.training.warmup_steps, config.warnings) == (10, ())


def test_an_old_name_beside_its_new_one_is_warned_of() -> None:
    config = train(eval_strategy="no", evaluation_strategy="epoch")
    assert config.training.eval_strategy == "no"
    assert [(problem.code, problem.where.key) for problem in config.warnings] == [
        ("config.key_overridden", "evaluation_strategy")
    ]


def test_of_a_key_given_twice_the_last_is_used_and_told() -> None:
    config = train("--seed", "3", "seed=4", "--cutoff_len", "64", "--cutoff_len", "64")
    assert config.run.seed == 4
    (problem,) = config.warnings
    assert problem.code == "config.key_overridden" and problem.message.startswith("seed is given twice: the last, 4")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"warmup_ratio": 3}, [("config.value_invalid", "warmup_ratio")]),
        ({"warmup_ratio": "much"}, [("config.value_invalid", "warmup_ratio")]),
        ({"hf_auth_token": "secret"}, [("config.key_gone", "hf_auth_token")]),
        ({"dataset_map_batch_size": 100}, []),
        ({"logging_dir": "logs"}, [("config.key_gone", "logging_dir")]),
        ({"save_safetensors": False}, [("config.key_gone", "save_safetensors")]),
        ({"save_safetensors": True}, []),
        ({"max_source_length": 512}, [("config.key_gone", "max_source_length")]),
        ({"reserved_label_len": 4}, []),
        ({"stage": "kto", "kto_desirable_weight": 2.0}, []),
        ({"dpo_beta": 0.5, "stage": "dpo"}, []),
        ({"pref_loss": "dpo", "stage": "dpo"}, [("config.value_unknown", "pref_loss")]),
        ({"group_by_length": True}, [("config.key_pending", "group_by_length")]),
        ({"group_by_length": False}, []),
        ({"train_mm_proj_only": True}, [("config.key_gone", "train_mm_proj_only")]),
        ({"val_dataset": "x"}, [("config.key_foreign", "val_dataset")]),
        ({"train_size": 0.9}, [("config.key_foreign", "train_size")]),
        ({"wandb_project": "x"}, [("config.key_foreign", "wandb_project")]),
        ({"torch_dtype": "bfloat16"}, [("config.key_foreign", "torch_dtype")]),
        ({"train_type": "lora"}, [("config.key_foreign", "train_type")]),
        ({"stage": "ppo"}, [("config.key_pending", "stage")]),
        ({"stage": "spin"}, [("config.value_unknown", "stage")]),
        ({"finetuning_type": "oft"}, []),
        ({"init_lora_weights": "eva"}, []),
        ({"flash_attn": "fa2"}, []),
        ({"flash_attn": True}, []),
        ({"dataset_dir": "REMOTE:a/b"}, []),
        ({"preprocessing_num_workers": 16, "overwrite_cache": True, "use_fast_tokenizer": False}, []),
        ({"mix_strategy": "concat"}, []),
        ({"mix_strategy": "interleave_over"}, []),
        ({"deepspeed": None}, []),
        ({"deepspeed": "ds_z3_config.json"}, [("config.key_pending", "deepspeed")]),
        ({"quantization_bit": 4, "quantization_method": "bitsandbytes"}, []),
        ({"ppo_target": "6.0", "use_galore": "false", "video_fps": 2}, []),
        ({"predict_with_generate": True, "eval_strategy": "steps", "val_size": 0.1},
         [("config.key_pending", "predict_with_generate")]),
        ({"predict_with_generate": True}, [("config.key_pending", "predict_with_generate")]),
    ],
)  # fmt: skip
def test_old_invented_and_pending_names(keys: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    if expected:
        assert codes(**keys) == expected
    else:
        assert train(**keys).warnings == ()


def test_a_pending_key_says_what_it_waits_for() -> None:
    (problem,) = problems(use_mca=True)
    assert "use_mca is known, not built yet" in problem.message
    assert "neutral value (false)" in problem.remedy


def test_keys_of_parts_not_chosen_are_listed_in_one_warning() -> None:
    config = train(finetuning_type="full", lora_rank=8, lora_target="all", galore_rank=64)
    (warning,) = config.warnings
    assert warning.code == "config.keys_inactive"
    assert "lora_rank, lora_target, galore_rank belong" in warning.message
    assert "finetuning_type is full" in warning.message


def test_keys_of_parts_not_chosen_are_no_matter_to_chat_and_export() -> None:
    keys = {"model_name_or_path": "m", "finetuning_type": "full", "lora_rank": 8, "learning_rate": 1}
    assert load_config(keys, command="chat").warnings == ()


@pytest.mark.parametrize(
    ("keys", "code", "key"),
    [
        ({"model_name_or_path": None}, "config.key_missing", "model_name_or_path"),
        ({"output_dir": None}, "config.key_missing", "output_dir"),
        ({"dataset": None}, "config.key_missing", "dataset"),
        ({"do_train": False}, "config.key_missing", "do_train"),
        ({"do_eval": True}, "config.key_missing", "do_eval"),
        ({"do_predict": True}, "config.key_missing", "do_predict"),
        ({"do_predict": True, "stage": "pt", "val_size": 1}, "config.keys_conflict", "do_predict"),
        ({"eval_strategy": "steps"}, "config.key_missing", "eval_strategy"),
        ({"val_size": 0.1, "eval_dataset": "e"}, "config.keys_conflict", "val_size"),
        ({"val_size": 1.5}, "config.value_out_of_range", "val_size"),
        ({"val_size": -1}, "config.value_out_of_range", "val_size"),
        ({"mask_history": True, "train_on_prompt": True}, "config.keys_conflict", "mask_history"),
        ({"stage": "pt", "mask_history": True}, "config.keys_conflict", "mask_history"),
        ({"neat_packing": True, "packing": False}, "config.keys_conflict", "packing"),
        ({"tokens_per_batch": 4096, "per_device_train_batch_size": 8}, "config.keys_conflict", "tokens_per_batch"),
        ({"tokens_per_batch": 1024}, "config.keys_conflict", "tokens_per_batch"),
        ({"stage": "pt", "length_policy": "ratio"}, "config.keys_conflict", "length_policy"),
        ({"fp16": True, "bf16": True}, "config.keys_conflict", "fp16"),
        ({"fp16": True, "pure_bf16": True}, "config.keys_conflict", "fp16"),
        ({"load_best_model_at_end": True}, "config.keys_conflict", "load_best_model_at_end"),
        ({"load_best_model_at_end": True, "eval_strategy": "epoch", "val_size": 1}, "config.keys_conflict",
         "load_best_model_at_end"),
        ({"load_best_model_at_end": True, "eval_strategy": "steps", "val_size": 1, "save_steps": 3, "eval_steps": 2},
         "config.keys_conflict", "load_best_model_at_end"),
        ({"save_strategy": "best"}, "config.keys_conflict", "save_strategy"),
        ({"early_stopping_steps": 3}, "config.keys_conflict", "early_stopping_steps"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "config.keys_conflict", "lr_scheduler_type"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "config.key_missing", "lr_scheduler_type"),
        ({"warmup_steps": 1.5}, "config.value_out_of_range", "warmup_steps"),
        ({"gradient_checkpointing": True, "disable_gradient_checkpointing": True}, "config.keys_conflict",
         "gradient_checkpointing"),
        ({"dataloader_prefetch_factor": 2}, "config.keys_conflict", "dataloader_prefetch_factor"),
        ({"adapter_name_or_path": "a", "finetuning_type": "full"}, "config.keys_conflict", "adapter_name_or_path"),
        ({"report_to": ["none", "wandb"]}, "config.keys_conflict", "report_to"),
    ],
)  # fmt: skip
def test_rules_between_keys(keys: dict[str, Any], code: str, key: str) -> None:
    assert codes(**keys) == [(code, key)]


@pytest.mark.parametrize(
    "keys",
    [
        {"val_size": 0.1, "eval_strategy": "steps", "eval_steps": 50, "load_best_model_at_end": True},
        {"val_size": 100, "do_eval": True},
        {"eval_dataset": "e", "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True},
        {"eval_dataset": "e", "eval_strategy": "epoch", "early_stopping_steps": 2},
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6}},
        {"pure_bf16": True, "bf16": True},
        {"tokens_per_batch": 1024, "cutoff_len": 1024, "gradient_accumulation_steps": 2},
        {"tokens_per_batch": None, "per_device_train_batch_size": 2},
        {"stage": "pt", "length_policy": "ratio", "packing": False},
        {"length_policy": "ratio"},
        {"warmup_steps": 100, "logging_steps": 0.1},
        {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 2},
        {"report_to": "wandb,tensorboard"},
    ],
)
def test_sound_settings_pass_without_a_word(keys: dict[str, Any]) -> None:
    assert train(**keys).warnings == ()


def test_neat_packing_chooses_packing() -> None:
    config = train(neat_packing=True)
    assert config.data.packing is True
    assert not config.is_set("packing")


@pytest.mark.parametrize(
    ("keys", "job"),
    [
        ({"template": "qwen"}, "chat"),
        ({"export_dir": "x"}, "export"),
        ({"dataset": "d", "output_dir": "o"}, "train"),
    ],
)
def test_check_reads_the_job_off_the_keys(keys: dict[str, Any], job: str) -> None:
    assert load_config({"model_name_or_path": "m", **keys}, command="check").job == job


def test_export_needs_its_folder() -> None:
    with pytest.raises(TunesmithError) as caught:
        load_config({"model_name_or_path": "m"}, command="export")
    assert [(p.code, p.where.key) for p in caught.value.problems] == [("config.key_missing", "export_dir")]


@pytest.mark.parametrize("loss", ["orpo", "simpo", "cpo"])
def test_a_loss_written_as_a_stage_is_that_loss_over_pairs(loss: str) -> None:
    config = train(stage=loss.upper() if loss == "cpo" else loss, pref_beta=2.0)
    assert (config.run.stage, config.flat["pref_loss"], config.warnings) == ("dpo", [loss], ())
    assert config.flat["pref_beta"] == 2.0
