# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules between keys, one small function each, over the flat values; rules over data and models are in `checks/`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Job = Literal["train", "chat", "export"]
# What a rule holds for: a job, or `tunesmith inspect`, which looks at the rows of a training run without its training.
Scope = Literal["train", "chat", "export", "inspect"]
Flat = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule found."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule, the keys it reads (the first set one gives the line), and the scopes it holds for.

    Where `if_set` names keys, the rule is only asked when the user wrote all of them.
    """

    keys: tuple[str, ...]
    jobs: tuple[Scope, ...]
    check: Callable[[Flat], Finding | None]
    if_set: tuple[str, ...] = ()


RULES: list[Rule] = []

MAX_PATTERN_CHARS = 500
_ROWS: tuple[Scope, ...] = ("train", "inspect")


def _rule(
    *keys: str, jobs: tuple[Scope, ...] = ("train",), if_set: tuple[str, ...] = ()
) -> Callable[[Callable[[Flat], Finding | None]], None]:
    def store(check: Callable[[Flat], Finding | None]) -> None:
        RULES.append(Rule(keys=keys, jobs=jobs, check=check, if_set=if_set))

    return store


def _missing(message: str, remedy: str) -> Finding:
    return Finding(code="config.key_missing", message=message, remedy=remedy)


def _conflict(message: str, remedy: str) -> Finding:
    return Finding(code="config.keys_conflict", message=message, remedy=remedy)


def _has_eval_rows(flat: Flat) -> bool:
    return bool(flat["eval_dataset"]) or flat["val_size"] > 0


@_rule("model_name_or_path", jobs=("train", "chat", "export", "inspect"))
def _needs_model(flat: Flat) -> Finding | None:
    if flat["model_name_or_path"]:
        return None
    return _missing("No model is named.", "Write model_name_or_path: a model's folder, or smollm2-135m.")


@_rule("output_dir")
def _needs_output_dir(flat: Flat) -> Finding | None:
    return None if flat["output_dir"] else _missing("No output folder is named.", "Write output_dir.")


@_rule("export_dir", jobs=("export",))
def _needs_export_dir(flat: Flat) -> Finding | None:
    return None if flat["export_dir"] else _missing("No folder for the export is named.", "Write export_dir.")


@_rule("dataset", "do_train")
def _training_needs_data(flat: Flat) -> Finding | None:
    if flat["dataset"] or not flat["do_train"]:
        return None
    return _missing("Training needs data, but no data set is named.", "Write dataset: names or file paths.")


@_rule("dataset", "eval_dataset", jobs=("inspect",))
def _inspection_needs_data(flat: Flat) -> Finding | None:
    if flat["dataset"] or flat["eval_dataset"]:
        return None
    return _missing("No data set is named, so there are no rows to look at.", "Write dataset: names or file paths.")


@_rule("do_train", "do_eval", "do_predict")
def _something_to_do(flat: Flat) -> Finding | None:
    if flat["do_train"] or flat["do_eval"] or flat["do_predict"]:
        return None
    return _missing("do_train, do_eval and do_predict are all false: nothing to run.", "Write do_train: true.")


@_rule("do_eval", "do_predict", "eval_dataset", "val_size")
def _evaluation_needs_rows(flat: Flat) -> Finding | None:
    asking = [key for key in ("do_eval", "do_predict") if flat[key]]
    if not asking or _has_eval_rows(flat):
        return None
    return _missing(
        f"{' and '.join(asking)} {'needs' if len(asking) == 1 else 'need'} evaluation rows.",
        "Write eval_dataset, or val_size to take a share of dataset.",
    )


@_rule("do_predict", "stage")
def _prediction_needs_answers(flat: Flat) -> Finding | None:
    if not flat["do_predict"] or flat["stage"] == "sft":
        return None
    remedy = "Use `tunesmith score`." if flat["stage"] == "rm" else "Write stage: sft."
    return _conflict(f"do_predict answers prompts, which stage {flat['stage']} has not.", remedy)


@_rule("predict_with_generate", "do_predict", "eval_strategy", "do_eval")
def _evaluation_is_by_loss(flat: Flat) -> Finding | None:
    is_prediction = flat["do_predict"] and not flat["do_eval"] and flat["eval_strategy"] == "no"
    if not flat["predict_with_generate"] or is_prediction:
        return None
    return Finding(
        code="config.key_pending",
        message="predict_with_generate in evaluations is known, not built yet: they give the loss.",
        remedy="Leave it out of runs that evaluate; do_predict generates and scores answers.",
    )


@_rule("eval_strategy", "eval_dataset", "val_size")
def _evaluation_times_need_rows(flat: Flat) -> Finding | None:
    if flat["eval_strategy"] == "no" or _has_eval_rows(flat):
        return None
    return _missing(
        f"eval_strategy is {flat['eval_strategy']}, but there are no evaluation rows.",
        "Write eval_dataset, or val_size to take a share of dataset, or eval_strategy: 'no'.",
    )


@_rule("val_size", "eval_dataset", jobs=_ROWS)
def _split_or_own_rows(flat: Flat) -> Finding | None:
    if flat["val_size"] == 0 or not flat["eval_dataset"]:
        return None
    return _conflict("val_size and eval_dataset exclude each other.", "Keep one of them.")


@_rule("val_size", "dataset", jobs=_ROWS)
def _split_needs_data(flat: Flat) -> Finding | None:
    if flat["val_size"] == 0 or flat["dataset"]:
        return None
    return _missing("val_size takes rows from dataset, but no data set is named.", "Write dataset or eval_dataset.")


@_rule("val_size", jobs=_ROWS)
def _split_count_is_whole(flat: Flat) -> Finding | None:
    size = flat["val_size"]
    if size < 1 or size == int(size):
        return None
    return Finding(code="config.value_out_of_range", message=f"val_size {size:g} is neither a share nor a count.",
                   remedy="Write a share below 1, or a whole number of rows.")  # fmt: skip


@_rule("mask_history", "train_on_prompt", jobs=_ROWS)
def _history_or_prompt(flat: Flat) -> Finding | None:
    if not (flat["mask_history"] and flat["train_on_prompt"]):
        return None
    return _conflict(
        "mask_history (train on the last answer only) and train_on_prompt exclude each other.", "Keep one of them."
    )


@_rule("neat_packing", "train_on_prompt", "mask_history", "stage")
def _supervised_keys_need_sft(flat: Flat) -> Finding | None:
    wrong = [key for key in ("neat_packing", "train_on_prompt", "mask_history") if flat[key]]
    if not wrong or flat["stage"] == "sft":
        return None
    return _conflict(f"{', '.join(wrong)} only work in stage sft, not in {flat['stage']}.", "Remove them.")


@_rule("packing", "neat_packing", jobs=_ROWS)
def _neat_packing_packs(flat: Flat) -> Finding | None:
    if not flat["neat_packing"] or flat["packing"] is not False:
        return None
    return _conflict("neat_packing: true contradicts packing: false.", "Keep one of them; packing is always neat.")


@_rule("length_policy", "packing", "stage")
def _joined_texts_are_not_cut(flat: Flat) -> Finding | None:
    if flat["length_policy"] != "ratio" or flat["stage"] != "pt" or flat["packing"] is False:
        return None
    return _conflict(
        "length_policy: ratio cuts long texts, but packed texts of stage pt follow one another and are cut nowhere.",
        "Write packing: false to cut them, or length_policy: split.",
    )


_BATCH_SIZES = ("tokens_per_batch", "per_device_train_batch_size")


@_rule(*_BATCH_SIZES, if_set=_BATCH_SIZES)
def _rows_or_tokens(flat: Flat) -> Finding | None:
    if flat["tokens_per_batch"] is None:
        return None
    return _conflict(
        "tokens_per_batch and per_device_train_batch_size both say how much one forward pass takes.",
        "Keep one of them.",
    )


@_rule("tokens_per_batch", "cutoff_len")
def _a_row_fits_a_batch(flat: Flat) -> Finding | None:
    tokens, longest = flat["tokens_per_batch"], flat["cutoff_len"]
    if tokens is None or tokens == "auto" or tokens >= longest:
        return None
    return _conflict(
        f"tokens_per_batch {tokens} is below cutoff_len {longest}: one row of that length would exceed it.",
        f"Write tokens_per_batch: {longest} or more, or a lower cutoff_len.",
    )


@_rule("fp16", "bf16", "pure_bf16")
def _one_precision(flat: Flat) -> Finding | None:
    if not flat["fp16"] or not (flat["bf16"] or flat["pure_bf16"]):
        return None
    other = "bf16" if flat["bf16"] else "pure_bf16"
    return _conflict(f"fp16 and {other} exclude each other.", "Keep one of them; bf16 is the safer one.")


@_rule("load_best_model_at_end", "eval_strategy")
def _best_needs_evaluation(flat: Flat) -> Finding | None:
    if not flat["load_best_model_at_end"] or flat["eval_strategy"] != "no":
        return None
    return _conflict("load_best_model_at_end needs evaluations, but eval_strategy is no.",
                     "Write eval_strategy: steps or epoch.")  # fmt: skip


@_rule("load_best_model_at_end", "save_strategy", "eval_strategy")
def _best_needs_saving_when_evaluating(flat: Flat) -> Finding | None:
    saving, evaluating = flat["save_strategy"], flat["eval_strategy"]
    if not flat["load_best_model_at_end"] or evaluating == "no" or saving in ("best", evaluating):
        return None
    return _conflict(
        f"load_best_model_at_end needs a checkpoint at each evaluation, but save_strategy is {saving} and "
        f"eval_strategy is {evaluating}.",
        f"Write save_strategy: {evaluating}.",
    )


@_rule("load_best_model_at_end", "save_steps", "eval_steps", "logging_steps", "save_strategy", "eval_strategy")
def _best_needs_saving_at_evaluations(flat: Flat) -> Finding | None:
    if not flat["load_best_model_at_end"] or not flat["save_strategy"] == flat["eval_strategy"] == "steps":
        return None
    saving, evaluating = flat["save_steps"], flat["eval_steps"] or flat["logging_steps"]
    if abs(saving / evaluating - round(saving / evaluating)) < 1e-9:
        return None
    return _conflict(
        f"load_best_model_at_end needs an evaluation at every checkpoint, but save_steps {saving:g} is no multiple of "
        f"eval_steps {evaluating:g}.",
        "Write the same number for both.",
    )


@_rule("save_strategy", "eval_strategy")
def _saving_the_best_needs_evaluation(flat: Flat) -> Finding | None:
    if flat["save_strategy"] != "best" or flat["eval_strategy"] != "no":
        return None
    return _conflict("save_strategy: best needs evaluations, but eval_strategy is no.",
                     "Write eval_strategy: steps or epoch.")  # fmt: skip


@_rule("early_stopping_steps", "eval_strategy")
def _stopping_needs_evaluation(flat: Flat) -> Finding | None:
    if flat["early_stopping_steps"] is None or flat["eval_strategy"] != "no":
        return None
    return _conflict("early_stopping_steps counts evaluations, but eval_strategy is no.",
                     "Write eval_strategy: steps or epoch.")  # fmt: skip


@_rule("lr_scheduler_type", "eval_strategy")
def _plateau_needs_evaluation(flat: Flat) -> Finding | None:
    schedule = flat["lr_scheduler_type"]
    if schedule not in ("reduce_lr_on_plateau", "greedy") or flat["eval_strategy"] != "no":
        return None
    return _conflict(f"{schedule} follows the evaluations, but eval_strategy is no.",
                     "Write eval_strategy: steps or epoch, or another scheduler.")  # fmt: skip


@_rule("lr_scheduler_type", "lr_scheduler_kwargs")
def _minimum_rate_is_named(flat: Flat) -> Finding | None:
    kwargs = flat["lr_scheduler_kwargs"] or {}
    if "min_lr" not in flat["lr_scheduler_type"] or "min_lr" in kwargs or "min_lr_rate" in kwargs:
        return None
    return _missing(f"{flat['lr_scheduler_type']} needs its lowest learning rate.",
                    "Write lr_scheduler_kwargs: {min_lr: 1.0e-6}, or min_lr_rate for a share.")  # fmt: skip


@_rule("warmup_steps", "logging_steps", "eval_steps", "save_steps")
def _steps_are_whole(flat: Flat) -> Finding | None:
    for key in ("warmup_steps", "logging_steps", "eval_steps", "save_steps"):
        steps = flat[key] or 0
        if steps > 1 and steps != int(steps):
            return Finding(code="config.value_out_of_range", message=f"{key} {steps:g} is neither a share nor a count.",
                           remedy="Write a share below 1, or a whole number of steps.")  # fmt: skip
    return None


@_rule("gradient_checkpointing", "disable_gradient_checkpointing")
def _checkpointing_on_or_off(flat: Flat) -> Finding | None:
    if not (flat["gradient_checkpointing"] and flat["disable_gradient_checkpointing"]):
        return None
    return _conflict("gradient_checkpointing and disable_gradient_checkpointing exclude each other.",
                     "Keep one of them.")  # fmt: skip


@_rule("dataloader_prefetch_factor", "dataloader_persistent_workers", "dataloader_num_workers")
def _workers_exist(flat: Flat) -> Finding | None:
    if flat["dataloader_num_workers"] > 0:
        return None
    keys = [key for key in ("dataloader_prefetch_factor", "dataloader_persistent_workers") if flat[key]]
    if not keys:
        return None
    return _conflict(f"{', '.join(keys)} need dataloader_num_workers above 0.", "Write dataloader_num_workers: 1.")


@_rule("adapter_name_or_path", "finetuning_type")
def _adapters_need_a_tuner_of_theirs(flat: Flat) -> Finding | None:
    if not flat["adapter_name_or_path"] or flat["finetuning_type"] not in ("full", "freeze", "llamapro"):
        return None
    return _conflict(
        f"adapter_name_or_path needs a finetuning_type with adapters, such as lora, not {flat['finetuning_type']}.",
        "Write finetuning_type: lora, or merge the adapter first with `tunesmith export`.",
    )


@_rule("report_to")
def _trackers_are_clear(flat: Flat) -> Finding | None:
    names = flat["report_to"]
    if len(names) < 2 or not {"none", "all"} & set(names):
        return None
    return _conflict("report_to lists none or all beside other names.", "Write none, all, or a list of trackers.")


@_rule("identifier_pattern", jobs=_ROWS)
def _pattern_is_regular(flat: Flat) -> Finding | None:
    """Long patterns are refused as well: a pattern is tried on every row."""
    pattern = flat["identifier_pattern"]
    if pattern is None:
        return None
    try:
        re.compile(pattern)
    except re.error as error:
        fault = f"is no regular expression: {error}"
    else:
        if len(pattern) <= MAX_PATTERN_CHARS and re.compile(pattern).match("") is None:
            return None
        fault = f"has {len(pattern)} characters" if len(pattern) > MAX_PATTERN_CHARS else "matches the empty text"
    return Finding(
        code="config.value_invalid",
        message=f"identifier_pattern {fault}.",
        remedy=f"Write an expression of at most {MAX_PATTERN_CHARS} characters that matches one identifier, such as "
        r"\b[a-z]+_[a-z_]+\b.",
    )
