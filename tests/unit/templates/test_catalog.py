# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog against LLaMA-Factory's list: names, layouts, default system messages, stop tokens and placeholders."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.templates.catalog import CatalogEntry, load_catalog
from tunesmith.templates.jinja_template import FIXED_DATE
from tunesmith.templates.sandbox import CompiledTemplate

Layout = Mapping[str, Any]

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CHATML = {
    "user": "<|im_start|>user⏎▢<|im_end|>⏎<|im_start|>assistant⏎",
    "answer": "▢<|im_end|>⏎",
    "system": "<|im_start|>system⏎▢<|im_end|>⏎",
}
CHATML_RESULTS = {
    "tool": "<|im_start|>tool⏎▢<|im_end|>⏎<|im_start|>assistant⏎",
    "TR": "<|im_start|>user⏎<tool_response>⏎▢⏎</tool_response><|im_end|>⏎<|im_start|>assistant⏎",
}
LLAMA3_ROLE = "<|start_header_id|>{}<|end_header_id|>⏎⏎"
LLAMA3_NEXT = "▢<|eot_id|>" + LLAMA3_ROLE.format("assistant")
LLAMA3 = {
    "user": LLAMA3_ROLE.format("user") + LLAMA3_NEXT,
    "answer": "▢<|eot_id|>",
    "system": LLAMA3_ROLE.format("system") + "▢<|eot_id|>",
    "result": LLAMA3_ROLE.format("ipython") + LLAMA3_NEXT,
}
# Formats that the text of a template writes itself.
NATIVE_TOOLS = {"qwen": "hermes.jinja", "llama3": "llama3.jinja", "mistral": "mistral.jinja"}


@cache
def layouts() -> dict[str, Layout]:
    table = yaml.safe_load(Path(__file__).with_name("llamafactory_layouts.yaml").read_text(encoding="utf-8"))
    return {name: framed(given or {}) for name, given in table.items()}


def framed(given: Layout) -> Layout:
    """Spell out what the list abbreviates."""
    frame = given.get("frame")
    layout = {**(CHATML if frame == "CHATML" else LLAMA3 if frame == "LLAMA3" else {}), **given}
    if layout.get("result") in CHATML_RESULTS:
        layout["result"] = CHATML_RESULTS[layout["result"]]
    layout.setdefault("user", "▢")
    layout.setdefault("answer", "▢" if given.get("eos_once") else "▢{eos_token}")
    return {"system": "▢", "prefix": "", "result": layout["user"], **layout}


def filled(slot: str, content: str = "") -> str:
    """Fill a slot of the list with a content."""
    text = re.sub(r"\[tok (\[gMASK\]|[^\]]+)\]", r"\1", slot).replace("⏎", "\n").replace("▢", content)
    text = text.replace("{<|endoftext|>}", "")
    return text.replace("{bos_token}", TOKENS["bos_token"]).replace("{eos_token}", TOKENS["eos_token"])


def expected(layout: Layout, name: str) -> str:
    """Write a chat of a system message and two rounds as LLaMA-Factory does, thoughts of history left out."""
    system = filled(layout["system"], "Be brief.")
    first = filled(layout["user"], (system if layout.get("fused") else "") + "Hi")
    opening = filled(layout["prefix"]) + ("" if layout.get("fused") else system)
    empty = ""
    if layout.get("reasons"):
        before, after = layout.get("think", ["<think>⏎", "⏎</think>⏎⏎"])
        empty = filled((before if name not in ("glm4_7", "aeva") else "") + after)
    second = filled(layout["user"], "2+2?") + filled(layout["answer"], empty + "4.")
    return opening + first + filled(layout["answer"], "Hello.") + second


def rendered(entry: CatalogEntry, messages: list[dict[str, str]], **variables: Any) -> str:
    values = {**TOKENS, "tools": None, "add_generation_prompt": False, **variables, "messages": messages}
    return compiled(entry.source).render(values)


@cache
def compiled(source: str) -> CompiledTemplate:
    return CompiledTemplate(source, FIXED_DATE)


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


TWO_ROUNDS = (("user", "Hi"), ("assistant", "Hello."), ("user", "2+2?"), ("assistant", "4."))


def test_all_names_of_llamafactory_resolve() -> None:
    assert len(layouts()) == 124
    assert [name for name in layouts() if load_catalog().find(name) is None] == []


@pytest.mark.parametrize("name", sorted(layouts()))
def test_the_text_is_llamafactorys(name: str) -> None:
    entry = load_catalog().entries[name]
    text = rendered(entry, chat(("system", "Be brief."), *TWO_ROUNDS))
    if name == "gpt_oss":
        # Earlier answers are put into the channel of answers, which LLaMA-Factory leaves out.
        text = text.replace("assistant<|channel|>final<|message|>Hello.", "assistantHello.")
    assert text == expected(layouts()[name], name)


@pytest.mark.parametrize("name", sorted(layouts()))
def test_the_prompt_is_the_beginning_of_what_is_trained(name: str) -> None:
    entry = load_catalog().entries[name]
    for variables in ({}, {"enable_thinking": False}):
        prompt = rendered(entry, chat(("user", "Hi")), add_generation_prompt=True, **variables)
        assert rendered(entry, chat(("user", "Hi"), ("assistant", "Hello.")), **variables).startswith(prompt)


@pytest.mark.parametrize("name", sorted(layouts()))
def test_default_system_messages_stand_where_none_is_given(name: str) -> None:
    entry, length = load_catalog().entries[name], layouts()[name].get("default_system")
    if entry.has_own_system:
        assert length and entry.default_system is None
        return
    assert (len(entry.default_system) if entry.default_system else None) == length
    if entry.default_system:
        given = rendered(entry, chat(("system", entry.default_system), *TWO_ROUNDS))
        assert rendered(entry, chat(*TWO_ROUNDS)) == given
    else:
        assert "Be brief." not in rendered(entry, chat(*TWO_ROUNDS))


@pytest.mark.parametrize("name", sorted(layouts()))
def test_tool_results_stand_in_their_turn(name: str) -> None:
    entry, layout = load_catalog().entries[name], layouts()[name]
    text = rendered(entry, chat(("user", "Hi"), ("assistant", "Wait."), ("tool", "21"), ("assistant", "4.")))
    header = filled(layout["result"], "21")
    if name == "granite4":
        # The header is closed, which LLaMA-Factory forgets.
        header = header.rstrip("\n") + "<|end_of_role|>"
    if entry.file == "deepseek3.jinja":
        header = "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>21<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"
    assert header in text


@pytest.mark.parametrize("name", sorted(layouts()))
def test_stops_tools_thoughts_and_media_are_llamafactorys(name: str) -> None:
    entry, layout = load_catalog().entries[name], layouts()[name]
    text = rendered(entry, chat(("user", "Hi"), ("assistant", "Hello.")))
    after = text[text.rindex("Hello.") :]
    for stop in layout.get("stops", ()):
        assert stop in entry.stops or stop in after
    tools = layout.get("tools", "default")
    assert entry.tool_format == tools or entry.file in (NATIVE_TOOLS.get(tools), "deepseek3.jinja")
    assert dict(entry.media) == layout.get("media", {})
    assert (entry.think is not None) == bool(layout.get("reasons"))
    has_end = after not in ("Hello.", "Hello.\n", "Hello.\n\n")
    assert has_end or entry.ends_by_eos or "<|user|>" in entry.stops


def test_aliases_lead_to_entries_and_hide_none() -> None:
    catalog = load_catalog()
    assert set(catalog.aliases.values()) <= set(catalog.entries)
    assert not set(catalog.aliases) & set(catalog.entries)
    for name in ("qwen2_5", "llama3_2", "deepseek_r1", "internlm2", "glm4_5", "phi3", "mistral_nemo"):
        assert catalog.find(name) is not None


@pytest.mark.parametrize(
    ("vocabulary", "first"),
    [
        ({"<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>"}, "qwen3"),
        ({"<|im_start|>", "<|im_end|>"}, "chatml"),
        ({"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, "llama3"),
        ({"[INST]", "[/INST]", "[TOOL_CALLS]"}, "mistral"),
        ({"<start_of_turn>", "<end_of_turn>"}, "gemma"),
    ],
)
def test_a_vocabulary_suggests_the_templates_of_its_family(vocabulary: set[str], first: str) -> None:
    assert load_catalog().fitting(vocabulary)[0] == first


def test_files_carry_the_licence_and_every_one_is_used() -> None:
    folder = Path(load_catalog.__wrapped__.__code__.co_filename).parent / "jinja"
    files = sorted(folder.glob("*.jinja"))
    for path in files:
        assert "SPDX-License-Identifier: Apache-2.0" in path.read_text(encoding="utf-8").splitlines()[0], path.name
    assert {path.name for path in files} == {entry.file for entry in load_catalog().entries.values()} | {
        "reasoning.jinja"
    }


def test_licence_comments_render_to_nothing() -> None:
    for entry in load_catalog().entries.values():
        assert "Apache" not in rendered(entry, chat(("user", "Hi")))
