# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What `verify template` finds, with sound templates and with broken ones."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.verify import run, table_of
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.templates.verification import CaseOutcome, verify_template

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
SOUND = TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.fixture(scope="module")
def smollm(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "smollm2")


def verified(tokenizer: PreTrainedTokenizerBase, source: str, folder: Path) -> dict[str, CaseOutcome]:
    path = folder / "t.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(tokenizer, name=str(path))
    assert isinstance(template, JinjaTemplate)
    return {outcome.name: outcome for outcome in verify_template(template, tokenizer, policy=TrainPolicy())}


@pytest.mark.parametrize(
    ("family", "name"),
    [("qwen3", None), ("qwen3", "qwen3"), ("llama3_1", None), ("deepseek_v3", None), ("mistral_v3", "mistral"),
     ("phi3_mini", None), ("chatglm3", None), ("smollm2", "smollm2")],
)  # fmt: skip
def test_templates_of_families_are_sound(assets: Path, family: str, name: str | None) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / family)
    template = load_template(tokenizer, name=name)
    assert isinstance(template, JinjaTemplate)
    outcomes = verify_template(template, tokenizer, policy=TrainPolicy())
    assert len(outcomes) == 14
    assert {outcome.name: outcome.differences for outcome in outcomes if outcome.differences} == {}
    turns = [turn for outcome in outcomes for turn in outcome.turns]
    assert len(turns) > 15
    assert all(turn.is_stop_trained and not turn.is_header_trained and turn.trained == turn.tokens for turn in turns)


def test_the_date_is_the_one_of_the_template(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "llama3_1")
    source = "{{ strftime_now('%d %b %Y') }}" + str(tokenizer.chat_template)
    template = load_template(tokenizer)
    assert isinstance(template, JinjaTemplate)
    dated = JinjaTemplate(source, tokenizer, template.facts)
    assert not [one for one in verify_template(dated, tokenizer, policy=TrainPolicy()) if one.differences]


def test_another_header_in_the_prompt_is_found(smollm: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    assert not any(one.differences for one in verified(smollm, SOUND, tmp_path).values())
    broken = TURN + "{% if add_generation_prompt %}<|im_start|>bot\n{% endif %}"
    (difference,) = verified(smollm, broken, tmp_path)["plain"].differences
    assert "goes on with 'bot\\n'" in difference


def test_thoughts_that_only_the_prompt_opens_are_told(smollm: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    opening = TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    outcome = verified(smollm, opening, tmp_path)["plain"]
    assert outcome.differences == () and "<think>" in outcome.openings[0]


def test_refusals_tell_the_templates_words(smollm: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('No system please') }}{% endif %}" + SOUND
    outcome = verified(smollm, refusing, tmp_path)["system"]
    assert "No system please" in outcome.refused and "takes no system message" in outcome.refused
    table = table_of([outcome])
    assert "refused: " in table[1] and "No system please" in " ".join(table)
    assert max(len(line) for line in table) <= 80, "a terminal of 80 columns shows the table whole"


def test_the_command_ends_with_6(assets: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(TURN + "{% if add_generation_prompt %}<|im_start|>bot\n{% endif %}", encoding="utf-8")
    keys = {"model_name_or_path": str(assets / "tokenizers" / "smollm2"), "template": str(path)}
    with pytest.raises(TunesmithError) as caught:
        run(load_config(keys, command="verify"))
    assert caught.value.exit_code == 6
    assert "DIFFERS" in caught.value.result["text"]
    path.write_text(SOUND, encoding="utf-8")
    assert len(run(load_config(keys, command="verify"))["cases"]) == 14


def test_a_template_without_its_variables_is_not_said_to_take_no_system(
    smollm: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    needy = "{% if not functions.strip() %}x{% endif %}" + SOUND
    outcome = verified(smollm, needy, tmp_path)["system"]
    assert "'functions' is undefined" in outcome.refused and "system" not in outcome.refused
