# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""transformers' TrainingArguments of the tested version: every key is known, with its default and its choices."""

from dataclasses import MISSING, fields

from transformers import Seq2SeqTrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from tunesmith.config.index import load_index

# Defaults that differ from transformers' in form only.
SAME_DEFAULT = {"report_to": ("none", ["none"]), "torch_compile": (False, "auto"), "bf16": (False, None)}


def test_no_training_argument_of_transformers_is_unknown_and_defaults_agree() -> None:
    index = load_index()
    known = {*index.keys, *index.pending, *index.renamed, *index.gone}
    for field in fields(Seq2SeqTrainingArguments):
        assert field.name in known, field.name
        if field.default is MISSING or field.name not in {*index.keys, *index.pending}:
            continue
        default = getattr(field.default, "value", field.default)
        ours = index.keys[field.name].default if field.name in index.keys else index.pending[field.name].neutral[0]
        assert default == ours or SAME_DEFAULT.get(field.name) == (default, ours), field.name


def test_optimizers_and_schedulers_are_those_of_transformers() -> None:
    index = load_index()
    for key, members in (("optim", OptimizerNames), ("lr_scheduler_type", SchedulerType)):
        names = {member.value for member in members}
        assert {*index.keys[key].choices, *index.pending_values.get(key, {})} == names, key
