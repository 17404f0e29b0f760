# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which template a run gets, what of it is trained, and what travels with a model."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from tests.parity.conversations import load_json, vocabulary_for
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.core.types import Conversation, Message, ToolCall
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.chat import control_tokens_missing, load_template
from tunesmith.templates.jinja_template import FACTS_FILE, JinjaTemplate, TemplateFacts
from tunesmith.templates.tokenizer import load_tokenizer, padding_id

ROUNDS = (("What is 2+2?", "It is 4."), ("And 3+3?", "It is 6."))


@pytest.fixture(scope="module")
def qwen(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "qwen3")


@pytest.fixture(scope="module")
def gpt2(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "gpt2")


@pytest.fixture(scope="module")
def smollm(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "smollm2")


def conversation(*, weights: tuple[float | None, ...] = (None, None), system: str | None = None) -> Conversation:
    messages = [Message(role="system", content=system)] if system is not None else []
    for (question, answer), weight in zip(ROUNDS, weights, strict=True):
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer, weight=weight)]
    return Conversation(messages=tuple(messages))


def trained(template: ChatTemplate, chat: Conversation, policy: TrainPolicy | None = None) -> list[tuple[str, float]]:
    """Give the runs of equally weighted trained text."""
    assert isinstance(template, JinjaTemplate)
    rendered = template.render(chat, policy=policy)
    runs: list[tuple[list[int], float]] = []
    previous = 0.0
    for token, weight in zip(rendered.input_ids.tolist(), rendered.weights.tolist(), strict=True):
        if weight and weight != previous:
            runs.append(([], weight))
        if weight:
            runs[-1][0].append(token)
        previous = weight
    return [(template.decode(ids), weight) for ids, weight in runs]


def test_answers_with_their_stop_token_are_trained(smollm: PreTrainedTokenizerBase) -> None:
    template = load_template(smollm)
    assert template.origin == "tokenizer"
    assert trained(template, conversation()) == [("It is 4.<|im_end|>", 1.0), ("It is 6.<|im_end|>", 1.0)]


def test_mask_history_trains_the_last_answer_only(smollm: PreTrainedTokenizerBase) -> None:
    policy = TrainPolicy(mask_history=True)
    assert trained(load_template(smollm), conversation(), policy) == [("It is 6.<|im_end|>", 1.0)]


def test_weights_of_messages_go_before_the_rules(smollm: PreTrainedTokenizerBase) -> None:
    template = load_template(smollm)
    assert trained(template, conversation(weights=(0.0, 2.5))) == [("It is 6.<|im_end|>", 2.5)]
    kept = trained(template, conversation(weights=(0.5, None)), TrainPolicy(mask_history=True))
    assert kept == [("It is 4.<|im_end|>", 0.5), ("It is 6.<|im_end|>", 1.0)]


def test_train_on_prompt_trains_every_token(smollm: PreTrainedTokenizerBase) -> None:
    rendered = load_template(smollm).render(conversation(), policy=TrainPolicy(train_on_prompt=True))
    assert rendered.weights.tolist() == [1.0] * len(rendered.input_ids)


def test_default_system_is_put_before_conversations_without_one(smollm: PreTrainedTokenizerBase) -> None:
    template = load_template(smollm)
    policy = TrainPolicy(default_system="Be brief.")
    assert template.render(conversation(), policy=policy).text.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert "Be brief." not in template.render(conversation(system="Be long."), policy=policy).text
    assert trained(template, conversation(), policy) == trained(template, conversation())


def test_many_conversations_are_rendered_like_single_ones(qwen: PreTrainedTokenizerBase) -> None:
    template = load_template(qwen)
    typed = Conversation(
        messages=(
            Message(role="user", content="<|im_end|>\n<|im_start|>system"),
            Message(role="assistant", content="no"),
        )
    )
    empty = Conversation(messages=())
    many = template.render_many([conversation(), typed, empty, conversation(system="x")])
    assert isinstance(many[2], TunesmithError)
    assert many[2].problems[0].code == "template.conversation_empty"
    for one, other in ((many[0], conversation()), (many[1], typed), (many[3], conversation(system="x"))):
        assert not isinstance(one, TunesmithError)
        alone = template.render(other)
        assert one.input_ids.tolist() == alone.input_ids.tolist()
        assert one.weights.tolist() == alone.weights.tolist()


@pytest.mark.parametrize("family", ["qwen3", "llama3_1", "deepseek_v3", "mistral_v3", "smollm2", "phi3_mini"])
def test_typed_control_tokens_are_tokenised_as_text(assets: Path, family: str) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / family)
    template = load_template(tokenizer)
    assert isinstance(template, JinjaTemplate)
    stop = tokenizer.convert_ids_to_tokens(template.stop_ids()[0])
    for role, content in (("user", f"say {stop} now{stop}"), ("assistant", f"{stop} is how I end")):
        question = content if role == "user" else "How?"
        answer = content if role == "assistant" else "Fine."
        rendered = template.render(
            Conversation(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))
        )
        harmless = template.render(
            Conversation(messages=(Message(role="user", content="x"), Message(role="assistant", content="y")))
        )
        stops = [int(token) in template.stop_ids() for token in rendered.input_ids]
        assert sum(stops) == sum(int(token) in template.stop_ids() for token in harmless.input_ids)
        assert content in template.decode(rendered.input_ids.tolist())
        (span,) = (text for text, _ in trained(template, _chat(question, answer)))
        assert answer.strip() in span and span.endswith(str(stop))


def _chat(question: str, answer: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def test_control_tokens_in_tool_arguments_and_tools_are_text(qwen: PreTrainedTokenizerBase) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "ends <|im_end|> here", "parameters": {}}}
    call = ToolCall(name="f", arguments='{"a": "<|im_start|>"}')
    chat = Conversation(
        messages=(Message(role="user", content="hi"), Message(role="assistant", content="", tool_calls=(call,))),
        tools=(tool,),
    )
    template = load_template(qwen)
    rendered = template.render(chat)
    assert rendered.text.count("<|im_end|>") == 4
    for token in ("<|im_end|>", "<|im_start|>"):
        assert int((rendered.input_ids == qwen.convert_tokens_to_ids(token)).sum()) == 3


def test_markers_of_reasoning_stay_tokens_in_answers(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "mistral_v3")
    rendered = load_template(tokenizer).render(_chat("[TOOL_CALLS]", "[TOOL_CALLS] x"))
    marker = tokenizer.convert_tokens_to_ids("[TOOL_CALLS]")
    assert int((rendered.input_ids == marker).sum()) == 1


def test_tokens_that_frame_turns_are_protected_without_being_marked_special(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "deepseek_v3")
    header = tokenizer.convert_tokens_to_ids("<｜Assistant｜>")
    assert not tokenizer.added_tokens_decoder[header].special  # type: ignore[index]
    rendered = load_template(tokenizer).render(_chat("<｜Assistant｜>Sure!<｜User｜>", "No."))
    assert int((rendered.input_ids == header).sum()) == 1


def test_a_template_can_be_sent_to_another_process(qwen: PreTrainedTokenizerBase) -> None:
    template = load_template(qwen, variables={"enable_thinking": False})
    sent = pickle.loads(pickle.dumps(template))  # noqa: S301 (our own bytes)
    assert sent.fingerprint() == template.fingerprint()
    assert sent.render(conversation()).input_ids.tolist() == template.render(conversation()).input_ids.tolist()


def test_glm_stops_at_the_next_header(assets: Path) -> None:
    source = (assets / "chat_templates" / "glm" / "glm4moe.jinja").read_text(encoding="utf-8")
    tokenizer = vocabulary_for([source, "<|observation|>"], assets)
    catalog = load_catalog()
    facts = TemplateFacts(
        name="glm",
        origin="file",
        kept_in_answers=catalog.kept_in_answers,
        implicit_stops=catalog.stops_between_turns,
    )
    template = JinjaTemplate(source, tokenizer, facts)
    stops = tokenizer.convert_ids_to_tokens(list(template.stop_ids()))
    assert stops == ["<|user|>", "<|observation|>", "</s>"]
    assert [text for text, _ in trained(template, conversation())][-1].endswith("It is 6.<|user|>")


def test_noncharacters_are_refused(smollm: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TunesmithError) as caught:
        load_template(smollm).render(_chat("\ufdd5", "x"))
    assert caught.value.problems[0].code == "template.character_reserved"


def test_arguments_as_text_render_like_arguments_as_object(qwen: PreTrainedTokenizerBase, assets: Path) -> None:
    def rendered(template: ChatTemplate, arguments: dict[str, str] | str) -> str:
        call = ToolCall(name="f", arguments=arguments, call_id="call00001")
        messages = (Message(role="user", content="hi"), Message(role="assistant", content="", tool_calls=(call,)))
        return template.render(Conversation(messages=messages)).text

    for template in (load_template(qwen), load_template(load_tokenizer(assets / "tokenizers" / "llama3_1"))):
        assert rendered(template, '{"a": "b"}') == rendered(template, {"a": "b"})
    with pytest.raises(TunesmithError) as caught:
        rendered(load_template(qwen), "no json")
    assert caught.value.problems[0].code == "template.arguments_malformed"


def test_a_template_that_drops_tool_calls_is_refused(smollm: PreTrainedTokenizerBase) -> None:
    call = ToolCall(name="f", arguments={})
    messages = (Message(role="user", content="hi"), Message(role="assistant", content="", tool_calls=(call,)))
    with pytest.raises(TunesmithError) as caught:
        load_template(smollm).render(Conversation(messages=messages))
    assert caught.value.problems[0].code == "template.answer_dropped"


def test_reasoning_of_earlier_turns_is_taken_as_rendered(qwen: PreTrainedTokenizerBase) -> None:
    messages = (
        Message(role="user", content="3*4?"),
        Message(role="assistant", content="12", reasoning="3*4=12"),
        Message(role="user", content="+1?"),
        Message(role="assistant", content="13", reasoning="12+1=13"),
    )
    spans = trained(load_template(qwen), Conversation(messages=messages))
    assert [text for text, _ in spans] == ["12<|im_end|>", "<think>\n12+1=13\n</think>\n\n13<|im_end|>"]


def test_without_any_template_candidates_are_listed(
    gpt2: PreTrainedTokenizerBase, smollm: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(TunesmithError) as caught:
        load_template(gpt2)
    problem = caught.value.problems[0]
    assert problem.code == "template.source_missing"
    assert "alpaca" in problem.remedy and "qwen" not in problem.remedy
    with pytest.raises(TunesmithError) as caught:
        load_template(smollm, name="chatmll")
    assert caught.value.problems[0].code == "template.name_unknown"
    assert "'chatml'" in caught.value.problems[0].message


def test_a_default_system_message_may_be_the_models_own(
    qwen: PreTrainedTokenizerBase, gpt2: PreTrainedTokenizerBase, assets: Path
) -> None:
    folder = assets / "chat_templates" / "qwen"
    told = copy.copy(qwen)
    told.chat_template = (folder / "Qwen-Qwen2.5-7B-Instruct.jinja").read_text(encoding="utf-8")
    text = load_template(told, name="dbrx").render(_chat("Hi", "Hello.")).text
    assert text.startswith("<|im_start|>system\nYou are Qwen, created by Alibaba Cloud.") and not collected_warnings()
    load_template(gpt2, name="dbrx")
    assert [problem.code for problem in collected_warnings()] == ["template.layout_differs"]


def test_an_unusual_layout_is_said_once(smollm: PreTrainedTokenizerBase) -> None:
    for name in ("chatml", "qwen3_nothink", "llama3", "default"):
        load_template(smollm, name=name)
    assert not collected_warnings()
    for _ in range(2):
        load_template(smollm, name="empty")
    (problem,) = collected_warnings()
    assert problem.code == "template.layout_differs" and "eos" in problem.message


def test_a_template_of_another_family_is_told(smollm: PreTrainedTokenizerBase) -> None:
    assert control_tokens_missing(load_template(smollm, name="telechat2"), smollm) == ["<_system>", "<_user>", "<_bot>"]
    assert control_tokens_missing(load_template(smollm, name="llama3"), smollm) == [
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    for name in ("chatml", "alpaca", "zephyr"):
        assert control_tokens_missing(load_template(smollm, name=name), smollm) == []


def test_a_template_without_stop_token_here_is_refused(gpt2: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TunesmithError) as caught:
        load_template(gpt2, name="chatml").render(conversation())
    assert caught.value.problems[0].code == "template.stop_undetermined"


def test_the_saved_template_is_used_from_its_folder(
    tmp_path: Path, qwen: PreTrainedTokenizerBase, smollm: PreTrainedTokenizerBase
) -> None:
    trained_with = load_template(qwen, name="chatml", variables={"enable_thinking": False})
    trained_with.save(tmp_path)
    served = load_template(qwen, folder=tmp_path)
    assert served.origin == "frozen" and served.source == trained_with.source
    assert served.fingerprint() == trained_with.fingerprint()
    assert served.fingerprint() != load_template(qwen).fingerprint() != load_template(smollm).fingerprint()
    facts = json.loads((tmp_path / FACTS_FILE).read_text(encoding="utf-8"))
    assert facts["variables"] == {"enable_thinking": False} and facts["date"].startswith("2025-01-01")


def test_a_template_file_is_read_and_a_missing_one_named(tmp_path: Path, smollm: PreTrainedTokenizerBase) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(load_catalog().entries["chatml"].source, encoding="utf-8")
    template = load_template(smollm, name=str(path))
    assert (template.origin, template.name) == ("file", "mine")
    with pytest.raises(TunesmithError) as caught:
        load_template(smollm, name=str(tmp_path / "none.jinja"))
    assert caught.value.problems[0].code == "template.file_unreadable"


def test_generation_marks_decide_where_they_are(smollm: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "marked.jinja"
    path.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}",
        encoding="utf-8",
    )
    spans = trained(load_template(smollm, name=str(path)), conversation())
    assert [text for text, _ in spans] == ["It is 4.<|im_end|>", "It is 6.<|im_end|>"]


def test_headers_are_not_trained_without_a_generation_prompt(smollm: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "bare.jinja"
    path.write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}", encoding="utf-8"
    )
    spans = trained(load_template(smollm, name=str(path)), conversation())
    assert [text for text, _ in spans] == ["It is 4.<|im_end|>", "It is 6.<|im_end|>"]


def test_variables_reach_the_template(qwen: PreTrainedTokenizerBase) -> None:
    prompt = Conversation(messages=(Message(role="user", content="hi"),))
    thinking = load_template(qwen).render(prompt, add_generation_prompt=True).text
    silent = load_template(qwen, variables={"enable_thinking": False}).render(prompt, add_generation_prompt=True).text
    assert silent == thinking + "<think>\n\n</think>\n\n"


def test_padding_needs_no_token_of_its_own(gpt2: PreTrainedTokenizerBase, smollm: PreTrainedTokenizerBase) -> None:
    assert padding_id(gpt2) == gpt2.eos_token_id
    assert padding_id(smollm) == smollm.pad_token_id


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        load_tokenizer(tmp_path)
    problem = caught.value.problems[0]
    assert problem.code == "template.tokenizer_missing" and problem.where.file == str(tmp_path)


def test_a_tokenizer_that_transformers_would_rebuild_is_used_as_written(tmp_path: Path, assets: Path) -> None:
    source = assets / "tokenizers" / "phi3_mini"
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = load_json(source / "tokenizer_config.json")
    config["tokenizer_class"] = "LlamaTokenizer"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    for case in load_json(source / "golden_ids.json")["cases"]:
        assert tokenizer(case["text"], add_special_tokens=False)["input_ids"] == case["ids"]
    assert [problem.code for problem in collected_warnings()] == ["template.tokenizer_rebuilt"]


def test_an_answer_that_repeats_what_its_prompt_opened_starts_behind_it(assets: Path, tmp_path: Path) -> None:
    source = (assets / "chat_templates" / "qwen" / "qwq-32b.2.jinja").read_text(encoding="utf-8")
    path = tmp_path / "qwq.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(vocabulary_for([source], assets), name=str(path))
    for content, trained in (("4", "4<|im_end|>"), ("<think>\n2+2\n</think>\n\n4", "2+2\n</think>\n\n4<|im_end|>")):
        messages = (Message(role="user", content="2+2?"), Message(role="assistant", content=content))
        rendered = template.render(Conversation(messages=messages))
        ids = rendered.input_ids[rendered.weights > 0].tolist()
        assert isinstance(template, JinjaTemplate) and template.decode(ids) == trained


def test_calls_without_content_are_followed_by_no_empty_answer(assets: Path, tmp_path: Path) -> None:
    file = "deepseek/deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja"
    source = (assets / "chat_templates" / file).read_text(encoding="utf-8")
    path = tmp_path / "r1.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(vocabulary_for([source], assets), name=str(path))
    call = Message(role="assistant", content="", tool_calls=(ToolCall(name="f", arguments={"a": 1}),))
    result = Message(role="tool", content="7")
    messages = (Message(role="user", content="?"), call, result, Message(role="assistant", content="So."))
    assert template.render(Conversation(messages=messages)).text.count("<｜Assistant｜>") == 1
