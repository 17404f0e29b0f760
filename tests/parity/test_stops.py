# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every answer ends in a trained stop token: in 132 real templates, and in every template of the catalog."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from tests.parity.conversations import CONTROL, load_json, to_conversation, vocabulary_for
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Rendered
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import JinjaTemplate

ANSWERS = ("Hello.", "It is 4.")
CHAT = to_conversation(
    {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": ANSWERS[0]},
            {"role": "user", "content": "What is 2+2?"},
            {"role": "assistant", "content": ANSWERS[1]},
        ]
    }
)
REFUSED = {
    "firefunction/firefunction-v2-70b.jinja": "template.conversation_refused",  # needs a variable `functions`
    "firefunction/fireworks-ai-llama-3-firefunction-v2.jinja": "template.conversation_refused",
    "gemma/shieldgemma-27b.jinja": "template.conversation_refused",  # needs a variable `guideline`
    "hermes/NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": "template.conversation_refused",  # needs tools
    "llama/llama-guard3-1b.jinja": "template.stop_undetermined",  # classifiers: no turn is answered
    "llama/llama-guard3-8b.jinja": "template.stop_undetermined",
    "qwen/qwen3_reranker.jinja": "template.spans_undetermined",  # renders a query and a document, no conversation
}
# The nine that write no stop token behind the last answer, and how each answer ends.
OPEN = {
    "baichuan/template_baichuan.jinja": "<reserved_106>",
    "falcon/falcon2-11b.jinja": "</s>",
    "glm/GLM-4.6.jinja": "<|user|>",
    "glm/glm4-9b.jinja": "<|user|>",
    "glm/glm4moe.jinja": "<|user|>",
    "glm/template_chatglm2.jinja": "</s>",
    "llama.cpp-own/llama-cpp-rwkv-world.jinja": "</s>",
    "llava/llava.jinja": "</s>",
    "qwen/qwen-0.5b.jinja": "<|im_end|>",
}


# The layout of DeepSeek V3's first release describes no tools.
UNTOLD = ("deepseek3", "deepseekr1")


@pytest.fixture(scope="module")
def sources(assets: Path) -> dict[str, str]:
    folder = assets / "chat_templates"
    files = [entry["file"] for entry in load_json(folder / "index.json")]
    return {file: (folder / file).read_text(encoding="utf-8") for file in files}


@pytest.fixture(scope="module")
def tokenizer(sources: dict[str, str], assets: Path) -> PreTrainedTokenizerFast:
    """Give a vocabulary with the control tokens of all real templates and of the whole catalog."""
    entries = load_catalog().entries.values()
    tokenizer = vocabulary_for([*sources.values(), *(entry.source for entry in entries)], assets)
    tokens = {token for entry in entries for token in entry.control_tokens()}
    tokenizer.add_tokens(sorted(tokens), special_tokens=True)
    return tokenizer


def test_all_132_templates_end_every_answer_or_are_refused(
    sources: dict[str, str], tokenizer: PreTrainedTokenizerFast, assets: Path
) -> None:
    refused: dict[str, str] = {}
    num_samples: Counter[int] = Counter()
    for file in sources:
        template = load_template(tokenizer, name=str(assets / "chat_templates" / file))
        (samples,) = template.render_samples([CHAT], policy=TrainPolicy())
        if isinstance(samples, TunesmithError):
            refused[file] = samples.problems[0].code
            continue
        num_samples[len(samples)] += 1
        spans = trained(samples, template)
        assert len(spans) == 2, (file, spans)
        for span, answer in zip(spans, ANSWERS, strict=True):
            after = span.partition(answer)[2].strip()
            assert CONTROL.fullmatch(after), (file, span)
            assert OPEN.get(file, after) == after, (file, span)
    assert refused == REFUSED
    assert len(sources) == 132 and num_samples == {1: 121, 2: 4}


@pytest.mark.parametrize("name", sorted(load_catalog().entries))
def test_the_catalog_ends_every_answer(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    template = load_template(tokenizer, name=name)
    (samples,) = template.render_samples([CHAT], policy=TrainPolicy())
    assert not isinstance(samples, TunesmithError)
    spans = trained(samples, template)
    assert len(spans) == 2
    for span, answer in zip(spans, ANSWERS, strict=True):
        stop = span.partition(answer)[2].strip()
        assert tokenizer.convert_tokens_to_ids(stop) in template.stop_ids(), span
    entry = load_catalog().entries[name]
    stops = {tokenizer.convert_tokens_to_ids(stop) for stop in entry.stops if stop in tokenizer.get_added_vocab()}
    assert stops <= set(template.stop_ids())


@pytest.mark.parametrize("name", sorted(load_catalog().entries))
def test_the_catalogs_answers_are_read_back(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    template = load_template(tokenizer, name=name)
    (samples,) = template.render_samples([CHAT], policy=TrainPolicy())
    assert not isinstance(samples, TunesmithError)
    message = template.parse(trained_runs(samples[-1])[-1])
    assert message.content.strip() == ANSWERS[1]
    assert message.reasoning is None


@pytest.mark.parametrize("name", sorted(load_catalog().entries))
def test_the_catalogs_tool_calls_are_trained_and_read_back(
    name: str, tokenizer: PreTrainedTokenizerFast, assets: Path
) -> None:
    chats = load_json(assets / "chat_templates" / "golden_renders.json")["conversations"]
    template = load_template(tokenizer, name=name)
    # GLM-4's format has no way to write two calls.
    takes_one = load_catalog().entries[name].tool_format == "glm4"
    for chat in ("tools_call", *(() if takes_one else ("parallel_tools",))):
        conversation = to_conversation(chats[chat])
        (samples,) = template.render_samples([conversation], policy=TrainPolicy())
        assert not isinstance(samples, TunesmithError)
        assert "get_weather" in samples[0].text.partition("Weather in")[0] or name in UNTOLD
        message = template.parse(trained_runs(samples[0])[0], tools=conversation.tools)
        calls = next(message.tool_calls for message in conversation.messages if message.tool_calls)
        assert [(call.name, call.arguments) for call in message.tool_calls] == [
            (call.name, call.arguments) for call in calls
        ]


def trained(samples: tuple[Rendered, ...], template: ChatTemplate) -> list[str]:
    """Decode each run of trained tokens of all samples."""
    assert isinstance(template, JinjaTemplate)
    return [template.decode(run) for sample in samples for run in trained_runs(sample)]


def trained_runs(sample: Rendered) -> list[list[int]]:
    """Give the ids of each unbroken run of trained tokens."""
    flags = np.concatenate([[0], sample.weights > 0, [0]])
    starts, ends = np.flatnonzero(np.diff(flags) == 1), np.flatnonzero(np.diff(flags) == -1)
    return [sample.input_ids[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
