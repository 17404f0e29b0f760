# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The register of rules, their thresholds, and rules whose breach no ordinary run can make."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.check_runs import read_cases
from tests.unit.checks.stores import context_of
from tunesmith.checks import thresholds as thresholds_module
from tunesmith.checks.context import CheckContext
from tunesmith.checks.length_rules import num_positions, rows_fill_a_step
from tunesmith.checks.preflight import check_context
from tunesmith.checks.row_rules import answers_say_something, every_answer_ends_with_a_stop_token
from tunesmith.checks.rule import Finding, Rule, rules
from tunesmith.checks.thresholds import threshold_table, thresholds
from tunesmith.core.errors import TunesmithError, error_table, refusal

CHECKS = Path(thresholds_module.__file__).parent
# Found by tests of their own: the first only by a fault of ours, the second needs a trained adapter, the others more
# judged rows than a file of runs can hold.
ELSEWHERE = {
    *("check.stop_token_untrained", "check.adapter_keys_ignored", "check.labels_equal"),
    *("check.pairs_alike", "check.pairs_equal"),
    *("check.pairs_tell_length", "check.pairs_tell_opening", "check.pairs_tell_feature"),
    *("check.feedback_unbalanced", "check.feedback_tell_length", "check.feedback_tell_feature"),
}


def test_every_rule_has_a_broken_run() -> None:
    shown = {code for case in read_cases("broken.yaml") for code in case.get("codes", [case.get("code")])}
    assert set(rules.names()) - shown == ELSEWHERE


def test_every_rule_has_a_code_of_the_table() -> None:
    table = error_table()
    for code, rule in rules.items():
        assert code == rule.code and code in table
        assert ("(warning)" in table[code]["summary"]) is (rule.severity == "warn"), code


def test_every_threshold_has_a_reason_and_is_used() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in sorted(CHECKS.glob("*.py")))
    for name, entry in threshold_table().items():
        reason = str(entry["reason"])
        assert reason.endswith(".") and "\n" not in reason, name
        of_method = re.fullmatch(r"(?:lora|freeze|full)(_learning_rate_(?:min|max))", name)
        assert (f"{{method}}{of_method[1]}" if of_method else f'"{name}"') in texts, f"{name} is not used"
    assert thresholds().keys() == threshold_table().keys()


def test_a_rule_without_what_it_needs_is_not_asked() -> None:
    def never(context: CheckContext) -> list[Finding]:
        raise AssertionError("asked")

    context = context_of(["1 [2]"], model_name_or_path="./nowhere")
    context = CheckContext(context.config)
    rule = Rule(code="check.rows_too_few", severity="refuse", needs=("model",), find=never)
    assert rule.apply(context) == []
    assert [problem.code for problem in context.problems] == ["model.path_missing"]


def test_a_part_that_cannot_be_loaded_is_reported_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": 5}\n', encoding="utf-8")
    config = context_of(["1 [2]"], model_name_or_path="./nowhere", dataset_dir=".").config
    report = check_context(CheckContext(config))
    assert [problem.code for problem in report.problems] == ["model.path_missing", "data.type_wrong"]
    with pytest.raises(TunesmithError) as caught:
        report.raise_if_refused()
    assert caught.value.problems == report.refusals


def test_a_guard_speaks_with_the_rules() -> None:
    def guard(config: object) -> None:
        raise refusal("training.output_in_use", "In use.", "Wait.", key="output_dir")

    context = context_of(["1 [2 3]"] * 9)
    report = check_context(CheckContext(context.config), guards=[guard])
    assert "training.output_in_use" in [problem.code for problem in report.refusals]


class Stops:
    """Stands for a template that ends answers with token 9."""

    def stop_ids(self) -> tuple[int, ...]:
        return (9,)


def test_rows_that_end_without_a_stop_token_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(["1 [2 9]", "1 [2 3]", "1 [4 9] 5 [6]", "1 [2 9] 3"])
    monkeypatch.setattr(CheckContext, "template", Stops())
    (finding,) = every_answer_ends_with_a_stop_token(context)
    assert finding.where.rows == (1, 2)


def test_an_answer_that_goes_on_in_the_next_row_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckContext, "template", Stops())
    monkeypatch.setattr(CheckContext, "empty_answer", (9,))
    monkeypatch.setattr(CheckContext, "tokenizer", SimpleNamespace(decode=str))
    rows = ["1 [2 3]", "1 3 [4 5]", "1 5 [9]", "1 [2 3]", "1 [9]"]
    context = context_of(rows, records=[0, 0, 0, 1, 2], length_policy="split")
    (finding,) = every_answer_ends_with_a_stop_token(context)
    assert finding.where.rows == (1,)
    assert [finding.where.rows for finding in answers_say_something(context)] == [(2,)]
    (finding,) = every_answer_ends_with_a_stop_token(context_of(rows, records=[0, 0, 0, 1, 2]))
    assert finding.where.rows == (0, 1)


def test_an_answer_that_is_cut_by_choice_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckContext, "template", Stops())
    rows = ["1 [2 3]", "1 [2 3 4]", "1 2 [3 9]"]
    (finding,) = every_answer_ends_with_a_stop_token(context_of(rows, length_policy="ratio", cutoff_len=4))
    assert finding.where.rows == (0,)


def test_rows_without_targets_are_not_asked_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    about_targets = {code for code, one in rules.items() if "targets" in one.needs}
    assert about_targets == {"check.supervised_little", "check.answer_empty", "check.stop_token_untrained"}
    context = context_of(["1 2"])
    assert [problem.code for problem in rules.get("check.supervised_little").apply(context)]
    for kind in ("prompt", "labelled", "contrast"):
        monkeypatch.setattr(CheckContext, "row_kind", kind)
        assert not rules.get("check.supervised_little").apply(context_of(["1 2"]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({}, None),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}, 8192),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
            },
            131072,
        ),
    ],
)
def test_positions_count_rope_scaling(
    settings: dict[str, Any], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Config:
        """Stands for a model's configuration."""

        def get_text_config(self) -> "Config":
            return self

    model_config = Config()
    for name, value in settings.items():
        setattr(model_config, name, value)
    monkeypatch.setattr(CheckContext, "model_config", model_config)
    assert num_positions(context_of(["1 [2]"])) == expected


@pytest.mark.parametrize(
    ("num_rows", "keys", "told"),
    [
        (0, {}, "There are no rows to train on"),
        (3, {"dataloader_drop_last": True}, "dataloader_drop_last leaves none"),
        (3, {"gradient_accumulation_steps": 4}, "takes 8 × 4 = 32 rows, but there are 3 to train on."),
    ],
)
def test_too_few_rows_are_blamed_on_what_is_set(num_rows: int, keys: dict[str, Any], told: str) -> None:
    (finding,) = rows_fill_a_step(context_of(["1 [2]"] * num_rows, **keys))
    assert told in finding.message
    assert ("dataloader_drop_last" in finding.message) is ("dataloader_drop_last" in keys)
