# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of every template that tests can load: the tokenizers' own ones and the catalog's."""

import lzma
import tarfile
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import Conversation, IntArray, Message, Rendered
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.chat import control_tokens_missing, load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tokenizer import load_tokenizer

# Each catalog template with a vocabulary of its family; None stands for the tokenizer's own template.
PAIRS = [
    ("qwen3", None),
    ("llama3_1", None),
    ("deepseek_v3", None),
    ("mistral_v3", None),
    ("smollm2", None),
    ("phi3_mini", None),
    ("chatglm3", None),
    ("gemma3", None),
    ("qwen3", "chatml"),
    ("qwen3", "qwen"),
    ("qwen3", "qwen3"),
    ("qwen3", "qwen3_nothink"),
    ("smollm2", "smollm2"),
    ("smollm2", "yi"),
    ("llama3_1", "llama3"),
    ("mistral_v3", "mistral"),
    ("mistral_v3", "llama2"),
    ("deepseek_v3", "deepseek3"),
    ("deepseek_v3", "deepseek"),
    ("gemma3", "gemma"),
    ("phi3_mini", "phi"),
    ("gpt2", "alpaca"),
    ("gpt2", "default"),
    ("mistral_v3", "zephyr"),
    ("qwen3", "qwen3_5"),
    ("mistral_v3", "ministral"),
    ("chatglm3", "chatglm3"),
]
SPECIAL_TEXTS = ["<|im_end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "</s>", "<|end|>", "<end_of_turn>", "<｜User｜>"]
_SAFE = st.characters(
    exclude_categories=("Cs", "Cc", "Cn"), exclude_characters=[chr(code) for code in range(0xFDD0, 0xFDF0)]
)
_WORDS = st.sampled_from(["Hello", " world", "\n", "  ", "你好", "🙂", "3 < 4", "{{ x }}", "{% if %}", "naïve", "\t"])
TEXTS = st.lists(_WORDS | st.text(_SAFE, max_size=8), max_size=6).map("".join)
DECORATED = st.lists(TEXTS | st.sampled_from(SPECIAL_TEXTS), max_size=4).map("".join)
ROUNDS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def gemma_folder(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma")
    with lzma.open(assets / "tokenizers" / "gemma3.tar.xz") as stream, tarfile.open(fileobj=stream) as archive:
        archive.extractall(folder, filter="data")
    return next(path.parent for path in folder.rglob("tokenizer.json"))


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1] or 'own'}")
def pair(
    request: pytest.FixtureRequest, assets: Path, gemma_folder: Path
) -> Iterator[tuple[PreTrainedTokenizerBase, JinjaTemplate]]:
    family, name = request.param
    tokenizer = loaded(gemma_folder if family == "gemma3" else assets / "tokenizers" / family)
    template = load_template(tokenizer, name=name)
    assert isinstance(template, JinjaTemplate)
    yield tokenizer, template


@cache
def loaded(folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(folder)


fast = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(rounds=ROUNDS)
@fast
def test_ids_equal_apply_chat_template(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], rounds: list[tuple[str, str]]
) -> None:
    tokenizer, template = pair
    for is_prompt in (False, True):
        conversation = chat(rounds, is_prompt=is_prompt)
        messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
        ours = template.render(conversation, add_generation_prompt=is_prompt).input_ids.tolist()
        theirs = list(
            tokenizer.apply_chat_template(
                messages, chat_template=template.source, add_generation_prompt=is_prompt, tokenize=True
            )["input_ids"]  # type: ignore[call-overload, index]
        )
        # Where a template ends a turn only by the next header, that token is added behind the last answer.
        if not is_prompt and ours[:-1] == theirs and ours[-1] in template.stop_ids():
            ours.pop()
        if template.facts.split_answers and ours != theirs:
            # The catalog's templates let no token reach from a header into an answer.
            assert tokenizer.decode(ours) == tokenizer.decode(theirs)
        else:
            assert ours == theirs


@given(rounds=ROUNDS)
@fast
def test_every_answer_and_its_stop_token_are_trained_and_nothing_else(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], rounds: list[tuple[str, str]]
) -> None:
    _, template = pair
    rendered = template.render(chat(rounds))
    spans = trained_runs(rendered)
    assert len(spans) == len(rounds)
    for span, (_, answer) in zip(spans, rounds, strict=True):
        assert span[-1] in template.stop_ids()
        assert not set(span[:-1].tolist()) & set(template.stop_ids())
        assert squeezed(answer) in squeezed(template.decode(span.tolist()))


@given(rounds=ROUNDS)
@fast
def test_shape_and_search_agree(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], rounds: list[tuple[str, str]]
) -> None:
    _, template = pair
    dialogue = [{"role": message.role, "content": message.content} for message in chat(rounds).messages]
    by_shape = template.finder.find(dialogue, None).located
    assert by_shape == template.finder.search(dialogue, None)


@given(rounds=st.lists(st.tuples(DECORATED, DECORATED), min_size=1, max_size=2))
@fast
def test_typed_control_tokens_stay_text(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], rounds: list[tuple[str, str]]
) -> None:
    tokenizer, template = pair
    frame = template.sample()
    special = [
        index
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special or (token.content in frame and token.content.strip())
    ]
    harmless = [tuple("x" if text.strip() else text for text in pair_) for pair_ in rounds]
    for is_prompt in (False, True):
        typed = template.render(chat(rounds, is_prompt=is_prompt), add_generation_prompt=is_prompt)
        plain = template.render(chat(harmless, is_prompt=is_prompt), add_generation_prompt=is_prompt)  # type: ignore[arg-type]
        assert np.isin(typed.input_ids, special).sum() == np.isin(plain.input_ids, special).sum()
        assert squeezed(rounds[0][0]) in squeezed(typed.text)


@given(rounds=ROUNDS)
@fast
def test_the_prompt_is_what_training_continues(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], rounds: list[tuple[str, str]]
) -> None:
    _, template = pair
    # White space at the start of an answer may melt with the header's into one token.
    *earlier, (question, answer) = rounds
    rounds = [*earlier, (question, answer.lstrip() or "x")]
    whole = template.render(chat(rounds))
    prompt = template.render(chat(rounds, is_prompt=True), add_generation_prompt=True)
    assert not prompt.weights.any()
    if whole.text.startswith(prompt.text):
        assert whole.input_ids[: len(prompt.input_ids)].tolist() == prompt.input_ids.tolist()
        assert whole.weights[len(prompt.input_ids)] == 1.0


@given(question=TEXTS, answer=TEXTS)
@fast
def test_a_generated_answer_is_read_back(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate], question: str, answer: str
) -> None:
    _, template = pair
    answer = answer.strip().replace("\r", "") or "x"
    span = trained_runs(template.render(chat([(question, answer)])))[-1]
    message = template.parse(span.tolist())
    assert message.role == "assistant" and message.reasoning is None
    assert squeezed(message.content) == squeezed(answer)


def test_catalog_templates_of_a_family_fit_its_vocabulary(
    pair: tuple[PreTrainedTokenizerBase, JinjaTemplate],
) -> None:
    tokenizer, template = pair
    assert control_tokens_missing(template, tokenizer) == []


def test_every_catalog_entry_ends_its_answers(assets: Path) -> None:
    tokenizer = loaded(assets / "tokenizers" / "qwen3")
    for name in load_catalog().entries:
        template = load_template(tokenizer, name=name)
        text = template.sample()
        assert isinstance(template, ChatTemplate) and (text or name == "empty"), name


def chat(rounds: list[tuple[str, str]], *, is_prompt: bool = False) -> Conversation:
    messages: list[Message] = []
    for question, answer in rounds:
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Conversation(messages=tuple(messages[:-1] if is_prompt else messages))


def trained_runs(rendered: Rendered) -> list[IntArray]:
    """Give the ids of each unbroken run of trained tokens."""
    trained = np.concatenate([[0], rendered.weights > 0, [0]])
    starts, ends = np.flatnonzero(np.diff(trained) == 1), np.flatnonzero(np.diff(trained) == -1)
    return [rendered.input_ids[start:end] for start, end in zip(starts, ends, strict=True)]


def squeezed(text: str) -> str:
    """Reduce a text to what no template and no tokenizer changes: its visible characters, composed."""
    return "".join(unicodedata.normalize("NFC", text).split())
