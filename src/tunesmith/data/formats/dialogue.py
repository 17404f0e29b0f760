# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What all chat formats share: the order of turns, system prompts, answers that are compared, and the example made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunesmith.core.types import Conversation, Example, Message, Role, RowKind
from tunesmith.data.formats.base import MEDIA_KEYS, Columns, Row, RowError, as_text
from tunesmith.data.formats.media import Medium, media_of
from tunesmith.data.formats.tool_calls import read_tools
from tunesmith.data.formats.values import describe_list, read_number, read_truth, shown, to_json

ReadTurn = Callable[[Mapping[str, Any]], Message]

SHARED_KEYS = ("system", "tools", "kto_tag", "label", "reference_answer", *MEDIA_KEYS)
_ORDER_REMEDY = "After an optional system message, user (or tool) and assistant turns alternate; fix or remove the row."


def chat_example(
    row: Row,
    columns: Columns,
    messages: Sequence[Message],
    *,
    read: Sequence[str],
    inline: Sequence[Medium] = (),
) -> Example:
    """Build the example of a conversation; its kind follows from how it ends and from the label columns.

    `read` are the keys of the columns that the format has read; `inline` are media found in the messages.
    """
    messages = _with_system(row, columns, messages)
    check_order(messages)
    kind, label = _kind_of(row, columns, messages)
    answer = columns.optional(row, "reference_answer")
    return Example(
        kind=kind,
        source=row.source,
        conversation=Conversation(messages=tuple(messages), tools=read_tools(columns.optional(row, "tools"))),
        label=label,
        media=media_of(row, columns, messages, inline),
        reference_answer=None if answer is None else _reference_text(answer, columns),
        fields=columns.further(row, (*SHARED_KEYS, *read)),
    )


def _reference_text(answer: Any, columns: Columns) -> str:
    """Read a reference answer: text as it is; a number, a list or an object as its JSON text."""
    what = f"column {columns.names['reference_answer']!r}"
    return as_text(answer if isinstance(answer, str) else to_json(answer, what), what)


def _with_system(row: Row, columns: Columns, messages: Sequence[Message]) -> Sequence[Message]:
    system = columns.text(row, "system")
    if system and messages and messages[0].role != "system":
        return [Message(role="system", content=system), *messages]
    return messages


def _kind_of(row: Row, columns: Columns, messages: Sequence[Message]) -> tuple[RowKind, bool | str | float | None]:
    tag, label = columns.optional(row, "kto_tag"), columns.optional(row, "label")
    if tag is not None:
        _require_answer(messages)
        return "feedback", read_truth(tag, f"column {columns.names['kto_tag']!r}")
    if label is not None:
        return "labelled", read_label(label, f"column {columns.names['label']!r}")
    return ("supervised" if messages[-1].role == "assistant" else "prompt"), None


def _require_answer(messages: Sequence[Message]) -> None:
    if messages[-1].role != "assistant":
        raise RowError(
            "data.answer_missing",
            "The row has a true or false label and no answer that it could judge.",
            "Add the answer, or remove the row.",
        )


def read_label(value: Any, what: str) -> bool | str | float:
    """Read a label: a class name, a truth value or a number."""
    if isinstance(value, (bool, str)):
        return value if isinstance(value, bool) else as_text(value, what)
    if isinstance(value, (int, float)):
        return value if isinstance(value, int) else read_number(value, what)
    raise RowError(
        "data.type_wrong",
        f"A label must be a name or a number, found {shown(value)} in {what}.",
        "Write one label a row.",
    )


def preference_example(prompt: Example, *, chosen: Sequence[Message], rejected: Sequence[Sequence[Message]]) -> Example:
    """Build the example of a preference pair: the shared prompt and the turns that follow it."""
    if prompt.kind != "prompt" or prompt.conversation is None:
        raise RowError(
            "data.role_order_broken", "The shared prompt of a preference pair ends with an answer.", _ORDER_REMEDY
        )
    if not rejected:
        raise RowError("data.answer_missing", "The row has no rejected answer.", "Add one, or remove the row.")
    for turns in (chosen, *rejected):
        check_order([*prompt.conversation.messages, *turns])
    return Example(
        kind="preference",
        source=prompt.source,
        conversation=prompt.conversation,
        chosen=tuple(chosen),
        rejected=tuple(tuple(turns) for turns in rejected),
        media=prompt.media,
        channel=prompt.channel,
        reference_answer=prompt.reference_answer,
        fields=prompt.fields,
        objects=prompt.objects,
    )


def read_compared(row: Row, columns: Columns, read: ReadTurn) -> tuple[list[Message], list[list[Message]]]:
    """Read the columns `chosen` and `rejected`: one chosen answer, one or several rejected ones."""
    chosen = read_alternatives(columns.required(row, "chosen"), read)
    if len(chosen) != 1:
        raise RowError(
            "data.type_wrong",
            f"One chosen answer is expected, found {len(chosen)}.",
            "Write the chosen answer as text, as one message, or as a list of the turns that follow the prompt.",
        )
    return chosen[0], read_alternatives(columns.required(row, "rejected"), read)


def read_alternatives(value: Any, read: ReadTurn) -> list[list[Message]]:
    """Read one answer or several: text, a message, a list of them, or lists of the turns that follow the prompt."""
    if not isinstance(value, list):
        return [[_read_answer(value, read)]]
    if all(isinstance(item, Mapping) for item in value):
        turns = [read(item) for item in value]
        are_alternatives = all(turn.role == "assistant" for turn in turns)
        return [[turn] for turn in turns] if are_alternatives else [turns]
    if all(isinstance(item, list) for item in value):
        return [[_read_answer(turn, read) for turn in item] for item in value]
    return [[_read_answer(item, read)] for item in value]


def _read_answer(value: Any, read: ReadTurn) -> Message:
    if isinstance(value, str):
        return Message(role="assistant", content=as_text(value, "an answer"))
    if isinstance(value, Mapping):
        return read(value)
    raise RowError(
        "data.type_wrong",
        f"An answer must be text or a message, found {describe_list(value)}.",
        "Write it as text, or as one message object.",
    )


def check_order(messages: Sequence[Message]) -> None:
    """Refuse turns in an order that no chat has: system first, then user or tool turns and answers in turn."""
    if not messages:
        raise RowError("data.messages_empty", "The conversation has no messages.", "Remove the row or fill it.")
    previous = None
    for position, message in enumerate(messages):
        allowed = _FOLLOWERS[previous]
        if message.role not in allowed:
            place = f"after {_named(previous)}" if previous else "at the start"
            raise RowError(
                "data.role_order_broken",
                f"Message {position} is {_named(message.role)} {place}; expected there: {' or '.join(allowed)}.",
                _ORDER_REMEDY,
            )
        previous = message.role
    if previous == "system":
        raise RowError("data.role_order_broken", "The conversation is a system message alone.", _ORDER_REMEDY)


_FOLLOWERS: Mapping[str | None, tuple[str, ...]] = {
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def _named(role: str | None) -> str:
    return f"{'an' if role == 'assistant' else 'a'} {role} turn"


def unknown_role(role: Any, known: Sequence[str]) -> RowError:
    """Say that a role is none of those known here."""
    return RowError(
        "data.role_unknown",
        f"Role {role!r} is unknown; known here: {', '.join(map(repr, known))}.",
        "Correct the row, or name your roles under `tags` in dataset_info.json.",
    )


def read_weight(message: Mapping[str, Any], role: Role) -> float | None:
    """Read the loss weight of a message: loss_weight, OpenAI's weight, ms-swift's `loss` (yes or no), `loss_scale`."""
    names = ("loss_weight", "loss_scale", "weight") if role == "assistant" else ("loss_weight", "loss_scale")
    weights = [message.get(name) for name in names]
    weight = next((read_number(value, "a loss weight") for value in weights if value is not None), None)
    if weight is not None and weight < 0:
        raise RowError("data.type_wrong", f"A loss weight must be a number from 0, found {weight}.", "Correct the row.")
    if role != "assistant":
        _refuse_weight(weight, role)
        return None
    loss = message.get("loss")
    if loss is None:
        return weight
    if not read_truth(loss, "`loss` of a message"):
        return 0.0
    return 1.0 if weight is None else weight


def _refuse_weight(weight: float | None, role: Role) -> None:
    """Refuse a weight that would have no effect: only assistant turns are trained one by one."""
    if weight:
        raise RowError(
            "data.weight_unsupported",
            f"{_named(role).capitalize()} has the loss weight {weight}; only assistant turns can have one.",
            "Set it to 0; to train on all of the prompt, set train_on_prompt: true.",
        )
