# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What columns tell about the format of a data set: one small function a layout, tried in order.

Names that a description gives are taken as given; only the others are looked for.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tunesmith.data.formats.openai import ROLES
from tunesmith.data.formats.turns import CALL_WORDS, ROLE_WORDS
from tunesmith.data.sight import Layout, Sight

_SWIFT_COLUMNS = (
    *("rejected_response", "rejected_messages", "positive_messages", "negative_messages"),
    *("channel", "objects", "teacher_prompt", "chat_template_kwargs"),
)
_ROLE_WORDS: Mapping[str, tuple[str, ...]] = {
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant", "bot"),
    "observation_tag": ("observation", "tool", "tool_response", "function_response"),
    "function_tag": ("function_call", "tool_call"),
    "system_tag": ("system",),
}


def recognise(sight: Sight) -> Layout | None:
    """Give the first layout that the columns show, or None."""
    looks = _PROMPT_LOOKS if sight.given.get("prompt") is not None else _LOOKS
    return next((layout for look in looks if (layout := look(sight)) is not None), None)


def _conversation_pair(sight: Sight) -> Layout | None:
    """Two whole conversations: chosen_messages and rejected_messages, or chosen and rejected that hold the prompt."""
    if {"chosen_messages", "rejected_messages"} <= set(sight.present):
        return Layout(format="pair", reason=_columns("chosen_messages", "rejected_messages"), names=sight.extras())
    chosen, rejected = sight.name("chosen"), sight.name("rejected")
    first = next((value[0] for value in sight.values(chosen) if isinstance(value, list) and value), None)
    if rejected is None or not isinstance(first, Mapping):
        return None
    if ROLE_WORDS.get(str(first.get("role", first.get("from")))) in ("user", "system"):
        names = {**sight.extras(), "chosen_messages": chosen, "rejected_messages": rejected}
        return Layout(format="pair", reason=f"{_columns(chosen, rejected)} with whole conversations", names=names)
    return None


def _messages(sight: Sight) -> Layout | None:
    name = _messages_column(sight)
    if name is None:
        return None
    turns = [turn for value in sight.values(name) for turn in _turns(value)]
    keys = {str(key) for turn in turns for key in turn}
    roles = {str(turn[key]) for turn in turns for key in ("role", "from") if key in turn}
    names = {**sight.extras(), "messages": name}
    if "role_tag" not in sight.tags and _is_swift(sight, keys, roles):
        return Layout(format="swift", reason=f"column {name!r} in ms-swift's notation", names=names)
    ranking = _is_ranking(sight)
    names |= sight.named("chosen", "rejected") if ranking else {}
    if "role" in keys and "role_tag" not in sight.tags:
        tags = {"content_tag": "value"} if "value" in keys and "content" not in keys else {}
        reason = f"column {name!r} with role and {tags.get('content_tag', 'content')}"
        return Layout(format="openai", reason=reason, names=names, tags=tags, ranking=ranking)
    tags = {tag: word for tag, words in _ROLE_WORDS.items() if (word := _first(words, roles)) is not None}
    keys_named = f"{sight.tags.get('role_tag', 'from')} and {sight.tags.get('content_tag', 'value')}"
    reason = f"column {name!r} with {keys_named}"
    return Layout(format="sharegpt", reason=reason, names=names, tags=tags, ranking=ranking)


def _messages_column(sight: Sight) -> str | None:
    """Find the column of messages; a prompt made of messages is one."""
    if "messages" in sight.given:
        return sight.given["messages"]
    if (name := sight.name("messages")) is not None:
        return name
    prompt = sight.name("prompt")
    return prompt if sight.holds_lists(prompt, dict) else None


def _turns(value: Any) -> Iterable[Mapping[str, Any]]:
    return (turn for turn in value if isinstance(turn, Mapping)) if isinstance(value, list) else ()


def _is_swift(sight: Sight, keys: set[str], roles: set[str]) -> bool:
    """Say whether only ms-swift's reader knows the notation: its columns, pair form, or its roles beside contents."""
    if any(name in sight.present for name in _SWIFT_COLUMNS) or sight.kind == "text":
        return True
    if not keys & {"role", "from"}:
        return bool(keys & set(ROLE_WORDS))
    return "role" in keys and bool(roles & {*ROLE_WORDS, *CALL_WORDS} - set(ROLES))


def _entities(sight: Sight) -> Layout | None:
    text = sight.name("text")
    if text is None or "entities" not in sight.present or sight.kind == "text":
        return None
    name = "ner_zh" if sight.is_chinese(text) else "ner"
    return Layout(format=name, reason=_columns(text, "entities"), names={"text": text, **sight.named("system")})


def _exam(sight: Sight) -> Layout | None:
    question = _first(("question", "Question"), sight.present)
    if question is None or not {"A", "B", "C"} <= set(sight.present):
        return None
    answer = _first(("answer", "Answer"), sight.present)
    names = {**sight.named("system"), "prompt": question, "response": answer}
    return Layout(format="exam", reason=f"{_columns(question)} and choices A, B, C, …", names=names)


def _solutions(sight: Sight) -> Layout | None:
    """Solutions of models, looked for where the stage learns from feedback."""
    prompt = sight.name("prompt")
    if sight.kind != "feedback" or prompt is None:
        return None
    nested = [
        name
        for name in sight.present
        if any(isinstance(value, Mapping) and "is_correct" in value for value in sight.values(name))
    ]
    if nested:
        chosen = sight.given.get("response") or nested[0]
        others = [name for name in nested if name != chosen]
        hint = f" (not read: {', '.join(map(repr, others))}; name one as `response`)" if others else ""
        names = {"prompt": prompt, "response": chosen}
        return Layout(format="solutions", reason=f"column {chosen!r} with solution and is_correct{hint}", names=names)
    if {"solution", "is_correct"} <= set(sight.present):
        names = {"prompt": prompt, "response": "solution", "kto_tag": "is_correct"}
        return Layout(format="solutions", reason=_columns(prompt, "solution", "is_correct"), names=names)
    return None


def _contrast(sight: Sight) -> Layout | None:
    names = sight.named("anchor", "positive", "negative", "similarity")
    if sight.kind == "contrast" and "positive" not in names and "similarity" in names:
        pair = sight.named("prompt", "response")
        names = {**names, "anchor": pair.get("prompt"), "positive": pair.get("response")}
    anchor, positive = names.get("anchor"), names.get("positive")
    if anchor is None or positive is None or "input" in sight.present:
        return None
    return Layout(format="contrast", reason=_columns(*dict.fromkeys(names.values())), names=names)


def _labelled(sight: Sight) -> Layout | None:
    is_chat = sight.name("prompt") is not None and sight.kind != "labelled"
    text = None if is_chat else sight.name("text")
    label = sight.name("label")
    names: dict[str, str | None] = {"text": text, "label": label, **sight.named("system")}
    if "label" not in sight.given and {"category", "output"} <= set(sight.present):
        names |= {"label": "output", "candidates": "category"}
    if text is None or names["label"] is None or sight.kind == "text":
        return None
    name = "labelled" if sight.kind == "labelled" else "classification"
    if name == "classification" and sight.is_chinese(text):
        name = "classification_zh"
    return Layout(format=name, reason=_columns(text, names["label"]), names=names)


def _text_first(sight: Sight) -> Layout | None:
    """A column of texts, where the stage learns texts."""
    return _text(sight) if sight.kind == "text" else None


def _questions(sight: Sight) -> Layout | None:
    prompt = sight.name("prompt")
    if prompt is None:
        return None
    response = _response_of(sight, prompt)
    names = {**sight.extras(), "prompt": prompt}
    if prompt == "input" and "query" not in sight.given:
        names["query"] = None
    if _is_ranking(sight) and (response is None or sight.kind == "preference"):
        names |= {**sight.named("chosen", "rejected"), "response": None}
        compared = _columns(prompt, names.get("chosen"), names.get("rejected"))
        return Layout(format="alpaca", reason=compared, names=names, ranking=True)
    names |= {"response": response} if response is not None or sight.kind == "text" else {}
    if prompt == "query" or any(name in sight.present for name in _SWIFT_COLUMNS):
        names |= {"query": "input"} if prompt != "input" and "input" in sight.present else {}
        return Layout(format="swift", reason=_columns(prompt, response), names=names)
    return Layout(format="alpaca", reason=_columns(prompt, response), names=names)


def _response_of(sight: Sight, prompt: str) -> str | None:
    """Find the column of answers; a prompt that is described alone, for a stage that learns texts, has none."""
    if sight.kind == "text" and "response" not in sight.given and "prompt" in sight.given:
        return None
    response = sight.name("response")
    return None if response == prompt else response


def _text(sight: Sight) -> Layout | None:
    text = sight.name("text")
    return None if text is None else Layout(format="text", reason=_columns(text), names={"text": text})


def _lone_answer(sight: Sight) -> Layout | None:
    """A column of answers alone: ms-swift's layout for pre-training."""
    response = sight.name("response")
    if response is None:
        return None
    return Layout(format="text", reason=f"{_columns(response)} and no prompt", names={"text": response})


_LOOKS = (
    _conversation_pair,
    _messages,
    _entities,
    _exam,
    _solutions,
    _contrast,
    _text_first,
    _labelled,
    _questions,
    _text,
    _lone_answer,
)


# A description that names the prompt rules out layouts that have none.
_PROMPT_LOOKS = (_solutions, _questions)


def _is_ranking(sight: Sight) -> bool:
    return sight.ranking or (sight.name("chosen") is not None and sight.name("rejected") is not None)


def _first(candidates: Iterable[str], present: Iterable[str]) -> str | None:
    found = set(present)
    return next((name for name in candidates if name in found), None)


def _columns(*names: str | None) -> str:
    shown = [repr(name) for name in names if name is not None]
    return f"column {shown[0]}" if len(shown) == 1 else f"columns {', '.join(shown[:-1])} and {shown[-1]}"
