# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules between the keys that mix, split and stream data sets, over the flat values."""

from collections.abc import Callable

from tunesmith.config.rules import Finding, Flat, Rule, Scope

DATA_RULES: list[Rule] = []

_ROWS: tuple[Scope, ...] = ("train", "inspect")


def _rule(
    *keys: str, jobs: tuple[Scope, ...] = _ROWS, if_set: tuple[str, ...] = ()
) -> Callable[[Callable[[Flat], Finding | None]], None]:
    def store(check: Callable[[Flat], Finding | None]) -> None:
        DATA_RULES.append(Rule(keys=keys, jobs=jobs, check=check, if_set=if_set))

    return store


def _conflict(message: str, remedy: str) -> Finding:
    return Finding(code="config.keys_conflict", message=message, remedy=remedy)


@_rule("interleave_probs", "mix_strategy")
def _shares_need_turns(flat: Flat) -> Finding | None:
    if not flat["interleave_probs"] or flat["mix_strategy"] != "concat":
        return None
    return _conflict(
        "interleave_probs says how often each data set is drawn, but mix_strategy concat draws none.",
        "Write mix_strategy: interleave_under, interleave_over or interleave_once.",
    )


@_rule("interleave_probs", "dataset", "eval_dataset", "mix_strategy")
def _shares_fit_the_sets(flat: Flat) -> Finding | None:
    shares = flat["interleave_probs"]
    if not shares or flat["mix_strategy"] == "concat":
        return None
    keys = ["dataset", *(["eval_dataset"] if not flat["eval_on_each_dataset"] else [])]
    wrong = [key for key in keys if len(flat[key]) > 1 and len(flat[key]) != len(shares)]
    if not wrong:
        return None
    return _conflict(
        f"interleave_probs has {len(shares)} shares, but {wrong[0]} names {len(flat[wrong[0]])} data sets.",
        "Write one share for each data set, in their order.",
    )


@_rule("val_split_by", "val_size", if_set=("val_split_by",))
def _split_rule_needs_a_split(flat: Flat) -> Finding | None:
    if flat["val_size"] > 0 or flat["val_split_by"] == "group":
        return None
    return _conflict(
        f"val_split_by: {flat['val_split_by']} says how val_size takes rows, but val_size takes none.",
        "Write val_size, or leave val_split_by out.",
    )


@_rule("streaming", "max_steps", jobs=("train",))
def _streams_need_steps(flat: Flat) -> Finding | None:
    if not flat["streaming"] or not flat["do_train"] or flat["max_steps"] > 0:
        return None
    return Finding(
        code="config.key_missing",
        message="streaming needs max_steps: how many rows a stream has is not known before it ends.",
        remedy="Write max_steps.",
    )


@_rule("streaming", "stage", jobs=("train",))
def _streams_have_no_successors(flat: Flat) -> Finding | None:
    if not flat["streaming"] or flat["stage"] != "kto":
        return None
    return _conflict(
        "stage kto compares each row with the answer of the next one, and of a stream the next row is not known.",
        "Leave streaming out.",
    )


@_rule("streaming", "val_size")
def _streams_hold_out_a_count(flat: Flat) -> Finding | None:
    size = flat["val_size"]
    if not flat["streaming"] or size == 0 or size >= 1:
        return None
    return Finding(
        code="config.value_out_of_range",
        message=f"val_size is the share {size:g}, but of a stream only a number of rows can be held out.",
        remedy="Write val_size as a whole number of rows, or name an eval_dataset.",
    )


@_rule("streaming", "max_samples")
def _streams_are_not_sampled(flat: Flat) -> Finding | None:
    if not flat["streaming"] or flat["max_samples"] is None:
        return None
    return _conflict("max_samples takes the first rows of each data set, a stream all.", "Keep one of them.")


@_rule("streaming", "val_split_by", "val_size")
def _streams_are_split_by_prompt(flat: Flat) -> Finding | None:
    if not flat["streaming"] or flat["val_size"] == 0 or flat["val_split_by"] == "group":
        return None
    return _conflict(
        f"val_split_by is {flat['val_split_by']}, but a stream is split by its prompts, row by row.",
        "Leave val_split_by out.",
    )


@_rule("streaming", "dataloader_drop_last", jobs=("train",))
def _streams_use_every_row(flat: Flat) -> Finding | None:
    if not flat["streaming"] or not flat["dataloader_drop_last"]:
        return None
    return _conflict(
        "dataloader_drop_last leaves out the rows that fill no step; of a stream every row is used.",
        "Leave dataloader_drop_last out.",
    )


@_rule("streaming", "eval_strategy", "save_strategy", "logging_strategy", jobs=("train",))
def _streams_have_no_epochs(flat: Flat) -> Finding | None:
    keys = [key for key in ("eval_strategy", "save_strategy", "logging_strategy") if flat[key] == "epoch"]
    if not flat["streaming"] or not keys:
        return None
    return _conflict(f"{keys[0]} is epoch, but a run over a stream counts steps only.", f"Write {keys[0]}: steps.")
